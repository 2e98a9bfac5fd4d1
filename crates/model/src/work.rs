use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{DeliveryId, EndpointId, Event, Timestamp, is_urgent};

/// One attempt to make: what travels through the broker. It carries the event, so that no read
/// stands before the request.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Work {
    pub delivery: DeliveryId,
    pub endpoint: EndpointId,
    /// The attempt to make, counted from 1 over the delivery's whole life.
    pub attempt: u32,
    /// The attempts before the schedule (re)started: 0, or more after a retry by hand.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub attempts_before: u32,
    /// When the attempt is due, in milliseconds since 1970.
    pub due_at_ms: i64,
    /// When this was handed to the broker, in milliseconds since 1970.
    pub queued_at_ms: i64,
    /// It was held and has been released: it does not queue behind those still held.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub released: bool,
    pub event: Arc<Event>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(count: &u32) -> bool {
    *count == 0
}

/// A message that is not [`Work`].
#[derive(Debug, thiserror::Error)]
#[error("not a delivery message: {0}")]
pub struct WorkError(#[from] serde_json::Error);

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
            event,
        }
    }

    pub fn from_json(body: &[u8]) -> Result<Self, WorkError> {
        Ok(serde_json::from_slice(body)?)
    }

    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("work has only string keys and finite numbers")
    }

    pub fn due_at(&self) -> Timestamp {
        Timestamp::from_millis(self.due_at_ms)
    }

    pub fn is_urgent(&self) -> bool {
        is_urgent(&self.event.event_type)
    }

    /// Which attempt of the current run of the schedule this is, counted from 1.
    pub fn position(&self) -> u32 {
        self.attempt.saturating_sub(self.attempts_before).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Submission, TenantId};

    #[test]
    fn reads_back_what_it_wrote_with_data_untouched() {
        let body = br#"{"type":"license.revoked","data":{"n":1.0,"license":{"id":"l"}}}"#;
        let tenant = TenantId::new("acme").unwrap();
        let now = Timestamp::from_seconds(1_776_254_400);
        let event = Submission::parse(body).unwrap().into_event(tenant, now, 1);
        let work = Work::first(DeliveryId::new(now, 2), EndpointId::new(now, 3), Arc::new(event));
        let read = Work::from_json(&work.to_json()).unwrap();
        assert_eq!(read.delivery, work.delivery);
        assert_eq!(read.event.data.get(), r#"{"n":1.0,"license":{"id":"l"}}"#);
        assert!(read.is_urgent());
        assert_eq!(read.position(), 1);
    }
}
