use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, Cmd, ErrorKind, FromRedisValue, RedisError, RedisResult,
    ServerErrorKind,
};
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::scripts::Scripts;

/// How long an answer may take before the connection is taken for dead.
const RESPONSE_TIMEOUT: Duration = Duration::from_millis(300);
/// How long connecting may take, TLS and authentication included.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(1_000);
/// How often an idle connection is tried.
const HEARTBEAT: Duration = Duration::from_millis(1_000);
const RECONNECT_MIN: Duration = Duration::from_millis(100);
const RECONNECT_MAX: Duration = Duration::from_millis(1_000);

/// Why a command was not answered.
#[derive(Debug, thiserror::Error)]
pub(super) enum LinkError {
    #[error("there is no connection to Redis")]
    Away(#[source] Option<RedisError>),
    #[error("Redis did not do as asked")]
    Failed(#[source] RedisError),
}

/// One connection to Redis for everybody, and the task that replaces it when it is lost. While
/// there is none, commands fail at once.
pub(super) struct Link {
    state: Arc<State>,
    supervisor: AbortHandle,
}

#[derive(Default)]
struct State {
    connection: RwLock<Connection>,
    /// For the supervisor: the connection was given up.
    lost: Notify,
    /// The first attempt to connect is over.
    tried: Notify,
}

enum Connection {
    Live {
        number: u64,
        connection: MultiplexedConnection,
    },
    Away {
        reason: Option<RedisError>,
    },
}

impl Default for Connection {
    fn default() -> Self {
        Self::Away { reason: None }
    }
}

impl Link {
    /// Returns once the first attempt to connect is over, whatever came of it.
    pub(super) async fn open(client: Client, scripts: Scripts) -> Self {
        let state = Arc::new(State::default());
        let tried = state.tried.notified();
        let task = tokio::spawn(supervise(Arc::clone(&state), client, scripts));
        tried.await;
        Self {
            supervisor: task.abort_handle(),
            state: Arc::clone(&state),
        }
    }

    /// Runs commands on the connection and notices if it is dead.
    pub(super) async fn run<R>(
        &self,
        commands: impl AsyncFnOnce(&mut MultiplexedConnection) -> RedisResult<R>,
    ) -> Result<R, LinkError> {
        let (number, mut connection) = self.state.live()?;
        commands(&mut connection).await.map_err(|error| {
            if is_fatal(&error) {
                self.state.give_up(number, &error);
            }
            LinkError::Failed(error)
        })
    }

    pub(super) async fn query<R: FromRedisValue>(&self, command: &Cmd) -> Result<R, LinkError> {
        self.run(async |connection| command.query_async(connection).await)
            .await
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link")
            .field("live", &self.state.live().is_ok())
            .finish_non_exhaustive()
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.supervisor.abort();
    }
}

impl State {
    fn live(&self) -> Result<(u64, MultiplexedConnection), LinkError> {
        match &*self.connection.read() {
            Connection::Live { number, connection } => Ok((*number, connection.clone())),
            Connection::Away { reason } => Err(LinkError::Away(reason.clone())),
        }
    }

    /// Drops the connection of this number; a later one is not to blame.
    fn give_up(&self, number: u64, error: &RedisError) {
        let mut connection = self.connection.write();
        if matches!(&*connection, Connection::Live { number: live, .. } if *live == number) {
            *connection = Connection::Away {
                reason: Some(error.clone()),
            };
            self.lost.notify_one();
        }
    }
}

/// Whether a new connection is worth trying: this one is dead or silent, or leads to a server that
/// was demoted to a replica.
fn is_fatal(error: &RedisError) -> bool {
    error.is_unrecoverable_error()
        || error.is_timeout()
        || error.is_io_error()
        || error.kind() == ErrorKind::Server(ServerErrorKind::ReadOnly)
}

/// Keeps a connection up, forever.
async fn supervise(state: Arc<State>, client: Client, scripts: Scripts) {
    let mut delay = Duration::ZERO;
    for number in 0_u64.. {
        tokio::time::sleep(delay).await;
        match connect(&client, &scripts).await {
            Ok(connection) => {
                let since = Instant::now();
                *state.connection.write() = Connection::Live {
                    number,
                    connection: connection.clone(),
                };
                state.tried.notify_waiters();
                watch(&state, number, connection).await;
                // One that is lost at once is not worth hurrying for.
                let steady = since.elapsed() > RECONNECT_MAX;
                delay = if steady {
                    Duration::ZERO
                } else {
                    RECONNECT_MIN
                };
            }
            Err(error) => {
                *state.connection.write() = Connection::Away {
                    reason: Some(error),
                };
                state.tried.notify_waiters();
                delay = (delay * 2).clamp(RECONNECT_MIN, RECONNECT_MAX);
            }
        }
    }
}

async fn connect(client: &Client, scripts: &Scripts) -> RedisResult<MultiplexedConnection> {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(CONNECT_TIMEOUT))
        .set_response_timeout(Some(RESPONSE_TIMEOUT));
    let mut connection = client
        .get_multiplexed_async_connection_with_config(&config)
        .await?;
    scripts.load(&mut connection).await?;
    Ok(connection)
}

/// Returns once the connection of this number is given up.
async fn watch(state: &State, number: u64, mut connection: MultiplexedConnection) {
    while matches!(state.live(), Ok((live, _)) if live == number) {
        tokio::select! {
            () = state.lost.notified() => {}
            () = tokio::time::sleep(HEARTBEAT) => {
                let pong: RedisResult<()> = redis::cmd("PING").query_async(&mut connection).await;
                if let Err(error) = pong && is_fatal(&error) {
                    state.give_up(number, &error);
                }
            }
        }
    }
}
