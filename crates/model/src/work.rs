use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{DeliveryId, EndpointId, Event, TraceParent, is_urgent};

/// Deliveries of one event in one message at most.
pub const WORKS_PER_MESSAGE_MAX: usize = 16;

/// One attempt to make. It carries the event, so that no read stands before the request.
#[derive(Clone, Debug)]
pub struct Work {
    pub delivery: DeliveryId,
    pub endpoint: EndpointId,
    /// The attempt to make, counted from 1 over the delivery's whole life.
    pub attempt: u32,
    /// The attempts before the schedule (re)started: 0, or more after a retry by hand.
    pub attempts_before: u32,
    /// When the attempt is due, in milliseconds since 1970.
    pub due_at_ms: i64,
    /// When this was handed to the broker, in milliseconds since 1970.
    pub queued_at_ms: i64,
    /// It was held and has been released: it does not queue behind those still held.
    pub released: bool,
    /// Where the event was accepted, if that is traced: the same for all deliveries of a message.
    pub trace: Option<TraceParent>,
    pub event: Arc<Event>,
}

/// What travels through the broker: an event once, with the deliveries of it that are due.
#[derive(Serialize, Deserialize)]
struct Message {
    event: Arc<Event>,
    deliveries: Vec<Due>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    trace: Option<TraceParent>,
}

/// A [`Work`] without its event.
#[derive(Serialize, Deserialize)]
struct Due {
    delivery: DeliveryId,
    endpoint: EndpointId,
    attempt: u32,
    #[serde(default, skip_serializing_if = "is_zero")]
    attempts_before: u32,
    due_at_ms: i64,
    queued_at_ms: i64,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    released: bool,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
fn is_zero(count: &u32) -> bool {
    *count == 0
}

/// A message that is not [`Work`].
#[derive(Debug, thiserror::Error)]
pub enum WorkError {
    #[error("not a delivery message: {0}")]
    Form(#[from] serde_json::Error),
    #[error("a delivery message has 1 to {WORKS_PER_MESSAGE_MAX} deliveries, this one {0}")]
    Count(usize),
}

impl Work {
    /// The first attempt of a delivery accepted with its event.
    pub fn first(delivery: DeliveryId, endpoint: EndpointId, event: Arc<Event>) -> Self {
        let due_at_ms = event.accepted_at.as_millis();
        Self {
            delivery,
            endpoint,
            attempt: 1,
            attempts_before: 0,
            due_at_ms,
            queued_at_ms: due_at_ms,
            released: false,
            trace: None,
            event,
        }
    }

    /// Reads a message.
    pub fn from_json(body: &[u8]) -> Result<Vec<Self>, WorkError> {
        let message: Message = serde_json::from_slice(body)?;
        if !(1..=WORKS_PER_MESSAGE_MAX).contains(&message.deliveries.len()) {
            return Err(WorkError::Count(message.deliveries.len()));
        }
        let (event, trace) = (message.event, message.trace);
        Ok(message
            .deliveries
            .into_iter()
            .map(|due| due.of(Arc::clone(&event), trace))
            .collect())
    }

    /// The message that carries this alone.
    pub fn to_json(&self) -> Vec<u8> {
        Self::all_to_json(std::slice::from_ref(self))
    }

    /// The message that carries `works`: at least one, at most [`WORKS_PER_MESSAGE_MAX`], all of
    /// one event.
    pub fn all_to_json(works: &[Self]) -> Vec<u8> {
        let message = Message {
            event: Arc::clone(&works[0].event),
            deliveries: works.iter().map(Due::from).collect(),
            trace: works[0].trace,
        };
        serde_json::to_vec(&message).expect("work has only string keys and finite numbers")
    }

    pub fn is_urgent(&self) -> bool {
        is_urgent(&self.event.event_type)
    }

    /// Which attempt of the current run of the schedule this is, counted from 1.
    pub fn position(&self) -> u32 {
        self.attempt.saturating_sub(self.attempts_before).max(1)
    }
}

impl Due {
    fn of(self, event: Arc<Event>, trace: Option<TraceParent>) -> Work {
        Work {
            delivery: self.delivery,
            endpoint: self.endpoint,
            attempt: self.attempt,
            attempts_before: self.attempts_before,
            due_at_ms: self.due_at_ms,
            queued_at_ms: self.queued_at_ms,
            released: self.released,
            trace,
            event,
        }
    }
}

impl From<&Work> for Due {
    fn from(work: &Work) -> Self {
        Self {
            delivery: work.delivery,
            endpoint: work.endpoint,
            attempt: work.attempt,
            attempts_before: work.attempts_before,
            due_at_ms: work.due_at_ms,
            queued_at_ms: work.queued_at_ms,
            released: work.released,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Submission, TenantId, Timestamp};

    fn work(random: u128) -> Work {
        let body = br#"{"type":"license.revoked","data":{"n":1.0,"license":{"id":"l"}}}"#;
        let tenant = TenantId::new("acme").unwrap();
        let now = Timestamp::from_seconds(1_776_254_400);
        let event = Submission::parse(body).unwrap().into_event(tenant, now, 1);
        Work::first(
            DeliveryId::new(now, random),
            EndpointId::new(now, 3),
            Arc::new(event),
        )
    }

    #[test]
    fn reads_back_what_it_wrote_with_data_untouched() {
        let works = [
            work(1),
            Work {
                attempt: 5,
                attempts_before: 4,
                released: true,
                ..work(2)
            },
        ];
        let read = Work::from_json(&Work::all_to_json(&works)).unwrap();
        assert_eq!(read.len(), 2);
        for (read, written) in read.iter().zip(&works) {
            assert_eq!(read.delivery, written.delivery);
            assert_eq!(read.released, written.released);
            assert_eq!(read.position(), 1);
            assert_eq!(read.event.data.get(), r#"{"n":1.0,"license":{"id":"l"}}"#);
            assert!(read.is_urgent());
        }
    }

    #[test]
    fn a_trace_travels_with_the_message_and_costs_nothing_where_there_is_none() {
        let header = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let traced = Work {
            trace: Some(header.parse().unwrap()),
            ..work(1)
        };
        let read = Work::from_json(&traced.to_json()).unwrap();
        assert_eq!(read[0].trace, traced.trace);
        let untraced = String::from_utf8(work(1).to_json()).unwrap();
        assert!(!untraced.contains("trace"), "{untraced}");
        assert_eq!(Work::from_json(untraced.as_bytes()).unwrap()[0].trace, None);
    }

    #[test]
    fn a_message_is_bounded_at_16_deliveries_and_never_empty() {
        let works: Vec<_> = (0..=16).map(work).collect();
        assert_eq!(
            Work::from_json(&Work::all_to_json(&works[..16]))
                .unwrap()
                .len(),
            16
        );
        let error = Work::from_json(&Work::all_to_json(&works)).unwrap_err();
        assert!(matches!(error, WorkError::Count(17)));
        let mut empty: serde_json::Value = serde_json::from_slice(&work(1).to_json()).unwrap();
        empty["deliveries"] = serde_json::json!([]);
        assert!(matches!(
            Work::from_json(empty.to_string().as_bytes()),
            Err(WorkError::Count(0))
        ));
    }
}
