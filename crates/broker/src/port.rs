use async_trait::async_trait;
use bytes::Bytes;
use futures::FutureExt;
use model::{EventId, EventType, TenantId, Timestamp, TraceParent, Work};
use serde::{Deserialize, Serialize};

/// Names the tenant of an event published over AMQP.
pub const TENANT_HEADER: &str = "fanfare-tenant";
/// Why a message was rejected or parked.
pub const REASON_HEADER: &str = "fanfare-reason";
/// When a message was rejected or parked, RFC 3339.
pub const REJECTED_AT_HEADER: &str = "fanfare-rejected-at";

/// The source that a rejected message came in through.
pub const SOURCE_HEADER: &str = "fanfare-source";

/// Messages that were set aside, in each of the two queues of such, at most: the oldest go.
pub const SET_ASIDE_MESSAGES_MAX: u32 = 100_000;

/// The queues a process can consume.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Queue {
    /// Events published to the exchange `license.events`.
    Intake,
    /// Deliveries due now.
    Deliveries,
    /// Deliveries due now that go ahead of the others.
    UrgentDeliveries,
    /// Records of attempts that the store could not take.
    Outcomes,
    /// Events that could not be understood.
    Rejected,
    /// Internal messages that could not be read.
    Parked,
}

impl Queue {
    pub const ALL: [Self; 6] = [
        Self::Intake,
        Self::Deliveries,
        Self::UrgentDeliveries,
        Self::Outcomes,
        Self::Rejected,
        Self::Parked,
    ];

    /// The queue's name on the broker, and its label in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Intake => "fanfare.intake",
            Self::Deliveries => "fanfare.deliveries",
            Self::UrgentDeliveries => "fanfare.deliveries.urgent",
            Self::Outcomes => "fanfare.outcomes",
            Self::Rejected => "license.events.rejected",
            Self::Parked => "fanfare.parked",
        }
    }

    /// The queue that deliveries of this kind go to.
    pub const fn deliveries(urgent: bool) -> Self {
        if urgent {
            Self::UrgentDeliveries
        } else {
            Self::Deliveries
        }
    }

    /// Whether nobody consumes it by himself: what is in it waits for a person.
    pub const fn is_set_aside(self) -> bool {
        match self {
            Self::Rejected | Self::Parked => true,
            Self::Intake | Self::Deliveries | Self::UrgentDeliveries | Self::Outcomes => false,
        }
    }

    /// Its place in [`Queue::ALL`].
    pub(crate) const fn index(self) -> usize {
        match self {
            Self::Intake => 0,
            Self::Deliveries => 1,
            Self::UrgentDeliveries => 2,
            Self::Outcomes => 3,
            Self::Rejected => 4,
            Self::Parked => 5,
        }
    }
}

/// Something to publish.
#[derive(Clone, Debug)]
pub struct Publication {
    pub to: Destination,
    pub body: Bytes,
}

impl Publication {
    /// Deliveries of one event, as many as [`Work::all_to_json`] takes.
    pub fn of_works(works: &[Work], due_at: Option<Timestamp>) -> Self {
        let to = Destination::Delivery {
            urgent: works[0].is_urgent(),
            due_at,
        };
        let body = Work::all_to_json(works).into();
        Self { to, body }
    }
}

#[derive(Clone, Debug)]
pub enum Destination {
    /// The exchange `license.events`, as a license backend would publish.
    Events {
        tenant: TenantId,
        event_type: EventType,
        id: EventId,
        trace: Option<TraceParent>,
    },
    /// A delivery; `due_at` in the future makes it wait, at least that long.
    Delivery {
        urgent: bool,
        due_at: Option<Timestamp>,
    },
    Outcomes,
    /// `headers` are those of the message that could not be understood.
    Rejected {
        reason: String,
        at: Timestamp,
        headers: Box<Headers>,
    },
    Parked {
        from: Queue,
        reason: String,
        at: Timestamp,
    },
}

/// What a message carries besides its body.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Headers {
    pub tenant: Option<String>,
    pub message_id: Option<String>,
    pub content_type: Option<String>,
    /// The publisher's user, as far as the broker vouches for it.
    pub user_id: Option<String>,
    /// The event type of a published event, also after it was rejected; the queue's name for
    /// Fanfare's own messages, and the queue it came from for one that was parked.
    pub routing_key: String,
    pub reason: Option<String>,
    pub rejected_at: Option<String>,
    /// Where a rejected message came in as a request to a source: the source's id.
    pub source: Option<String>,
    /// The headers of that request, as far as its dialect reads them: a JSON object.
    pub source_headers: Option<String>,
    /// The trace a published event belongs to; what is set aside loses it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trace: Option<TraceParent>,
    /// When an event was published, if its publisher says so: a whole second.
    #[serde(skip)]
    pub published_at: Option<Timestamp>,
}

/// A message to work on. Dropping it without [`Ack::ack`] leaves it to the broker, which gives it
/// out again when the consumer is gone.
#[derive(Debug)]
pub struct Incoming {
    pub headers: Headers,
    pub body: Bytes,
    /// It may have been worked on before.
    pub redelivered: bool,
    pub ack: Ack,
}

/// Settles one message.
#[derive(Debug)]
pub struct Ack {
    pub(crate) settle: tokio::sync::mpsc::UnboundedSender<u64>,
    pub(crate) tag: u64,
}

impl Ack {
    /// Says that the message is done with. Acknowledgements travel in groups; one that is lost
    /// means that the message comes again.
    pub fn ack(self) {
        let _session_over = self.settle.send(self.tag);
    }
}

/// A stream of messages that outlives broken connections.
#[derive(Debug)]
pub struct Consumer {
    pub(crate) incoming: tokio::sync::mpsc::Receiver<Incoming>,
}

impl Consumer {
    /// The next message; `None` once the broker handle is closed.
    pub async fn next(&mut self) -> Option<Incoming> {
        loop {
            let message = self.incoming.recv().await?;
            // One from a connection that has broken since cannot be settled, and comes again.
            if !message.ack.settle.is_closed() {
                return Some(message);
            }
        }
    }

    /// Waits for a message and answers it with those that have arrived already, at most `max` in
    /// all; `None` once the broker handle is closed.
    pub async fn next_batch(&mut self, max: usize) -> Option<Vec<Incoming>> {
        let mut batch = vec![self.next().await?];
        while batch.len() < max {
            let Some(Some(message)) = self.next().now_or_never() else {
                break;
            };
            batch.push(message);
        }
        Some(batch)
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueDepth {
    /// Messages that wait for a consumer.
    pub ready: u64,
    pub consumers: u64,
}

/// What is in a queue, or in one of those in which messages wait for their time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueLook {
    pub name: String,
    /// Its messages wait for their time.
    pub delays: bool,
    pub depth: QueueDepth,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BrokerStatus {
    Connected,
    /// Connected, but the broker takes nothing in: an alarm of its memory or disk.
    Blocked {
        reason: String,
    },
    Away {
        reason: String,
    },
}

#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// Not connected, blocked, or no confirm in time. Whether the messages are durable is unknown:
    /// publish again, their ids tell repetitions apart.
    #[error("the broker is unavailable: {reason}")]
    Unavailable {
        reason: String,
        #[source]
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
    /// The URL, the permissions or the topology are wrong; only a person can mend it.
    #[error("the broker refuses: {0}")]
    Refused(String),
}

/// The port. Both adapters pass one contract suite (`tests/contract.rs`).
#[async_trait]
pub trait Broker: Send + Sync + std::fmt::Debug + 'static {
    /// Publishes all and returns once every one is durable. On an error each may or may not be.
    async fn publish(&self, publications: Vec<Publication>) -> Result<(), BrokerError>;

    /// Consumes a queue with at most `prefetch` messages unacknowledged. Reconnects by itself;
    /// dropping the consumer gives back what is unacknowledged.
    fn consume(&self, queue: Queue, prefetch: u16) -> Consumer;

    /// Takes up to `limit` messages out, oldest first. Those not acknowledged go back when the
    /// answer is dropped.
    async fn take(&self, queue: Queue, limit: u32) -> Result<Vec<Incoming>, BrokerError>;

    async fn depth(&self, queue: Queue) -> Result<QueueDepth, BrokerError>;

    /// Every queue that there is, those of delays included.
    async fn look(&self) -> Result<Vec<QueueLook>, BrokerError>;

    fn status(&self) -> BrokerStatus;

    /// Stops consumers and closes connections; what is unacknowledged goes back.
    async fn close(&self);
}
