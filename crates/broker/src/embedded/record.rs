use bytes::Bytes;
use model::Timestamp;

use crate::{Destination, Headers, Publication, Queue};

/// A publication as the queue file keeps it.
#[derive(Clone, Debug)]
pub(super) struct Record {
    pub(super) queue: Queue,
    /// Milliseconds since 1970, rounded up: a message must not come early.
    pub(super) due_at_ms: Option<i64>,
    /// `None` for messages between Fanfare's own parts, whose bodies say everything.
    pub(super) headers: Option<Headers>,
    pub(super) body: Bytes,
}

impl Record {
    /// What `publication` becomes when it is published `now`.
    pub(super) fn new(publication: Publication, now: Timestamp) -> Self {
        let (queue, due_at, headers) = match publication.to {
            Destination::Events {
                tenant,
                event_type,
                id,
                trace,
            } => {
                let headers = Headers {
                    tenant: Some(tenant.as_str().to_owned()),
                    message_id: Some(id.as_str().to_owned()),
                    content_type: Some("application/json".to_owned()),
                    routing_key: event_type.as_str().to_owned(),
                    trace,
                    ..Headers::default()
                };
                (Queue::Intake, None, Some(headers))
            }
            Destination::Delivery { urgent, due_at } => (Queue::deliveries(urgent), due_at, None),
            Destination::Outcomes => (Queue::Outcomes, None, None),
            Destination::Rejected {
                reason,
                at,
                headers,
            } => (Queue::Rejected, None, Some(set_aside(*headers, reason, at))),
            Destination::Parked { from, reason, at } => {
                let headers = Headers {
                    routing_key: from.as_str().to_owned(),
                    ..Headers::default()
                };
                (Queue::Parked, None, Some(set_aside(headers, reason, at)))
            }
        };
        let due_at = due_at.filter(|due_at| *due_at > now);
        Self {
            queue,
            due_at_ms: due_at.map(ceil_ms),
            headers,
            body: publication.body,
        }
    }
}

fn set_aside(headers: Headers, reason: String, at: Timestamp) -> Headers {
    Headers {
        reason: Some(reason),
        rejected_at: Some(at.to_string()),
        trace: None,
        ..headers
    }
}

fn ceil_ms(time: Timestamp) -> i64 {
    let ms = time.as_millis();
    if Timestamp::from_millis(ms) < time {
        ms + 1
    } else {
        ms
    }
}

/// The headers of a message that was kept without any.
pub(super) fn plain_headers(queue: Queue) -> Headers {
    Headers {
        routing_key: queue.as_str().to_owned(),
        ..Headers::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delivery(due_at: Timestamp) -> Publication {
        let to = Destination::Delivery {
            urgent: true,
            due_at: Some(due_at),
        };
        Publication {
            to,
            body: Bytes::new(),
        }
    }

    #[test]
    fn a_due_time_is_rounded_up_to_the_millisecond() {
        let due_at = Timestamp::from_micros(5_000_001);
        let record = Record::new(delivery(due_at), Timestamp::EPOCH);
        assert_eq!(record.due_at_ms, Some(5_001));
        assert_eq!(record.queue, Queue::UrgentDeliveries);
    }

    #[test]
    fn what_is_due_already_does_not_wait() {
        let now = Timestamp::from_seconds(5);
        assert_eq!(Record::new(delivery(now), now).due_at_ms, None);
    }
}
