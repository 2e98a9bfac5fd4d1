//! PostgreSQL, RabbitMQ and Redis as the environment names them, and a fresh corner of each: a
//! database, a virtual host, an empty Redis database.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;

use anyhow::{Context, bail, ensure};
use sqlx::{Connection, Executor, PgConnection};
use tokio::runtime::Runtime;
use url::Url;

use crate::process::{self, Pid};

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
    pub(crate) fn from_environment() -> anyhow::Result<Self> {
        let postgres = url("FANFARE_TEST_POSTGRES_URL")?;
        let amqp = url("FANFARE_TEST_AMQP_URL")?;
        let redis = url("FANFARE_TEST_REDIS_URL")?;
        let pid = |url: &Url, default| process::listener(url.port().unwrap_or(default));
        Ok(Self {
            rabbitmqctl: setting("FANFARE_TEST_RABBITMQCTL")?,
            postgres_pid: pid(&postgres, 5432),
            rabbitmq_pid: pid(&amqp, 5672),
            redis_pid: pid(&redis, 6379),
            postgres,
            amqp,
            redis,
        })
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

fn url(name: &str) -> anyhow::Result<Url> {
    Url::parse(&setting(name)?).with_context(|| format!("{name} is not a URL"))
}

#[expect(
    clippy::disallowed_methods,
    reason = "the test services announce themselves so"
)]
fn setting(name: &str) -> anyhow::Result<String> {
    match std::env::var(name) {
        Ok(value) if !value.is_empty() => Ok(value),
        _ => bail!("{name} is not set: run make bench, or tests/services.sh up"),
    }
}
