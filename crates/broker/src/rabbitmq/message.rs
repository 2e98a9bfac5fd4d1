use std::time::Duration;

use bytes::Bytes;
use lapin::BasicProperties;
use lapin::message::Delivery;
use lapin::types::{AMQPValue, FieldTable, LongString, ShortString};
use model::{TRACE_PARENT_HEADER, Timestamp, TraceParent};

use crate::delay::hop;
use crate::topology::{DELAYS_EXCHANGE, EVENTS_EXCHANGE, delay_key};
use crate::{
    Destination, Headers, Publication, Queue, REASON_HEADER, REJECTED_AT_HEADER, SOURCE_HEADER,
    TENANT_HEADER,
};

/// When a delivery is due, in milliseconds since 1970, rounded up.
const DUE_AT_HEADER: &str = "fanfare-due-at";
/// How long it waits in all, in milliseconds: the tolerance follows from it.
const DELAY_HEADER: &str = "fanfare-delay";
/// The routing key a message had before it was set aside.
const ROUTING_KEY_HEADER: &str = "fanfare-routing-key";
/// The publisher's user of a message that was set aside: the property must name our own.
const USER_ID_HEADER: &str = "fanfare-user-id";
/// The headers of a request to a source that was set aside.
const SOURCE_HEADERS_HEADER: &str = "fanfare-source-headers";

const PERSISTENT: u8 = 2;

/// The end of the year 9999, in seconds since 1970: a later timestamp is none, but milliseconds.
const TIMESTAMP_MAX: i64 = 253_402_300_799;

/// A message as it goes to the broker.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) exchange: &'static str,
    pub(super) routing_key: ShortString,
    pub(super) properties: BasicProperties,
    pub(super) body: Bytes,
}

/// When a delivery is due and how long it was to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Delay {
    pub(super) due_at: Timestamp,
    pub(super) total: Duration,
}

impl Message {
    pub(super) fn new(publication: Publication, now: Timestamp) -> Self {
        let body = publication.body;
        match publication.to {
            Destination::Events {
                tenant,
                event_type,
                id,
                trace,
            } => {
                let mut headers = table([(TENANT_HEADER, tenant.as_str())]);
                if let Some(trace) = trace {
                    headers.insert(TRACE_PARENT_HEADER.into(), text(&trace.to_string()));
                }
                Self {
                    exchange: EVENTS_EXCHANGE,
                    routing_key: event_type.as_str().into(),
                    properties: persistent()
                        .with_timestamp(u64::try_from(now.as_seconds()).unwrap_or(0))
                        .with_content_type("application/json".into())
                        .with_message_id(id.as_str().into())
                        .with_headers(headers),
                    body,
                }
            }
            Destination::Delivery { urgent, due_at } => {
                match due_at.filter(|due_at| *due_at > now) {
                    None => Self::to_queue(Queue::deliveries(urgent), persistent(), body),
                    Some(due_at) => {
                        let delay = Delay {
                            due_at,
                            total: due_at.since(now),
                        };
                        Self::delayed(urgent, delay, hop(delay.total, delay.total), body)
                    }
                }
            }
            Destination::Outcomes => Self::to_queue(Queue::Outcomes, persistent(), body),
            Destination::Rejected {
                reason,
                at,
                headers,
            } => Self::set_aside(Queue::Rejected, *headers, (&reason, at), body),
            Destination::Parked { from, reason, at } => {
                let headers = Headers {
                    routing_key: from.as_str().to_owned(),
                    ..Headers::default()
                };
                Self::set_aside(Queue::Parked, headers, (&reason, at), body)
            }
        }
    }

    /// A delivery on a rung of the ladder.
    pub(super) fn delayed(urgent: bool, delay: Delay, rung: u32, body: Bytes) -> Self {
        let due_at_ms = delay
            .due_at
            .as_micros()
            .saturating_add(999)
            .div_euclid(1_000);
        let total_ms = i64::try_from(delay.total.as_millis()).unwrap_or(i64::MAX);
        let mut headers = FieldTable::default();
        headers.insert(DUE_AT_HEADER.into(), AMQPValue::LongLongInt(due_at_ms));
        headers.insert(DELAY_HEADER.into(), AMQPValue::LongLongInt(total_ms));
        Self {
            exchange: DELAYS_EXCHANGE,
            routing_key: delay_key(rung, urgent).into(),
            properties: persistent().with_headers(headers),
            body,
        }
    }

    fn to_queue(queue: Queue, properties: BasicProperties, body: Bytes) -> Self {
        Self {
            exchange: "",
            routing_key: queue.as_str().into(),
            properties,
            body,
        }
    }

    fn set_aside(
        queue: Queue,
        headers: Headers,
        (reason, at): (&str, Timestamp),
        body: Bytes,
    ) -> Self {
        let mut properties = persistent();
        // AMQP bounds these at 255 bytes; what came over HTTP may be longer and is left out.
        if let Some(id) = headers
            .message_id
            .and_then(|id| ShortString::try_new(id).ok())
        {
            properties = properties.with_message_id(id);
        }
        if let Some(kind) = headers
            .content_type
            .and_then(|kind| ShortString::try_new(kind).ok())
        {
            properties = properties.with_content_type(kind);
        }
        let at = at.to_string();
        let mut kept = table([
            (REASON_HEADER, reason),
            (REJECTED_AT_HEADER, &at),
            (ROUTING_KEY_HEADER, &headers.routing_key),
        ]);
        for (name, value) in [
            (TENANT_HEADER, headers.tenant),
            (USER_ID_HEADER, headers.user_id),
            (SOURCE_HEADER, headers.source),
            (SOURCE_HEADERS_HEADER, headers.source_headers),
        ] {
            if let Some(value) = value {
                kept.insert(name.into(), text(&value));
            }
        }
        Self::to_queue(queue, properties.with_headers(kept), body)
    }
}

fn persistent() -> BasicProperties {
    BasicProperties::default().with_delivery_mode(PERSISTENT)
}

fn text(value: &str) -> AMQPValue {
    AMQPValue::LongString(LongString::from(value.as_bytes()))
}

fn table<const N: usize>(entries: [(&str, &str); N]) -> FieldTable {
    let mut table = FieldTable::default();
    for (name, value) in entries {
        table.insert(name.into(), text(value));
    }
    table
}

/// When a delivery that came from the broker is due; `None` if it did not have to wait.
pub(super) fn delay(delivery: &Delivery) -> Option<Delay> {
    let headers = delivery.properties.headers().as_ref()?;
    let due_at = Timestamp::from_millis(integer(headers, DUE_AT_HEADER)?);
    let total_ms = integer(headers, DELAY_HEADER).and_then(|ms| u64::try_from(ms).ok());
    Some(Delay {
        due_at,
        total: Duration::from_millis(total_ms.unwrap_or(0)),
    })
}

fn integer(headers: &FieldTable, name: &str) -> Option<i64> {
    match headers.inner().get(name)? {
        AMQPValue::LongLongInt(value) => Some(*value),
        AMQPValue::LongInt(value) => Some(i64::from(*value)),
        _ => None,
    }
}

/// The headers of a message from `queue`.
pub(super) fn headers(queue: Queue, delivery: &Delivery) -> Headers {
    match queue {
        Queue::Deliveries | Queue::UrgentDeliveries | Queue::Outcomes => Headers {
            routing_key: queue.as_str().to_owned(),
            ..Headers::default()
        },
        Queue::Intake => Headers {
            trace: trace(delivery),
            published_at: published_at(delivery),
            ..outside_headers(delivery)
        },
        Queue::Rejected | Queue::Parked => {
            let mut headers = outside_headers(delivery);
            headers.routing_key = string(delivery, ROUTING_KEY_HEADER).unwrap_or_default();
            headers.user_id = string(delivery, USER_ID_HEADER);
            headers.source = string(delivery, SOURCE_HEADER);
            headers.source_headers = string(delivery, SOURCE_HEADERS_HEADER);
            headers
        }
    }
}

fn outside_headers(delivery: &Delivery) -> Headers {
    let properties = &delivery.properties;
    let owned = |value: &Option<ShortString>| value.as_ref().map(|v| v.as_str().to_owned());
    Headers {
        tenant: string(delivery, TENANT_HEADER),
        message_id: owned(properties.message_id()),
        content_type: owned(properties.content_type()),
        user_id: owned(properties.user_id()),
        routing_key: delivery.routing_key.as_str().to_owned(),
        reason: string(delivery, REASON_HEADER),
        rejected_at: string(delivery, REJECTED_AT_HEADER),
        ..Headers::default()
    }
}

/// AMQP 0-9-1, section 4.2.5.4: seconds since 1970.
fn published_at(delivery: &Delivery) -> Option<Timestamp> {
    let seconds = i64::try_from((*delivery.properties.timestamp())?).ok()?;
    (seconds <= TIMESTAMP_MAX).then(|| Timestamp::from_seconds(seconds))
}

/// One that cannot be read is none.
fn trace(delivery: &Delivery) -> Option<TraceParent> {
    let headers = delivery.properties.headers().as_ref()?;
    let text = match headers.inner().get(TRACE_PARENT_HEADER)? {
        AMQPValue::LongString(value) => std::str::from_utf8(value.as_bytes()).ok()?,
        AMQPValue::ShortString(value) => value.as_str(),
        _ => return None,
    };
    text.parse().ok()
}

fn string(delivery: &Delivery, name: &str) -> Option<String> {
    match delivery.properties.headers().as_ref()?.inner().get(name)? {
        AMQPValue::LongString(value) => {
            Some(String::from_utf8_lossy(value.as_bytes()).into_owned())
        }
        AMQPValue::ShortString(value) => Some(value.as_str().to_owned()),
        _ => None,
    }
}
