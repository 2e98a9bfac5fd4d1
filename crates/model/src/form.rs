//! The forms in which an event comes in, and the one in which it is passed on.

use serde::Serialize;
use serde_json::value::RawValue;

use crate::{
    CLOUD_EVENT_BATCH_TYPE, CLOUD_EVENT_TYPE, DEPTH_MAX, EVENT_BYTES_MAX, Environment, Event,
    EventId, EventType, Submission, SubmissionError, Timestamp,
};

/// What a body holds, as its media type says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventForm {
    /// A canonical event, or several.
    Canonical,
    /// A CloudEvent in structured mode.
    CloudEvent,
    /// CloudEvents in an array.
    CloudEventBatch,
}

impl EventForm {
    /// By a `content-type`, whatever its parameters; what is no CloudEvent is canonical.
    pub fn of(content_type: &str) -> Self {
        let media_type = content_type.split(';').next().unwrap_or_default().trim();
        if media_type.eq_ignore_ascii_case(CLOUD_EVENT_TYPE) {
            Self::CloudEvent
        } else if media_type.eq_ignore_ascii_case(CLOUD_EVENT_BATCH_TYPE) {
            Self::CloudEventBatch
        } else {
            Self::Canonical
        }
    }
}

/// Bytes at most of what [`Submission::to_json`] writes around `data`.
const ENVELOPE_BYTES_MAX: usize = 1_024;

/// How large one event may be.
#[derive(Clone, Copy, Debug)]
pub struct EventLimits {
    pub(crate) bytes_max: usize,
    pub(crate) depth_max: usize,
}

impl EventLimits {
    /// For what a producer submits.
    pub const SUBMITTED: Self = Self {
        bytes_max: EVENT_BYTES_MAX,
        depth_max: DEPTH_MAX,
    };

    /// For what may have been within these limits before it was passed on as canonical JSON, with
    /// the members that its producer left out or had in headers.
    pub const PASSED_ON: Self = Self {
        bytes_max: EVENT_BYTES_MAX + ENVELOPE_BYTES_MAX,
        depth_max: DEPTH_MAX + 1,
    };
}

impl Submission {
    /// Reads one event; `known` says which types there are.
    pub fn read(
        form: EventForm,
        body: &[u8],
        limits: EventLimits,
        known: impl Fn(&str) -> bool,
    ) -> Result<Self, SubmissionError> {
        match form {
            EventForm::Canonical => Self::parse_within(body, limits),
            EventForm::CloudEvent | EventForm::CloudEventBatch => {
                Self::from_cloud_event_within(body, limits, known)
            }
        }
    }

    /// The canonical event, as its producer would have written it.
    pub fn to_json(&self) -> Vec<u8> {
        #[derive(Serialize)]
        struct Canonical<'a> {
            #[serde(skip_serializing_if = "Option::is_none")]
            id: Option<&'a EventId>,
            #[serde(rename = "type")]
            event_type: &'a EventType,
            #[serde(skip_serializing_if = "Option::is_none")]
            occurred_at: Option<Timestamp>,
            #[serde(skip_serializing_if = "Option::is_none")]
            environment: Option<Environment>,
            #[serde(skip_serializing_if = "Option::is_none")]
            product: Option<&'a str>,
            data: &'a RawValue,
        }
        serde_json::to_vec(&Canonical {
            id: self.id.as_ref(),
            event_type: &self.event_type,
            occurred_at: self.occurred_at,
            environment: self.environment,
            product: self.product.as_deref(),
            data: &self.data,
        })
        .expect("an event has only string keys")
    }
}

/// The submission that leaves nothing of the event to be added.
impl From<&Event> for Submission {
    fn from(event: &Event) -> Self {
        Self {
            id: Some(event.id.clone()),
            event_type: event.event_type.clone(),
            occurred_at: Some(event.occurred_at),
            environment: Some(event.environment),
            product: event.product.clone(),
            license: event.license.clone(),
            trace: None,
            data: event.data.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{BinaryAttributes, TenantId, is_catalogued};

    #[test]
    fn media_types_are_compared_whatever_their_case_and_parameters() {
        for (content_type, form) in [
            ("application/cloudevents+json", EventForm::CloudEvent),
            (
                "Application/CloudEvents+JSON ; charset=UTF-8",
                EventForm::CloudEvent,
            ),
            (
                "application/cloudevents-batch+json",
                EventForm::CloudEventBatch,
            ),
            (
                "APPLICATION/CLOUDEVENTS-BATCH+JSON;a=b",
                EventForm::CloudEventBatch,
            ),
            ("application/cloudevents+jsonp", EventForm::Canonical),
            (
                "application/json; profile=application/cloudevents+json",
                EventForm::Canonical,
            ),
            ("", EventForm::Canonical),
        ] {
            assert_eq!(EventForm::of(content_type), form, "{content_type}");
        }
    }

    /// Accepts the submission, and reads what is passed on of it.
    fn passed_on(submission: Submission) -> Result<Submission, SubmissionError> {
        let tenant = TenantId::new("acme").unwrap();
        let event = submission.into_event(tenant, Timestamp::EPOCH, u128::MAX);
        let json = Submission::from(&event).to_json();
        Submission::read(
            EventForm::Canonical,
            &json,
            EventLimits::PASSED_ON,
            is_catalogued,
        )
    }

    #[test]
    fn the_largest_and_deepest_event_is_read_again_after_it_was_passed_on() {
        let event_type = format!("{}.{}", "a".repeat(63), "b".repeat(64));
        let product = format!("{}\"", "\\".repeat(255));
        let levels = DEPTH_MAX - 1;
        let deep = format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        let frame = r#"{"deep":,"pad":""}"#.len() + deep.len();
        let pad = "x".repeat(EVENT_BYTES_MAX - frame);
        let data = format!(r#"{{"deep":{deep},"pad":"{pad}"}}"#);
        let id = "i".repeat(128);
        let attributes = BinaryAttributes {
            specversion: Some("1.0"),
            id: Some(&id),
            event_type: Some(&event_type),
            time: Some("2026-04-15T12:00:00Z"),
            environment: Some("development"),
            product: Some(&product),
        };
        let submitted =
            Submission::from_binary_cloud_event(&attributes, data.as_bytes(), is_catalogued);
        let read = passed_on(submitted.unwrap()).unwrap();
        assert_eq!(read.product, Some(product));
        assert_eq!(read.data.get(), data);
    }

    #[test]
    fn what_is_passed_on_is_bounded_too() {
        let event = |bytes: usize| {
            let frame = r#"{"type":"license.created","data":{"pad":""}}"#.len();
            let pad = "x".repeat(bytes - frame);
            let body = format!(r#"{{"type":"license.created","data":{{"pad":"{pad}"}}}}"#);
            let limits = EventLimits::PASSED_ON;
            Submission::read(EventForm::Canonical, body.as_bytes(), limits, is_catalogued)
        };
        let bytes_max = EVENT_BYTES_MAX + ENVELOPE_BYTES_MAX;
        assert!(event(bytes_max).is_ok());
        assert!(matches!(
            event(bytes_max + 1),
            Err(SubmissionError::TooLarge)
        ));
    }

    #[test]
    fn a_cloud_event_becomes_the_canonical_event_it_stands_for() {
        let body = br#"{"specversion":"1.0","id":"e1","source":"/s","type":"com.x.license.created",
            "time":"2026-04-15T12:00:00Z","data":{"n":1.0,"license":{"id":"l"}}}"#;
        let form = EventForm::CloudEvent;
        let event = Submission::read(form, body, EventLimits::SUBMITTED, is_catalogued).unwrap();
        let json = String::from_utf8(event.to_json()).unwrap();
        assert_eq!(
            json,
            r#"{"id":"e1","type":"license.created","occurred_at":"2026-04-15T12:00:00.000Z","data":{"n":1.0,"license":{"id":"l"}}}"#
        );
    }
}
