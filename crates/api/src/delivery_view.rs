use std::collections::BTreeMap;
use std::time::Duration;

use model::{
    Attempt, AttemptId, Delivery, DeliveryId, DeliveryStatus, EndpointId, ErrorClass, EventId,
    EventType, HoldReason, LicenseId, Outcome, Timestamp,
};
use serde::Serialize;
use utoipa::ToSchema;

use crate::schema;

/// One event on its way to one endpoint.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DeliveryView {
    #[schema(value_type = String, example = "dlv_01JRX5K9Q8ZV3T7Y2M4N6P8R0S")]
    id: DeliveryId,
    #[schema(value_type = String)]
    event_id: EventId,
    #[schema(value_type = String, example = "license.activated")]
    event_type: EventType,
    #[schema(value_type = String)]
    endpoint_id: EndpointId,
    #[schema(value_type = Option<String>)]
    license: Option<LicenseId>,
    #[schema(value_type = schema::DeliveryStatus)]
    status: DeliveryStatus,
    /// Why it is held.
    #[schema(value_type = Option<schema::HoldReason>)]
    hold_reason: Option<HoldReason>,
    /// Attempts made so far.
    attempt_count: u32,
    /// `null` once finished or while held.
    #[schema(value_type = Option<String>, format = DateTime)]
    next_attempt_at: Option<Timestamp>,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    updated_at: Timestamp,
}

impl From<Delivery> for DeliveryView {
    fn from(delivery: Delivery) -> Self {
        Self {
            id: delivery.id,
            event_id: delivery.event,
            event_type: delivery.event_type,
            endpoint_id: delivery.endpoint,
            license: delivery.license,
            status: delivery.status,
            hold_reason: delivery.hold_reason,
            attempt_count: delivery.attempts,
            next_attempt_at: delivery.next_attempt_at,
            created_at: delivery.created_at,
            updated_at: delivery.updated_at,
        }
    }
}

/// A delivery with every attempt, the first one first.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DeliveryWithAttemptsView {
    #[serde(flatten)]
    pub(crate) delivery: DeliveryView,
    pub(crate) attempts: Vec<AttemptView>,
}

/// One request of a delivery.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AttemptView {
    #[schema(value_type = String, example = "att_01JRX5K9Q8ZV3T7Y2M4N6P8R0S")]
    id: AttemptId,
    /// Counts from 1.
    number: u32,
    #[schema(value_type = String, format = DateTime)]
    started_at: Timestamp,
    #[serde(flatten)]
    response: ResponseView,
}

impl From<Attempt> for AttemptView {
    fn from(attempt: Attempt) -> Self {
        Self {
            id: attempt.id,
            number: attempt.number,
            started_at: attempt.started_at,
            response: ResponseView::new(
                attempt.outcome,
                attempt.error_detail,
                attempt.duration,
                &attempt.response_headers,
                &attempt.response_body,
            ),
        }
    }
}

/// How a request ended: with a status code, or with an error.
#[derive(Debug, PartialEq, Serialize, ToSchema)]
pub(crate) struct ResponseView {
    outcome: OutcomeName,
    status_code: Option<u16>,
    /// What kept the request from being answered.
    #[schema(value_type = Option<String>, example = "connection_refused")]
    error: Option<ErrorClass>,
    /// What `error` does not say, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    error_detail: Option<String>,
    duration_ms: f64,
    /// What `Retry-After` asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_s: Option<u64>,
    /// Repeated ones are joined by commas.
    response_headers: BTreeMap<String, String>,
    /// The first 4 KiB.
    response_body: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum OutcomeName {
    /// Answered with a status of 200 to 299.
    Succeeded,
    Failed,
}

impl ResponseView {
    pub(crate) fn new(
        outcome: Outcome,
        error_detail: Option<String>,
        duration: Duration,
        headers: &[(String, String)],
        body: &[u8],
    ) -> Self {
        let (name, status_code, error, retry_after) = match outcome {
            Outcome::Answered {
                status,
                retry_after,
            } => {
                let success = (200..300).contains(&status);
                let name = if success {
                    OutcomeName::Succeeded
                } else {
                    OutcomeName::Failed
                };
                (name, Some(status), None, retry_after)
            }
            Outcome::Unanswered(class) => (OutcomeName::Failed, None, Some(class), None),
        };
        let mut response_headers = BTreeMap::<String, String>::new();
        for (name, value) in headers {
            response_headers
                .entry(name.clone())
                .and_modify(|values| {
                    values.push_str(", ");
                    values.push_str(value);
                })
                .or_insert_with(|| value.clone());
        }
        Self {
            outcome: name,
            status_code,
            error,
            error_detail,
            duration_ms: (duration.as_secs_f64() * 1e6).round() / 1e3,
            retry_after_s: retry_after.map(|after| after.as_secs()),
            response_headers,
            response_body: String::from_utf8_lossy(body).into_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_shows_its_status_or_its_error_and_joins_repeated_headers() {
        let outcome = Outcome::Answered {
            status: 503,
            retry_after: Some(Duration::from_secs(7)),
        };
        let headers =
            [("a", "1"), ("b", "2"), ("a", "3")].map(|(n, v)| (n.to_owned(), v.to_owned()));
        let view = ResponseView::new(
            outcome,
            None,
            Duration::from_micros(1_500),
            &headers,
            b"\xff!",
        );
        let json = serde_json::to_value(&view).unwrap();
        assert_eq!(json["outcome"], "failed");
        assert_eq!(json["status_code"], 503);
        assert_eq!(json["duration_ms"], 1.5);
        assert_eq!(json["retry_after_s"], 7);
        assert_eq!(json["response_headers"]["a"], "1, 3");
        assert_eq!(json["response_body"], "\u{fffd}!");

        let outcome = Outcome::Unanswered(ErrorClass::TlsFailed);
        let detail = Some("in words".to_owned());
        let view = ResponseView::new(outcome, detail, Duration::ZERO, &[], b"");
        let json = serde_json::to_value(&view).unwrap();
        assert_eq!(json["error"], "tls_failed");
        assert_eq!(json["error_detail"], "in words");
        assert_eq!(json["status_code"], serde_json::Value::Null);
    }
}
