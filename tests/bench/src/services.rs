//! PostgreSQL, RabbitMQ and Redis as the environment names them, or else private ones for the time
//! of the bench; and a fresh corner of each: a database, a virtual host, an empty Redis database.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};
use sqlx::{Connection, Executor, PgConnection};
use tokio::runtime::Runtime;
use url::Url;

use crate::process::{self, Pid};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../services.sh");
const POSTGRES_URL: &str = "FANFARE_TEST_POSTGRES_URL";
const AMQP_URL: &str = "FANFARE_TEST_AMQP_URL";
const REDIS_URL: &str = "FANFARE_TEST_REDIS_URL";
const RABBITMQCTL: &str = "FANFARE_TEST_RABBITMQCTL";
/// Redis has this many databases unless told otherwise.
const REDIS_DATABASES: u32 = 16;

/// Where the services are, and which processes they are.
#[derive(Debug)]
pub(crate) struct Services {
    postgres: Url,
    amqp: Url,
    redis: Url,
    rabbitmqctl: String,
    pub postgres_pid: Option<Pid>,
    pub rabbitmq_pid: Option<Pid>,
    pub redis_pid: Option<Pid>,
    /// Removed when this is dropped.
    _started: Option<Started>,
}

/// A corner of the services of one's own. [`Services::remove`] takes it away.
#[derive(Debug)]
pub(crate) struct Corner {
    name: String,
    pub store_url: Url,
    pub broker_url: Url,
    pub redis_url: Url,
}

impl Services {
    /// Those of the environment, or else new ones with their data in `directory`, which stop when
    /// this is dropped.
    pub(crate) fn find_or_start(directory: &Path) -> anyhow::Result<Self> {
        match Self::new(from_environment(), None) {
            Some(found) => found,
            None => {
                let started = Started::up(directory.join("services"))?;
                let settings = started.settings()?;
                Self::new(settings, Some(started)).context("services.sh names no services")?
            }
        }
    }

    fn new(
        mut settings: BTreeMap<String, String>,
        started: Option<Started>,
    ) -> Option<anyhow::Result<Self>> {
        let mut take = |name| settings.remove(name);
        let (postgres, amqp) = (take(POSTGRES_URL)?, take(AMQP_URL)?);
        let (redis, rabbitmqctl) = (take(REDIS_URL)?, take(RABBITMQCTL)?);
        let parse = || {
            let (postgres, amqp) = (Url::parse(&postgres)?, Url::parse(&amqp)?);
            let redis = Url::parse(&redis)?;
            let pid = |url: &Url, default| process::listener(url.port().unwrap_or(default));
            Ok(Self {
                rabbitmqctl,
                postgres_pid: pid(&postgres, 5432),
                rabbitmq_pid: pid(&amqp, 5672),
                redis_pid: pid(&redis, 6379),
                postgres,
                amqp,
                redis,
                _started: started,
            })
        };
        Some(parse())
    }

    /// The `number`-th corner of this process.
    pub(crate) fn corner(&self, number: u32, runtime: &Runtime) -> anyhow::Result<Corner> {
        let name = format!("bench_{}_{number}", std::process::id());
        self.sql(&format!("CREATE DATABASE {name}"), runtime)?;
        self.rabbitmqctl(&["add_vhost", &name])?;
        let user = if self.amqp.username().is_empty() {
            "guest"
        } else {
            self.amqp.username()
        };
        self.rabbitmqctl(&["set_permissions", "-p", &name, user, ".*", ".*", ".*"])?;
        let database = number % REDIS_DATABASES;
        self.flush_redis(database)?;
        let with_path = |url: &Url, path: &str| {
            let mut url = url.clone();
            url.set_path(path);
            url
        };
        Ok(Corner {
            store_url: with_path(&self.postgres, &name),
            broker_url: with_path(&self.amqp, &name),
            redis_url: with_path(&self.redis, &database.to_string()),
            name,
        })
    }

    pub(crate) fn remove(&self, corner: &Corner, runtime: &Runtime) -> anyhow::Result<()> {
        self.rabbitmqctl(&["delete_vhost", &corner.name])?;
        self.sql(
            &format!("DROP DATABASE {} WITH (FORCE)", corner.name),
            runtime,
        )
    }

    fn sql(&self, statement: &str, runtime: &Runtime) -> anyhow::Result<()> {
        runtime.block_on(async {
            let mut connection = PgConnection::connect(self.postgres.as_str()).await?;
            connection
                .execute(sqlx::AssertSqlSafe(statement.to_owned()))
                .await?;
            connection.close().await?;
            Ok(())
        })
    }

    fn rabbitmqctl(&self, arguments: &[&str]) -> anyhow::Result<()> {
        let output = Command::new(&self.rabbitmqctl)
            .arg("-q")
            .args(arguments)
            .output()?;
        let error = String::from_utf8_lossy(&output.stderr);
        ensure!(
            output.status.success(),
            "rabbitmqctl {}: {error}",
            arguments[0]
        );
        Ok(())
    }

    fn flush_redis(&self, database: u32) -> anyhow::Result<()> {
        let host = self.redis.host_str().unwrap_or("127.0.0.1");
        let mut stream = TcpStream::connect((host, self.redis.port().unwrap_or(6379)))?;
        write!(stream, "SELECT {database}\r\nFLUSHDB\r\nQUIT\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        ensure!(answer == "+OK\r\n+OK\r\n+OK\r\n", "Redis: {answer}");
        Ok(())
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the test services announce themselves so"
)]
fn from_environment() -> BTreeMap<String, String> {
    let names = [POSTGRES_URL, AMQP_URL, REDIS_URL, RABBITMQCTL];
    let set = |name: &str| Some((name.to_owned(), std::env::var(name).ok()?));
    names
        .into_iter()
        .filter_map(set)
        .filter(|(_, value)| !value.is_empty())
        .collect()
}

/// Services of this process; dropping it removes them with their data.
#[derive(Debug)]
struct Started {
    directory: PathBuf,
}

impl Started {
    fn up(directory: PathBuf) -> anyhow::Result<Self> {
        fs::create_dir_all(&directory)?;
        let started = Self { directory };
        ensure!(
            run(&["install".as_ref()])?,
            "services.sh could not install what is missing"
        );
        ensure!(
            started.script("up")?,
            "services.sh could not start the services"
        );
        Ok(started)
    }

    /// What `services.sh` exports: lines `export NAME='value'`.
    fn settings(&self) -> anyhow::Result<BTreeMap<String, String>> {
        let text = fs::read_to_string(self.directory.join("env"))?;
        let exported = text
            .lines()
            .filter_map(|line| line.strip_prefix("export ")?.split_once('='));
        Ok(exported
            .map(|(name, value)| (name.to_owned(), value.trim_matches('\'').to_owned()))
            .collect())
    }

    fn script(&self, verb: &str) -> anyhow::Result<bool> {
        run(&[verb.as_ref(), self.directory.as_os_str()])
    }
}

fn run(arguments: &[&OsStr]) -> anyhow::Result<bool> {
    let mut command = Command::new(SCRIPT);
    // The table alone goes to the standard output.
    command.args(arguments).stdout(std::io::stderr());
    Ok(command
        .status()
        .with_context(|| format!("cannot run {SCRIPT}"))?
        .success())
}

impl Drop for Started {
    fn drop(&mut self) {
        if !self.script("remove").unwrap_or(false) {
            eprintln!("services are left in {}", self.directory.display());
        }
    }
}
