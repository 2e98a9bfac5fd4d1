//! What the broker must have: one value, applied by one function and verified by another.

use lapin::ExchangeKind;
use lapin::types::{AMQPValue, FieldTable, LongString, ShortString};

use crate::delay::RUNGS_S;
use crate::location::Location;
pub use crate::rabbitmq::Mismatch;
use crate::{BrokerError, OpenError, Queue, SET_ASIDE_MESSAGES_MAX, rabbitmq};

/// Where license backends publish: `license.events`, by event type.
pub(crate) const EVENTS_EXCHANGE: &str = "license.events";

/// Where messages that must wait go: by rung and lane.
pub(crate) const DELAYS_EXCHANGE: &str = "fanfare.delays";

/// Where they go when a rung lets them out: by lane.
pub(crate) const DUE_EXCHANGE: &str = "fanfare.due";

/// RabbitMQ 4 drops a quorum queue's message after 20 returns unless told otherwise, and 3.x knows
/// no "never". Nothing of ours is ever dropped for having been returned.
const DELIVERY_LIMIT: i64 = 1_000_000_000;

/// Bytes of the bodies in a queue of messages that were set aside at most.
const SET_ASIDE_BYTES_MAX: i64 = 4 << 30;

/// Exchanges, queues and bindings.
#[derive(Clone, Debug, PartialEq)]
pub struct Topology {
    pub(crate) exchanges: Vec<Exchange>,
    pub(crate) queues: Vec<QueueDefinition>,
    pub(crate) bindings: Vec<Binding>,
}

/// A durable topic exchange.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Exchange {
    pub(crate) name: &'static str,
}

impl Exchange {
    pub(crate) const KIND: ExchangeKind = ExchangeKind::Topic;
}

/// A durable quorum queue.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct QueueDefinition {
    pub(crate) name: String,
    /// Messages wait here for their time.
    pub(crate) delays: bool,
    /// Its bounds came later than the queue: one without them is used as it is.
    pub(crate) is_set_aside: bool,
    pub(crate) arguments: FieldTable,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Binding {
    pub(crate) exchange: &'static str,
    pub(crate) pattern: String,
    pub(crate) queue: String,
}

impl Topology {
    pub fn queue_names(&self) -> impl Iterator<Item = &str> {
        self.queues.iter().map(|queue| queue.name.as_str())
    }

    /// What Fanfare needs.
    ///
    /// A message that waits is published to `fanfare.delays` as `RUNG.LANE`. The rung's queue sets
    /// no routing key of its own, so the message is dead-lettered to `fanfare.due` under the one it
    /// came with, and its lane finds the queue: one ladder serves both lanes.
    pub fn fanfare() -> Self {
        let mut queues: Vec<_> = Queue::ALL.into_iter().map(work_queue).collect();
        queues.extend(RUNGS_S.into_iter().map(rung_queue));
        let mut bindings = vec![
            binding(EVENTS_EXCHANGE, "#".to_owned(), Queue::Intake.as_str()),
            binding(
                DUE_EXCHANGE,
                lane_pattern(false),
                Queue::deliveries(false).as_str(),
            ),
            binding(
                DUE_EXCHANGE,
                lane_pattern(true),
                Queue::deliveries(true).as_str(),
            ),
        ];
        bindings.extend(
            RUNGS_S
                .into_iter()
                .map(|rung| binding(DELAYS_EXCHANGE, format!("{rung}.*"), &rung_name(rung))),
        );
        let exchanges = [EVENTS_EXCHANGE, DELAYS_EXCHANGE, DUE_EXCHANGE];
        Self {
            exchanges: exchanges.map(|name| Exchange { name }).into(),
            queues,
            bindings,
        }
    }
}

/// Why the topology could not be applied or verified.
#[derive(Debug, thiserror::Error)]
pub enum TopologyError {
    #[error(transparent)]
    Url(#[from] OpenError),
    #[error(transparent)]
    Broker(#[from] BrokerError),
}

/// Declares what Fanfare needs on the broker at `url`; changes nothing where all is in place. The
/// embedded queue needs nothing.
pub async fn apply(url: &str) -> Result<(), TopologyError> {
    match Location::parse(url)? {
        Location::Embedded(_) => Ok(()),
        Location::RabbitMq(hosts) => Ok(rabbitmq::apply(&hosts, &Topology::fanfare()).await?),
    }
}

/// Compares the broker at `url` with what Fanfare needs and changes nothing.
pub async fn verify(url: &str) -> Result<Vec<Mismatch>, TopologyError> {
    match Location::parse(url)? {
        Location::Embedded(_) => Ok(Vec::new()),
        Location::RabbitMq(hosts) => Ok(rabbitmq::verify(&hosts, &Topology::fanfare()).await?),
    }
}

/// The routing key that makes a message wait on a rung.
pub(crate) fn delay_key(rung: u32, urgent: bool) -> String {
    format!("{rung}.{}", lane(urgent))
}

const fn lane(urgent: bool) -> &'static str {
    if urgent { "urgent" } else { "normal" }
}

fn lane_pattern(urgent: bool) -> String {
    format!("*.{}", lane(urgent))
}

fn rung_name(rung: u32) -> String {
    format!("fanfare.delay.{rung}")
}

fn binding(exchange: &'static str, pattern: String, queue: &str) -> Binding {
    Binding {
        exchange,
        pattern,
        queue: queue.to_owned(),
    }
}

fn work_queue(queue: Queue) -> QueueDefinition {
    let arguments = [
        ("x-queue-type", text("quorum")),
        ("x-delivery-limit", AMQPValue::LongLongInt(DELIVERY_LIMIT)),
    ];
    let mut arguments = table(arguments);
    if queue.is_set_aside() {
        let messages_max = AMQPValue::LongLongInt(SET_ASIDE_MESSAGES_MAX.into());
        let bytes_max = AMQPValue::LongLongInt(SET_ASIDE_BYTES_MAX);
        arguments.insert("x-max-length".into(), messages_max);
        arguments.insert("x-max-length-bytes".into(), bytes_max);
        arguments.insert("x-overflow".into(), text("drop-head"));
    }
    QueueDefinition {
        name: queue.as_str().to_owned(),
        delays: false,
        is_set_aside: queue.is_set_aside(),
        arguments,
    }
}

/// At-least-once dead-lettering is what keeps a waiting message through a crash; without
/// `reject-publish` RabbitMQ silently falls back to at most once.
fn rung_queue(rung: u32) -> QueueDefinition {
    let arguments = [
        ("x-queue-type", text("quorum")),
        (
            "x-message-ttl",
            AMQPValue::LongLongInt(i64::from(rung) * 1_000),
        ),
        ("x-dead-letter-exchange", text(DUE_EXCHANGE)),
        ("x-dead-letter-strategy", text("at-least-once")),
        ("x-overflow", text("reject-publish")),
    ];
    QueueDefinition {
        name: rung_name(rung),
        delays: true,
        is_set_aside: false,
        arguments: table(arguments),
    }
}

fn text(value: &str) -> AMQPValue {
    AMQPValue::LongString(LongString::from(value.as_bytes()))
}

fn table<const N: usize>(arguments: [(&str, AMQPValue); N]) -> FieldTable {
    let mut table = FieldTable::default();
    for (name, value) in arguments {
        table.insert(ShortString::from(name), value);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_binding_joins_an_exchange_and_a_queue_of_the_topology() {
        let topology = Topology::fanfare();
        for binding in &topology.bindings {
            assert!(
                topology
                    .exchanges
                    .iter()
                    .any(|exchange| exchange.name == binding.exchange)
            );
            assert!(
                topology
                    .queues
                    .iter()
                    .any(|queue| queue.name == binding.queue)
            );
        }
    }

    #[test]
    fn a_delay_finds_its_rung_and_then_its_lane() {
        assert_eq!(delay_key(60, true), "60.urgent");
        let bindings = Topology::fanfare().bindings;
        let bound = |exchange: &str, pattern: &str| {
            let mut found = bindings
                .iter()
                .filter(|b| b.exchange == exchange && b.pattern == pattern);
            let queue = found.next().map(|binding| binding.queue.clone());
            assert!(found.next().is_none(), "a message must not be doubled");
            queue
        };
        assert_eq!(
            bound(DELAYS_EXCHANGE, "60.*").as_deref(),
            Some("fanfare.delay.60")
        );
        assert_eq!(
            bound(DUE_EXCHANGE, "*.urgent").as_deref(),
            Some("fanfare.deliveries.urgent")
        );
        assert_eq!(
            bound(DUE_EXCHANGE, "*.normal").as_deref(),
            Some("fanfare.deliveries")
        );
    }
}
