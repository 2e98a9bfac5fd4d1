//! Connections, in three pools: what is slow in one never takes the place of another's.

use std::future::Future;
use std::ops::{Deref, DerefMut};
use std::str::FromStr;
use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{Connection, PgConnection, PgPool, Postgres};

use crate::{OpenError, StoreError};

/// How long a call waits for a connection, and with PostgreSQL away for one to be made.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(3);

/// A call of the hot path that takes longer has failed; its statement is cancelled before.
pub(super) const HOT_LIMIT: Duration = Duration::from_millis(4_500);
const HOT_STATEMENT_TIMEOUT: &str = "4s";

/// The same for reads, counts and the directory.
pub(super) const CALM_LIMIT: Duration = Duration::from_secs(60);
const CALM_STATEMENT_TIMEOUT: &str = "55s";

/// Connections per process at most: together, five processes stay below PostgreSQL's default of
/// 100.
const ACCEPTING_MAX: u32 = 4;
const HOT_MAX: u32 = 6;
const CALM_MAX: u32 = 5;

/// A connection that was idle for longer is tried before it is used.
const TRUSTED_FOR: Duration = Duration::from_secs(1);

/// Planner settings of the hot path: every table is reached through an index, row by row. Plans are
/// made anew for each batch, which costs a tenth of a millisecond: one that is kept would still be
/// the one made when the week's partition was empty and any index looked as good as another.
const HOT: [(&str, &str); 5] = [
    ("plan_cache_mode", "force_custom_plan"),
    ("enable_seqscan", "off"),
    ("enable_hashjoin", "off"),
    ("enable_mergejoin", "off"),
    ("jit", "off"),
];

/// Accepting joins only what is in the batch, by hash, and reads no table: its plan can be kept.
const ACCEPTING: [(&str, &str); 4] = [
    ("plan_cache_mode", "force_generic_plan"),
    ("enable_nestloop", "off"),
    ("enable_mergejoin", "off"),
    ("jit", "off"),
];

const CALM: [(&str, &str); 2] = [("plan_cache_mode", "force_custom_plan"), ("jit", "off")];

#[derive(Debug)]
pub(super) struct Pools {
    pub(super) accepting: Pool,
    pub(super) hot: Pool,
    pub(super) calm: Pool,
}

impl Pools {
    /// Connects when first used.
    pub(super) fn open(url: &str) -> Result<Self, OpenError> {
        let options = PgConnectOptions::from_str(url)
            .map_err(|_| OpenError::BadUrl("is not a PostgreSQL URL".to_owned()))?
            .application_name("fanfare");
        let pool = |max, limit, timeout, settings: &[(&str, &str)]| {
            let always = [("statement_timeout", timeout), ("synchronous_commit", "on")];
            let options = options
                .clone()
                .options(always)
                .options(settings.iter().copied());
            Pool::new(max, limit, options)
        };
        Ok(Self {
            accepting: pool(ACCEPTING_MAX, HOT_LIMIT, HOT_STATEMENT_TIMEOUT, &ACCEPTING),
            hot: pool(HOT_MAX, HOT_LIMIT, HOT_STATEMENT_TIMEOUT, &HOT),
            calm: pool(CALM_MAX, CALM_LIMIT, CALM_STATEMENT_TIMEOUT, &CALM),
        })
    }
}

/// A pool whose calls end within its limit.
#[derive(Debug)]
pub(super) struct Pool {
    pool: PgPool,
    limit: Duration,
}

impl Pool {
    fn new(max: u32, limit: Duration, options: PgConnectOptions) -> Self {
        let pool = PgPoolOptions::new()
            .max_connections(max)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .test_before_acquire(false)
            .before_acquire(|connection, idle| {
                Box::pin(async move {
                    if idle.idle_for > TRUSTED_FOR {
                        connection.ping().await?;
                    }
                    Ok(true)
                })
            })
            .connect_lazy_with(options);
        Self { pool, limit }
    }

    pub(super) fn inner(&self) -> &PgPool {
        &self.pool
    }

    pub(super) async fn lease(&self) -> Result<Lease, sqlx::Error> {
        Ok(Lease {
            connection: self.pool.acquire().await?,
            done: false,
        })
    }

    /// Gives `call` up after the limit.
    pub(super) async fn within<T>(
        &self,
        call: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        match tokio::time::timeout(self.limit, call).await {
            Ok(answer) => answer,
            Err(elapsed) => Err(StoreError::Unavailable {
                reason: "PostgreSQL does not answer in time",
                source: Box::new(elapsed),
            }),
        }
    }
}

/// A connection that goes back to its pool only if [`Lease::done`] says that it is in order: after
/// an error, or when the call was given up, it is closed.
#[derive(Debug)]
pub(super) struct Lease {
    connection: PoolConnection<Postgres>,
    done: bool,
}

impl Lease {
    pub(super) fn done(mut self) {
        self.done = true;
    }
}

impl Deref for Lease {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        &self.connection
    }
}

impl DerefMut for Lease {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.connection
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if !self.done {
            self.connection.close_on_drop();
        }
    }
}
