//! `POST /v1/events` and `POST /v1/events/batch`; the routes of this crate.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{FromRef, State};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, StatusCode};
use model::{
    BinaryAttributes, EVENT_BYTES_MAX, EventForm, EventId, EventLimits, Role, Submission,
    SubmissionError, TRACE_PARENT_HEADER, TenantId, TraceParent, percent_decode,
};
use serde::Serialize;
use store::Directory;
use utoipa::{OpenApi, ToSchema};
use web::{ApiError, Json, Principal, Problems, read_body};

use crate::acceptor::{AcceptError, Acceptor, Answer, HTTP};
use crate::batch::{BATCH_BYTES_MAX, BatchError, read_batch};
use crate::sources::{self, text};

/// What a client is told to wait when nothing durable can be reached.
const UNAVAILABLE_RETRY_AFTER: Duration = Duration::from_secs(2);
/// What a client is told to wait when too many events wait to be stored.
const OVERLOADED_RETRY_AFTER: Duration = Duration::from_secs(1);

/// What the handlers work with.
#[derive(Clone, Debug)]
pub struct IngestState {
    pub acceptor: Arc<Acceptor>,
    pub directory: Arc<Directory>,
    /// Where the routes are reached from outside, if that is known.
    pub public_url: Option<String>,
}

impl FromRef<IngestState> for Arc<Directory> {
    fn from_ref(state: &IngestState) -> Self {
        Self::clone(&state.directory)
    }
}

/// The routes of this crate; finish them with [`web::rim`].
pub fn router(state: IngestState) -> Router {
    Router::new()
        .route("/v1/events", post(publish))
        .route("/v1/events/batch", post(publish_batch))
        .merge(sources::routes())
        .with_state(state)
}

/// The description of these routes.
pub fn openapi() -> utoipa::openapi::OpenApi {
    #[derive(OpenApi)]
    #[openapi(paths(publish, publish_batch, sources::take_in))]
    struct Routes;
    Routes::openapi()
}

/// An event that was accepted: it is durable.
#[derive(Debug, Serialize, ToSchema)]
struct AcceptedEvent {
    #[schema(value_type = String, example = "evt_01JRX5K9Q8ZV3T7Y2M4N6P8R0S")]
    id: EventId,
    /// Position among the events of the license; absent for an event of no license, and while
    /// the store is away.
    #[serde(skip_serializing_if = "Option::is_none")]
    sequence: Option<u64>,
    /// The same event was accepted before; it is delivered to nobody a second time.
    duplicate: bool,
}

impl From<Answer> for AcceptedEvent {
    fn from(answer: Answer) -> Self {
        Self {
            id: answer.id,
            sequence: answer.sequence,
            duplicate: answer.duplicate,
        }
    }
}

/// Each event's result, in the order of the batch.
#[derive(Debug, Serialize, ToSchema)]
struct BatchResults {
    results: Vec<BatchResult>,
}

#[derive(Debug, Serialize, ToSchema)]
struct BatchResult {
    index: usize,
    /// Absent where the event is refused before it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    id: Option<EventId>,
    /// 202 for an accepted event, else what `POST /v1/events` would have answered.
    status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    sequence: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    duplicate: Option<bool>,
    /// What is wrong with the event.
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
}

/// Publish an event
///
/// A canonical event (`application/json`), or a CloudEvent 1.0: structured
/// (`application/cloudevents+json`), binary (headers `ce-*`) or a batch
/// (`application/cloudevents-batch+json`, answered like `/v1/events/batch`). At most 256 KiB.
#[utoipa::path(
    post, path = "/v1/events", tag = "events",
    request_body = serde_json::Value,
    responses((status = 202, body = AcceptedEvent), Problems)
)]
async fn publish(
    State(state): State<IngestState>,
    principal: Principal,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    principal.require(Role::Publisher)?;
    let tenant = principal.tenant()?;
    if form(&headers) == EventForm::CloudEventBatch {
        let body = read_body(body, BATCH_BYTES_MAX).await?;
        return batch(&state, tenant, &headers, &body).await;
    }
    let body = read_body(body, EVENT_BYTES_MAX).await?;
    let snapshot = state.directory.snapshot();
    let known = |name: &str| snapshot.knows_event_type(tenant, name);
    let mut submission = read(&headers, &body, known).map_err(AcceptError::Submission)?;
    submission.trace = trace_parent(&headers);
    let answer = state.acceptor.accept(tenant, submission).await?;
    Ok((StatusCode::ACCEPTED, Json(AcceptedEvent::from(answer))).into_response())
}

/// Publish up to 1,000 events
///
/// A JSON array, one event a line (NDJSON), or a CloudEvents batch; at most 16 MiB. Good events are
/// accepted whatever the others are; the results name the bad ones.
#[utoipa::path(
    post, path = "/v1/events/batch", tag = "events",
    request_body = Vec<serde_json::Value>,
    responses((status = 200, body = BatchResults), Problems)
)]
async fn publish_batch(
    State(state): State<IngestState>,
    principal: Principal,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    principal.require(Role::Publisher)?;
    let body = read_body(body, BATCH_BYTES_MAX).await?;
    batch(&state, principal.tenant()?, &headers, &body).await
}

async fn batch(
    state: &IngestState,
    tenant: &TenantId,
    headers: &HeaderMap,
    body: &Bytes,
) -> Result<Response, ApiError> {
    let snapshot = state.directory.snapshot();
    let known = |name: &str| snapshot.knows_event_type(tenant, name);
    let mut submissions = read_batch(body, form(headers), known)?;
    let trace = trace_parent(headers);
    for submission in submissions.iter_mut().flatten() {
        submission.trace = trace;
    }
    let answers = state.acceptor.accept_all(tenant, submissions, HTTP).await;
    let nothing_durable =
        |answer: &Result<_, _>| matches!(answer, Err(AcceptError::Unavailable { .. }));
    if let Some(unavailable) = answers.iter().position(nothing_durable) {
        // Repeating the batch repeats no event that has an id.
        let error = answers.into_iter().nth(unavailable).and_then(Result::err);
        return Err(error.expect("the position of an error").into());
    }
    let results = answers.into_iter().enumerate().map(batch_result).collect();
    Ok(Json(BatchResults { results }).into_response())
}

fn batch_result((index, answer): (usize, Result<Answer, AcceptError>)) -> BatchResult {
    match answer {
        Ok(answer) => BatchResult {
            index,
            id: Some(answer.id),
            status: StatusCode::ACCEPTED.as_u16(),
            sequence: answer.sequence,
            duplicate: Some(answer.duplicate),
            detail: None,
        },
        Err(error) => {
            let id = match &error {
                AcceptError::Conflict(id) | AcceptError::Unstorable(id) => Some(id.clone()),
                _ => None,
            };
            let detail = Some(error.to_string());
            let status = ApiError::from(error).status().as_u16();
            BatchResult {
                index,
                id,
                status,
                sequence: None,
                duplicate: None,
                detail,
            }
        }
    }
}

/// One that cannot be read is none.
fn trace_parent(headers: &HeaderMap) -> Option<TraceParent> {
    let text = headers.get(TRACE_PARENT_HEADER)?.to_str().ok()?;
    text.parse().ok()
}

fn form(headers: &HeaderMap) -> EventForm {
    EventForm::of(text(headers, CONTENT_TYPE.as_str()).unwrap_or_default())
}

fn read(
    headers: &HeaderMap,
    body: &[u8],
    known: impl Fn(&str) -> bool,
) -> Result<Submission, SubmissionError> {
    let form = form(headers);
    if form == EventForm::Canonical && headers.contains_key("ce-specversion") {
        return read_binary(headers, body, known);
    }
    Submission::read(form, body, EventLimits::SUBMITTED, known)
}

fn read_binary(
    headers: &HeaderMap,
    body: &[u8],
    known: impl Fn(&str) -> bool,
) -> Result<Submission, SubmissionError> {
    let names = [
        "ce-specversion",
        "ce-id",
        "ce-type",
        "ce-time",
        "ce-environment",
        "ce-product",
    ];
    let values = names.map(|name| text(headers, name).map(percent_decode));
    let [specversion, id, event_type, time, environment, product] =
        values.each_ref().map(Option::as_deref);
    let attributes = BinaryAttributes {
        specversion,
        id,
        event_type,
        time,
        environment,
        product,
    };
    Submission::from_binary_cloud_event(&attributes, body, known)
}

impl From<AcceptError> for ApiError {
    fn from(error: AcceptError) -> Self {
        match error {
            AcceptError::Submission(SubmissionError::TooLarge) => {
                Self::too_large("an event is at most 256 KiB")
            }
            AcceptError::Submission(SubmissionError::Malformed(error)) => Self::malformed(error),
            AcceptError::Submission(SubmissionError::Invalid(errors)) => Self::invalid(errors),
            AcceptError::Conflict(_) => Self::conflict(error.to_string()),
            AcceptError::Unstorable(_) => Self::internal(&error),
            AcceptError::Overloaded => Self::too_many_requests(OVERLOADED_RETRY_AFTER),
            AcceptError::Unavailable { reason } => {
                Self::unavailable(reason, UNAVAILABLE_RETRY_AFTER)
            }
        }
    }
}

impl From<BatchError> for ApiError {
    fn from(error: BatchError) -> Self {
        match error {
            BatchError::TooMany => Self::too_large(error.to_string()),
            BatchError::Malformed(error) => Self::malformed(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use model::is_catalogued;

    use super::*;

    fn read_with(headers: &[(&'static str, &'static str)], body: &str) -> Submission {
        let headers = headers.iter().map(|(name, value)| {
            let name = http::HeaderName::from_static(name);
            (name, http::HeaderValue::from_static(value))
        });
        read(&headers.collect(), body.as_bytes(), is_catalogued).unwrap()
    }

    #[test]
    fn a_media_type_is_recognized_in_any_case() {
        let headers = [(
            "content-type",
            "Application/CloudEvents+JSON; charset=utf-8",
        )];
        let body =
            r#"{"specversion":"1.0","id":"e1","source":"/s","type":"license.created","data":{}}"#;
        assert_eq!(read_with(&headers, body).id.as_deref(), Some("e1"));
    }

    #[test]
    fn attributes_of_binary_mode_are_percent_decoded() {
        let headers = [
            ("ce-specversion", "1.0"),
            ("ce-id", "e1"),
            ("ce-type", "license.created"),
            ("ce-product", "Zo%C3%AB%20%22pro%22"),
        ];
        let submission = read_with(&headers, "{}");
        assert_eq!(submission.product.as_deref(), Some("Zoë \"pro\""));
    }
}
