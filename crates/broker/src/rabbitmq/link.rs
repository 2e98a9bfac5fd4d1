use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use lapin::uri::AMQPUri;
use lapin::{Connection, ConnectionProperties, Event};
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::declare;
use super::session::{Backoff, Refusal, refusal};
use crate::topology::Topology;
use crate::{BrokerError, BrokerStatus};

/// How long opening a connection and declaring the topology may take.
const OPEN_LIMIT: Duration = Duration::from_secs(10);

/// How long saying goodbye may take.
const CLOSE_LIMIT: Duration = Duration::from_secs(1);

/// How often a connection is asked whether it lives, should its last event have been missed.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What is known of a connection.
#[derive(Clone, Debug)]
pub(super) enum LinkState {
    Up(Arc<Connection>),
    /// Up, but the broker takes nothing in.
    Blocked(Arc<Connection>, String),
    Away(String),
}

impl LinkState {
    pub(super) fn connection(&self) -> Option<&Arc<Connection>> {
        match self {
            Self::Up(connection) | Self::Blocked(connection, _) => Some(connection),
            Self::Away(_) => None,
        }
    }

    pub(super) fn status(&self) -> BrokerStatus {
        match self {
            Self::Up(_) => BrokerStatus::Connected,
            Self::Blocked(_, reason) => BrokerStatus::Blocked {
                reason: reason.clone(),
            },
            Self::Away(reason) => BrokerStatus::Away {
                reason: reason.clone(),
            },
        }
    }
}

/// A connection that is made again whenever it breaks, to the next host each time, and that finds
/// the topology in place.
#[derive(Clone, Debug)]
pub(super) struct Link {
    state: watch::Receiver<LinkState>,
}

impl Link {
    pub(super) fn open(
        hosts: Vec<AMQPUri>,
        name: String,
        tracker: &TaskTracker,
        closed: CancellationToken,
    ) -> Self {
        let (sender, state) = watch::channel(LinkState::Away("connecting".to_owned()));
        let supervisor = Supervisor {
            hosts,
            name,
            state: sender,
            closed,
        };
        tracker.spawn(supervisor.run());
        Self { state }
    }

    pub(super) fn state(&self) -> watch::Ref<'_, LinkState> {
        self.state.borrow()
    }

    pub(super) fn watch(&self) -> watch::Receiver<LinkState> {
        self.state.clone()
    }

    /// The connection, if it is there.
    pub(super) fn connection(&self) -> Result<Arc<Connection>, BrokerError> {
        match &*self.state.borrow() {
            LinkState::Up(connection) | LinkState::Blocked(connection, _) => {
                Ok(Arc::clone(connection))
            }
            LinkState::Away(reason) => Err(BrokerError::Unavailable {
                reason: reason.clone(),
                source: None,
            }),
        }
    }

    /// Waits for a connection; `None` if there will be none.
    pub(super) async fn connected(&self) -> Option<Arc<Connection>> {
        let mut state = self.state.clone();
        let state = state
            .wait_for(|state| state.connection().is_some())
            .await
            .ok()?;
        state.connection().map(Arc::clone)
    }
}

struct Supervisor {
    hosts: Vec<AMQPUri>,
    name: String,
    state: watch::Sender<LinkState>,
    closed: CancellationToken,
}

impl Supervisor {
    async fn run(self) {
        let mut backoff = Backoff::default();
        for host in self.hosts.iter().cycle() {
            let address = format!("{}:{}", host.authority.host, host.authority.port);
            let opened = tokio::select! {
                opened = timeout(OPEN_LIMIT, open(host, &self.name)) => opened,
                () = self.closed.cancelled() => break,
            };
            let reason = match opened {
                Ok(Ok(connection)) => {
                    tracing::info!(broker.address = %address, connection = self.name, "connected");
                    backoff = Backoff::default();
                    self.follow(Arc::new(connection)).await
                }
                Ok(Err(error)) => error,
                Err(_) => "no answer in time".to_owned(),
            };
            if self.closed.is_cancelled() {
                break;
            }
            self.away(&address, reason);
            tokio::select! {
                () = backoff.wait() => {}
                () = self.closed.cancelled() => break,
            }
        }
        self.state
            .send_replace(LinkState::Away("closed".to_owned()));
    }

    fn away(&self, address: &str, reason: String) {
        let reason = format!("{address}: {reason}");
        let known = matches!(&*self.state.borrow(), LinkState::Away(before) if *before == reason);
        if !known {
            tracing::warn!(connection = self.name, reason, "the broker is away");
        }
        self.state.send_replace(LinkState::Away(reason));
    }

    /// Reports what happens to a connection until it ends; answers why it ended.
    async fn follow(&self, connection: Arc<Connection>) -> String {
        let mut events = Box::pin(connection.events_listener());
        let mut look = tokio::time::interval(LOOK_EVERY);
        self.state
            .send_replace(LinkState::Up(Arc::clone(&connection)));
        loop {
            let event = tokio::select! {
                event = events.next() => event,
                _ = look.tick() => {
                    if connection.status().connected() {
                        continue;
                    }
                    return "the connection is closed".to_owned();
                }
                () = self.closed.cancelled() => {
                    let _broken_already =
                        timeout(CLOSE_LIMIT, connection.close(200, "closing".into())).await;
                    return "closed".to_owned();
                }
            };
            match event {
                Some(Event::ConnectionBlocked(reason)) => {
                    tracing::warn!(
                        connection = self.name,
                        reason,
                        "the broker blocks publishing"
                    );
                    self.state
                        .send_replace(LinkState::Blocked(Arc::clone(&connection), reason));
                }
                Some(Event::ConnectionUnblocked) => {
                    tracing::info!(connection = self.name, "the broker takes messages again");
                    self.state
                        .send_replace(LinkState::Up(Arc::clone(&connection)));
                }
                // One of a single channel is the business of whoever uses the channel.
                Some(Event::Error(_)) if connection.status().connected() => {}
                Some(Event::Error(error)) => return error.to_string(),
                None => return "the connection is closed".to_owned(),
                Some(_) => {}
            }
        }
    }
}

async fn open(host: &AMQPUri, name: &str) -> Result<Connection, String> {
    let connection = connect(host, name)
        .await
        .map_err(|error| error.to_string())?;
    match declare::apply(&connection, &Topology::fanfare()).await {
        Ok(()) => Ok(connection),
        Err(error) => {
            let _broken_already = timeout(CLOSE_LIMIT, connection.close(200, "".into())).await;
            Err(match refusal(&error) {
                Some(Refusal::Differs) => format!("{error}; see `fanfare topology verify`"),
                Some(Refusal::NotFound | Refusal::AccessRefused) | None => error.to_string(),
            })
        }
    }
}

/// Opens a connection that does not try to recover by itself.
pub(super) async fn connect(host: &AMQPUri, name: &str) -> Result<Connection, lapin::Error> {
    let properties = ConnectionProperties::default().with_connection_name(name.into());
    Connection::connect_uri(host.clone(), properties).await
}
