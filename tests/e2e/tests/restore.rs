//! A backup is restored and everything else is gone: what was accepted before it and not delivered
//! is delivered, under the ids that it had.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::{Installation, Mode, SOON, event, id_of, verifies};
use serde_json::{Value, json};
use tempfile::TempDir;
use testkit::{
    Behavior, Client, Fanfare, Load, Receiver, Role, Service, Services, Settings, among_others,
    scratch_folder,
};
use tokio::process::Command;

/// Events of each part.
const EVENTS: usize = 20;
/// The sweeper has found everything by then, on a busy machine too.
const LIMIT: Duration = Duration::from_secs(40);
/// Attempts go on for as long as the test may take.
const DELAYS_S: [u32; 20] = [4; 20];

const DONE: &str = "/done";
const LATE: &str = "/late";
const OFF: &str = "/off";

/// A tenant whose deliveries are in every state: its endpoints answer, fail, and are disabled.
struct Site {
    receiver: Receiver,
    done: Value,
    late: Value,
    off: Value,
}

impl Site {
    async fn of(client: &Client) -> Result<Self> {
        let receiver = Receiver::start().await?;
        receiver.behave(LATE, Behavior::status(503));
        let settings = json!({
            "retry": {"delays_s": DELAYS_S}, "circuit": {"open_after": 1000},
        });
        let endpoint = async |path| {
            client
                .create_endpoint(&receiver.url(path), settings.clone())
                .await
        };
        let (done, late, off) = (
            endpoint(DONE).await?,
            endpoint(LATE).await?,
            endpoint(OFF).await?,
        );
        set(client, &off, "disable").await?;
        Ok(Self {
            receiver,
            done,
            late,
            off,
        })
    }

    /// Waits until so many are delivered to the endpoint that answers, and recorded as such.
    async fn delivered(&self, client: &Client, count: usize) -> Result<()> {
        logged(client, &self.done, "delivered", count).await
    }

    /// Events that have arrived at a path.
    fn arrived(&self, path: &str) -> HashSet<String> {
        let received = self.receiver.received(path);
        received.iter().map(|one| one.id().to_owned()).collect()
    }

    /// Both others work again: everything of `ids` arrives there, signed as before.
    async fn recovers(&self, client: &Client, ids: &HashSet<String>) -> Result<()> {
        self.receiver.behave(LATE, Behavior::status(204));
        set(client, &self.off, "enable").await?;
        for (path, endpoint) in [(LATE, &self.late), (OFF, &self.off)] {
            self.receiver
                .wait_for_distinct(path, ids.len(), LIMIT)
                .await?;
            ensure!(self.arrived(path) == *ids, "other ids at {path}");
            let secret = endpoint["secret"].as_str().context("a secret")?;
            let received = self.receiver.received(path);
            ensure!(received.iter().all(|one| verifies(one, secret)), "{path}");
            logged(client, endpoint, "delivered", ids.len()).await?;
        }
        Ok(())
    }
}

async fn set(client: &Client, endpoint: &Value, verb: &str) -> Result<()> {
    let path = format!("/v1/endpoints/{}/{verb}", id_of(endpoint));
    client.post(&path, &json!({})).await?.expect(200)?;
    Ok(())
}

async fn logged(client: &Client, endpoint: &Value, status: &str, count: usize) -> Result<()> {
    let what = format!("{count} {status} deliveries");
    testkit::eventually(&what, LIMIT, async || {
        let found = client
            .count_deliveries(id_of(endpoint), status)
            .await
            .ok()?;
        (found == count).then_some(())
    })
    .await
}

/// Publishes a part's events; answers their ids.
async fn publish(client: &Client, part: &str) -> Result<HashSet<String>> {
    let mut ids = HashSet::new();
    for n in 0..EVENTS {
        let mut event = event("license.renewed", &format!("lic_{n}"));
        event["id"] = json!(format!("{part}-{n}"));
        let accepted = client.publish(&event).await?;
        ensure!(accepted["duplicate"] == false, "{accepted}");
        ids.insert(id_of(&accepted).to_owned());
    }
    Ok(ids)
}

async fn run(program: &str, arguments: &[&str]) -> Result<()> {
    let output = Command::new(program).args(arguments).output().await;
    let output = output.with_context(|| program.to_owned())?;
    ensure!(
        output.status.success(),
        "{program} {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().context("a path in UTF-8")
}

/// All three begin anew, with nothing.
async fn wiped(services: &Arc<Services>) -> Result<()> {
    let anew = async |service| {
        services.wipe(service).await?;
        services.start(service).await
    };
    tokio::try_join!(
        anew(Service::Postgres),
        anew(Service::RabbitMq),
        anew(Service::Redis)
    )?;
    Ok(())
}

/// A copy of an installation's database.
struct Dump {
    folder: TempDir,
}

impl Dump {
    async fn of(installation: &Installation) -> Result<Self> {
        let dump = Self {
            folder: scratch_folder()?,
        };
        let url = store_url(installation)?;
        run("pg_dump", &["-Fc", "-f", text(&dump.path())?, &url]).await?;
        Ok(dump)
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("fanfare.dump")
    }

    /// Into a new database of the same name, as for an installation that is to start.
    async fn restore(&self, installation: &mut Installation, services: &Services) -> Result<()> {
        let create = format!("create database {}", installation.database()?);
        services.sql("postgres", &create).await?;
        let url = store_url(installation)?;
        let dump = self.path();
        run(
            "pg_restore",
            &["--no-owner", "-e", "-d", &url, text(&dump)?],
        )
        .await?;
        let settings = installation.ingest.settings();
        settings.run(&["migrate"]).await?;
        settings.run(&["topology", "apply"]).await?;
        for process in installation.processes_mut() {
            process.restart().await?;
        }
        Ok(())
    }
}

fn store_url(installation: &Installation) -> Result<String> {
    let url = installation.ingest.settings().get("FANFARE__STORE__URL");
    Ok(url.context("a store")?.to_owned())
}

#[tokio::test]
async fn a_restored_database_suffices_when_all_three_services_are_lost() -> Result<()> {
    let _turn = among_others().await;
    let mut installation = Installation::on_private_services().await?;
    let services = installation.services()?;
    let client = installation.tenant().await?;
    let site = Site::of(&client).await?;
    let delivered = publish(&client, "delivered").await?;
    site.delivered(&client, EVENTS).await?;
    logged(&client, &site.late, "retrying", EVENTS).await?;
    installation.dispatcher_mut().kill()?;
    let queued = publish(&client, "queued").await?;
    let dump = Dump::of(&installation).await?;

    // Delivered after the backup, which does not know it.
    installation.dispatcher_mut().restart().await?;
    site.delivered(&client, 2 * EVENTS).await?;
    publish(&client, "unknown").await?;
    for process in installation.processes_mut() {
        process.kill()?;
    }
    wiped(&services).await?;
    // Not before: what was under way when its sender was killed has arrived by now.
    site.receiver.forget();
    dump.restore(&mut installation, &services).await?;

    let before: HashSet<_> = delivered.union(&queued).cloned().collect();
    site.recovers(&client, &before).await?;
    // What had been delivered after the backup comes again, what was delivered before does not.
    site.delivered(&client, 2 * EVENTS).await?;
    ensure!(site.arrived(DONE) == queued, "{:?}", site.arrived(DONE));
    // What was accepted after the backup is unknown: it can be published again.
    publish(&client, "unknown").await?;
    site.delivered(&client, 3 * EVENTS).await?;
    let balance = "select (select sum(deliveries) from accepted_counts) = count(*)
        and (select sum(deliveries) from delivery_tallies) = count(*) from deliveries";
    ensure!(services.sql(installation.database()?, balance).await? == "t");
    Ok(())
}

#[tokio::test]
async fn what_the_broker_holds_goes_out_although_the_restored_store_does_not_know_it() -> Result<()>
{
    let _turn = among_others().await;
    let mut installation = Installation::start(Mode::Services).await?;
    let services = Services::shared()?;
    let client = installation.tenant().await?;
    let receiver = Receiver::start().await?;
    client
        .create_endpoint(&receiver.url(DONE), json!({}))
        .await?;
    let dump = Dump::of(&installation).await?;
    installation.dispatcher_mut().kill()?;
    let accepted = publish(&client, "unknown").await?;
    // The broker gets them behind the answer.
    let on_the_broker = format!("fanfare_deliveries_published_total {EVENTS}\n");
    testkit::eventually("all are on the broker", LIMIT, async || {
        let metrics = installation.ingest.metrics().await.ok()?;
        metrics.contains(&on_the_broker).then_some(())
    })
    .await?;
    installation.ingest.kill()?;
    let drop = format!("drop database {} with (force)", installation.database()?);
    services.sql("postgres", &drop).await?;
    dump.restore(&mut installation, &services).await?;
    receiver.wait_for_distinct(DONE, EVENTS, LIMIT).await?;
    let arrived: HashSet<_> = receiver
        .received(DONE)
        .iter()
        .map(|one| one.id().to_owned())
        .collect();
    ensure!(arrived == accepted, "{arrived:?}");
    Ok(())
}

#[tokio::test]
async fn a_copy_of_the_running_embedded_store_is_a_backup() -> Result<()> {
    let _turn = among_others().await;
    let (folder, backup) = (scratch_folder()?, scratch_folder()?);
    // The key is a file beside the store, as it is by default.
    let at = |folder: &Path| {
        Ok::<_, anyhow::Error>(Settings::embedded(folder)?.without("FANFARE__SECURITY__MASTER_KEY"))
    };
    let mut serve = Fanfare::start(Role::Serve, at(folder.path())?).await?;
    let client = serve.tenant_client("acme").await?;
    let site = Site::of(&client).await?;
    let ids = publish(&client, "before").await?;
    site.delivered(&client, EVENTS).await?;
    logged(&client, &site.late, "retrying", EVENTS).await?;

    // It is written to without a pause meanwhile.
    let busy = serve.tenant_client("busy").await?;
    let load = tokio::spawn(Load::new(&busy, "busy", usize::MAX).run(Arc::default()));
    let (store, copy) = (
        folder.path().join("fanfare.db"),
        backup.path().join("fanfare.db"),
    );
    let vacuum = format!("VACUUM INTO '{}'", text(&copy)?);
    run("sqlite3", &[text(&store)?, &vacuum]).await?;
    let key = folder.path().join("master.key");
    run("cp", &["-p", text(&key)?, text(backup.path())?]).await?;
    ensure!(!load.is_finished(), "the load was over before");
    load.abort();
    serve.kill()?;
    site.receiver.forget();

    let restored = Fanfare::start(Role::Serve, at(backup.path())?).await?;
    let client = restored.client()?.for_tenant("acme");
    site.recovers(&client, &ids).await?;
    ensure!(site.arrived(DONE).is_empty(), "{:?}", site.arrived(DONE));
    client
        .publish(&event("license.created", "lic_after"))
        .await?;
    site.receiver.wait_for(DONE, 1, SOON).await?;
    Ok(())
}
