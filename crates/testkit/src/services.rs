use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;
use tokio::process::Command;

use crate::{environment, free_port, unique};

/// The number of databases of the Redis that `tests/services.sh` starts.
const REDIS_DATABASES: u32 = 4096;

/// A server that Fanfare stands on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    Postgres,
    RabbitMq,
    Redis,
}

impl Service {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Postgres => "postgres",
            Self::RabbitMq => "rabbitmq",
            Self::Redis => "redis",
        }
    }
}

/// A PostgreSQL, a RabbitMQ and a Redis, started by `tests/services.sh`.
#[derive(Debug)]
pub struct Services {
    dir: PathBuf,
    postgres_url: String,
    amqp_url: String,
    redis_url: String,
    rabbitmqctl: PathBuf,
    /// Set if this value started them, and so has to stop them.
    owned: Option<TempDir>,
}

impl Services {
    /// Those the whole test run shares: do not stop or kill them.
    pub fn shared() -> Result<Self> {
        let of = |name: &str| {
            environment(name).with_context(|| {
                format!("{name} is not set: run `make test`, or `tests/services.sh up DIR`")
            })
        };
        Ok(Self {
            dir: of("FANFARE_TEST_SERVICES_DIR")?.into(),
            postgres_url: of("FANFARE_TEST_POSTGRES_URL")?,
            amqp_url: of("FANFARE_TEST_AMQP_URL")?,
            redis_url: of("FANFARE_TEST_REDIS_URL")?,
            rabbitmqctl: of("FANFARE_TEST_RABBITMQCTL")?.into(),
            owned: None,
        })
    }

    /// Started for this value alone, to be killed at will; stopped and deleted with it.
    pub async fn private() -> Result<Self> {
        let mut builder = tempfile::Builder::new();
        builder.prefix("private-");
        // Within the shared set's folder, whose removal then takes these along.
        let folder = match environment("FANFARE_TEST_SERVICES_DIR") {
            Some(shared) => builder.tempdir_in(shared)?,
            None => builder.prefix("fanfare-services-").tempdir()?,
        };
        let dir = folder.path().to_owned();
        let mut services = Self {
            dir: dir.clone(),
            postgres_url: String::new(),
            amqp_url: String::new(),
            redis_url: String::new(),
            rabbitmqctl: dir.join("rabbitmqctl"),
            owned: Some(folder),
        };
        script(&["up"], &dir).await?;
        let exports = std::fs::read_to_string(dir.join("env"))?;
        let of = |name: &str| {
            let line = exports
                .lines()
                .find_map(|line| line.strip_prefix(&format!("export {name}=")));
            Ok::<_, anyhow::Error>(line.context("an export")?.trim_matches('\'').to_owned())
        };
        services.postgres_url = of("FANFARE_TEST_POSTGRES_URL")?;
        services.amqp_url = of("FANFARE_TEST_AMQP_URL")?;
        services.redis_url = of("FANFARE_TEST_REDIS_URL")?;
        Ok(services)
    }

    /// SIGKILL to a service and all its processes.
    pub async fn kill(&self, service: Service) -> Result<()> {
        self.change("kill", service).await
    }

    /// Starts a service on the port it had; returns when it is ready.
    pub async fn start(&self, service: Service) -> Result<()> {
        self.change("start", service).await
    }

    /// Stops a service in good order.
    pub async fn stop(&self, service: Service) -> Result<()> {
        self.change("stop", service).await
    }

    /// Kills a service and deletes its data; it stays down.
    pub async fn wipe(&self, service: Service) -> Result<()> {
        self.change("wipe", service).await
    }

    async fn change(&self, verb: &str, service: Service) -> Result<()> {
        ensure!(
            self.owned.is_some(),
            "other tests use the shared services: not to be touched"
        );
        script(&[verb, service.as_str()], &self.dir).await
    }

    /// The superuser's URL of the database `postgres`.
    pub fn postgres_url(&self) -> &str {
        &self.postgres_url
    }

    /// Without a virtual host: that of the default one.
    pub fn amqp_url(&self) -> &str {
        &self.amqp_url
    }

    /// Without a database number: that of the first one.
    pub fn redis_url(&self) -> &str {
        &self.redis_url
    }

    /// Makes an empty database; answers its URL.
    pub async fn fresh_database(&self) -> Result<String> {
        let name = unique("fanfare");
        self.sql("postgres", &format!("create database {name}"))
            .await?;
        let (server, _) = self
            .postgres_url
            .rsplit_once('/')
            .context("a URL with a database")?;
        Ok(format!("{server}/{name}"))
    }

    /// Runs a statement in a database, answers its rows as psql prints them, unaligned.
    pub async fn sql(&self, database: &str, statement: &str) -> Result<String> {
        let (server, _) = self
            .postgres_url
            .rsplit_once('/')
            .context("a URL with a database")?;
        let url = format!("{server}/{database}");
        let mut psql = Command::new("psql");
        psql.args([
            "-X",
            "-q",
            "-A",
            "-t",
            "-v",
            "ON_ERROR_STOP=1",
            "-c",
            statement,
            &url,
        ]);
        output(psql).await
    }

    /// Makes an empty virtual host on the broker; answers its URL.
    pub async fn fresh_vhost(&self) -> Result<String> {
        let name = unique("fanfare");
        // One call instead of two: each starts a virtual machine of half a second.
        self.rabbitmqctl(&[
            "eval",
            &format!(
                r#"rabbit_vhost:add(<<"{name}">>, <<"test">>), rabbit_auth_backend_internal:set_permissions(<<"guest">>, <<"{name}">>, <<".*">>, <<".*">>, <<".*">>, <<"test">>)."#
            ),
        ])
        .await?;
        Ok(format!("{}/{name}", self.amqp_url))
    }

    /// Runs rabbitmqctl on the broker's node.
    pub async fn rabbitmqctl(&self, arguments: &[&str]) -> Result<String> {
        let mut ctl = Command::new(&self.rabbitmqctl);
        ctl.args(arguments);
        output(ctl).await
    }

    /// Lets RabbitMQ offer its management API, if it does not yet; answers the API's URL.
    pub async fn management_url(&self) -> Result<String> {
        let port = free_port();
        let port = self
            .rabbitmqctl(&[
                "eval",
                &format!(
                    r#"case application:get_env(rabbitmq_management, tcp_config) of
                        {{ok, [{{port, Port}} | _]}} -> Port;
                        undefined ->
                            application:set_env(rabbitmq_management, tcp_config,
                                [{{port, {port}}}, {{ip, "127.0.0.1"}}]),
                            {{ok, File}} = application:get_env(rabbit, enabled_plugins_file),
                            ok = rabbit_file:write_term_file(File, [[rabbitmq_management]]),
                            {{ok, _, _}} = rabbit_plugins:ensure(File),
                            {port}
                    end."#
                ),
            ])
            .await?;
        let port: u16 = port.parse().with_context(|| port.clone())?;
        Ok(format!("http://guest:guest@127.0.0.1:{port}"))
    }

    /// The URL of a Redis database that no other test of this process uses.
    pub fn fresh_redis(&self) -> String {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = std::process::id() * 61 + COUNT.fetch_add(1, Ordering::Relaxed);
        format!("{}/{}", self.redis_url, number % REDIS_DATABASES)
    }
}

impl Drop for Services {
    fn drop(&mut self) {
        if self.owned.is_some() {
            let removed = std::process::Command::new(script_path())
                .arg("remove")
                .arg(&self.dir)
                .stdout(Stdio::null())
                .status();
            if !removed.is_ok_and(|status| status.success()) {
                eprintln!("could not remove the services in {}", self.dir.display());
            }
        }
    }
}

fn script_path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/services.sh")
}

async fn script(verbs: &[&str], dir: &Path) -> Result<()> {
    let mut command = Command::new(script_path());
    command.args(verbs).arg(dir);
    output(command).await?;
    Ok(())
}

async fn output(mut command: Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output().await?;
    let stdout = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    let stderr = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "{:?}: {stdout}\n{stderr}",
        command.as_std()
    );
    Ok(stdout)
}
