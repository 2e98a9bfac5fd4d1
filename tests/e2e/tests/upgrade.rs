//! A rolling update under load: the schema first, then old and new processes side by side, then the
//! old ones leave in turn. Nothing is lost, and nobody has to wait for anybody.

use std::time::Duration;

use anyhow::{Result, ensure};
use e2e::{Installation, Mode, SOON, Weather};
use testkit::{Client, Fanfare, FaultProxy, LoadReport, Role, Services, Settings, among_others};

const EVENTS: usize = 3_000;
const PER_SECOND: u32 = 400;
const LIMIT: Duration = Duration::from_secs(60);
/// The grace time, as configured, and a little.
const GRACE_S: u64 = 10;
const ENDS_WITHIN: Duration = Duration::from_secs(GRACE_S + 3);
/// Of a hundred, so many may arrive twice around a change of the schema, which locks tables.
const DUPLICATES_PER_CENT: usize = 1;

/// What a later version may do to the schema while this one runs: add. In one transaction, as
/// `fanfare migrate` does it.
const EXPANSION: &str = "
    ALTER TABLE events ADD COLUMN later text NOT NULL DEFAULT '';
    ALTER TABLE deliveries ADD COLUMN later text;
    ALTER TABLE endpoints ADD COLUMN later text;
    CREATE INDEX later ON deliveries (later) WHERE later IS NOT NULL;
    CREATE TABLE later_on (id bigint PRIMARY KEY);
    INSERT INTO schema_migrations (version) SELECT max(version) + 1 FROM schema_migrations";
const UNMARKED: &str = "
    DELETE FROM schema_migrations WHERE version = (SELECT max(version) FROM schema_migrations)";

fn with_grace(settings: Settings) -> Settings {
    settings.with("FANFARE__DELIVERY__GRACE_S", &GRACE_S.to_string())
}

async fn load(client: Client, prefix: &str) -> Result<Weather> {
    Weather::over(client, prefix, EVENTS, Some(PER_SECOND)).await
}

/// Sends a process away; it ends in order.
async fn leaves(process: &mut Fanfare) -> Result<()> {
    process.terminate()?;
    let status = process.ended(ENDS_WITHIN).await?;
    ensure!(status.code() == Some(0), "{status}: {}", process.log());
    Ok(())
}

/// Every answer was a 202. Connections may have broken: the publisher sends again.
fn nothing_was_refused(report: &LoadReport) -> Result<()> {
    ensure!(report.refused.is_empty(), "{report:?}");
    Ok(())
}

#[tokio::test]
async fn a_rolling_update_under_load_loses_nothing() -> Result<()> {
    let _turn = among_others().await;
    let mut old = Installation::start_with(Mode::Services, with_grace).await?;
    let settings = old.ingest.settings().clone();
    let mut old_second = Fanfare::start(Role::Dispatcher, settings.clone()).await?;
    // Publishers know one address, as that of a Service.
    let service = FaultProxy::to(old.ingest.port()).await?;
    let tenant = old.tenant().await?;
    let published_at = tenant.at(&service.instead_of(&old.ingest.url()));
    let mut through_service = load(published_at, "service").await?;
    through_service
        .accepted_at_least(EVENTS / 10, LIMIT)
        .await?;

    settings.run(&["migrate"]).await?;
    settings.run(&["topology", "apply"]).await?;
    let new_ingest = Fanfare::start(Role::Ingest, settings.clone()).await?;
    let _new_dispatchers = tokio::try_join!(
        Fanfare::start(Role::Dispatcher, settings.clone()),
        Fanfare::start(Role::Dispatcher, settings),
    )?;
    // The old dispatchers hear of an endpoint that was made by a new process.
    let new_tenant = new_ingest.tenant_client(&testkit::unique("new")).await?;
    let mut to_the_new = load(new_tenant, "new").await?;
    to_the_new.accepted_at_least(EVENTS / 10, LIMIT).await?;

    for weather in [&mut through_service, &mut to_the_new] {
        weather.disturb();
    }
    leaves(old.dispatcher_mut()).await?;
    leaves(&mut old_second).await?;
    leaves(&mut old.ingest).await?;
    // Until now the publishers' connections were refused.
    service.redirect(new_ingest.port());
    for mut weather in [through_service, to_the_new] {
        weather.disturb();
        // Who leaves in order finishes what it has begun.
        nothing_was_refused(&weather.clears_up(LIMIT, 0).await?)?;
    }
    Ok(())
}

#[tokio::test]
async fn running_processes_go_on_when_a_later_schema_only_adds() -> Result<()> {
    let _turn = among_others().await;
    let mut old = Installation::start_with(Mode::Services, with_grace).await?;
    let settings = old.ingest.settings().clone();
    let services = Services::shared()?;
    let mut weather = load(old.tenant().await?, "added").await?;
    weather.accepted_at_least(EVENTS / 4, LIMIT).await?;
    weather.disturb();
    services.sql(old.database()?, EXPANSION).await?;

    // Only one that starts looks at the version: it has to wait for its successor.
    let mut late = Fanfare::spawn(Role::Dispatcher, settings.clone())?;
    ensure!(late.ended(SOON).await?.code() == Some(1), "{}", late.log());
    ensure!(late.log().contains("newer"), "{}", late.log());
    weather.accepted_at_least(EVENTS / 2, LIMIT).await?;

    // From here on, the same binary stands for its successor.
    services.sql(old.database()?, UNMARKED).await?;
    let _new = Fanfare::start(Role::Dispatcher, settings).await?;
    leaves(old.dispatcher_mut()).await?;
    weather.disturb();
    let report = weather.clears_up(LIMIT, DUPLICATES_PER_CENT).await?;
    nothing_was_refused(&report)?;
    ensure!(report.broken == 0, "{report:?}");
    Ok(())
}
