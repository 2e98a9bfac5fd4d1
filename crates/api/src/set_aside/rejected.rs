use axum::extract::State;
use broker::{Ack, Headers, Incoming, Queue};
use http::StatusCode;
use model::{FieldError, Role};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use web::{ApiError, Json, JsonOrDefault, Listed, Page, PageParams, Principal, Problems};

use super::again::again;
use super::list;
use super::look::{Look, broker_away};
use crate::app::App;

/// Bytes of a rejected message's body that are shown.
const BODY_SHOWN_MAX: usize = 4 * 1024;
/// Messages that one request sends again, unless it says otherwise, and at most.
const SENT_DEFAULT: usize = 100;
const SENT_MAX: usize = 1_000;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list_rejected))
        .routes(routes!(send_again))
}

/// A message that was published to `license.events`, or a webhook that came to a source, and could
/// not be understood.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, ToSchema)]
struct RejectedView {
    rejected_at: Option<String>,
    /// As the publisher named it; `null` if it named none.
    tenant: Option<String>,
    /// Its routing key; what came to a source is named as its sender does.
    event_type: String,
    message_id: Option<String>,
    /// The source that it came to; `null` if it was published.
    source: Option<String>,
    content_type: Option<String>,
    reason: Option<String>,
    body_bytes: usize,
    /// The first 4 KiB.
    body: String,
}

impl From<&Incoming> for RejectedView {
    fn from(message: &Incoming) -> Self {
        let headers = &message.headers;
        let shown = &message.body[..message.body.len().min(BODY_SHOWN_MAX)];
        Self {
            rejected_at: headers.rejected_at.clone(),
            tenant: tenant_of(headers).map(str::to_owned),
            event_type: headers.routing_key.clone(),
            message_id: headers.message_id.clone(),
            source: headers.source.clone(),
            content_type: headers.content_type.clone(),
            reason: headers.reason.clone(),
            body_bytes: message.body.len(),
            body: String::from_utf8_lossy(shown).into_owned(),
        }
    }
}

/// Lists events that could not be understood, published ones and webhooks, oldest first. An operator that names no
/// tenant sees those of all, and those that name none.
#[utoipa::path(
    get, path = "/v1/rejected", tag = "events", operation_id = "list_rejected",
    params(PageParams),
    responses((status = 200, body = Listed<RejectedView>), Problems)
)]
async fn list_rejected(
    State(app): State<App>,
    caller: Principal,
    page: Page,
) -> Result<Json<Listed<RejectedView>>, ApiError> {
    caller.require(Role::Viewer)?;
    let whose = whose(&caller)?;
    let view =
        |message: &Incoming| is_of(whose, &message.headers).then(|| RejectedView::from(message));
    list(&app, Queue::Rejected, &page, view).await.map(Json)
}

/// The tenant whose messages the caller means; `None` for all, which only an operator may.
fn whose(caller: &Principal) -> Result<Option<&str>, ApiError> {
    if caller.is_operator() {
        return Ok(caller.tenant_if_named()?.map(|tenant| tenant.as_str()));
    }
    caller.tenant().map(|tenant| Some(tenant.as_str()))
}

fn is_of(tenant: Option<&str>, headers: &Headers) -> bool {
    tenant.is_none_or(|tenant| tenant_of(headers) == Some(tenant))
}

pub(super) fn tenant_of(headers: &Headers) -> Option<&str> {
    headers.tenant.as_deref().or(headers.user_id.as_deref())
}

#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
struct SendAgainInput {
    /// How many at most, oldest first; 100 if absent.
    #[schema(minimum = 1, maximum = 1_000, default = 100)]
    limit: Option<usize>,
    /// Only these.
    message_ids: Option<Vec<String>>,
}

#[derive(Debug, Serialize, ToSchema)]
struct SentAgainView {
    sent: usize,
    /// Those that cannot be sent again stay where they are.
    refused: Vec<RefusedView>,
}

#[derive(Debug, Serialize, ToSchema)]
struct RefusedView {
    message_id: Option<String>,
    detail: String,
}

/// Publishes rejected events to `license.events` once more, oldest first: after an event type was
/// registered, say. What came to a source is read as its dialect says. What still cannot be understood is rejected again.
#[utoipa::path(
    post, path = "/v1/rejected/retry", tag = "events", operation_id = "retry_rejected",
    request_body = Option<SendAgainInput>,
    responses((status = 202, body = SentAgainView), Problems)
)]
async fn send_again(
    State(app): State<App>,
    caller: Principal,
    JsonOrDefault(input): JsonOrDefault<SendAgainInput>,
) -> Result<(StatusCode, Json<SentAgainView>), ApiError> {
    caller.require(Role::Editor)?;
    let limit = input.limit.unwrap_or(SENT_DEFAULT);
    if !(1..=SENT_MAX).contains(&limit) {
        let error = FieldError::new("/limit", format!("must be 1 to {SENT_MAX}"));
        return Err(ApiError::invalid(vec![error]));
    }
    let snapshot = app.directory.snapshot();
    let whose = whose(&caller)?;
    let mut look = Look::begin(&app, Queue::Rejected).await;
    let mut publications = Vec::new();
    let mut acks = Vec::new();
    let mut refused = Vec::new();
    while acks.len() + refused.len() < limit
        && let Some(message) = look.next().await?
    {
        if !is_of(whose, &message.headers) || !is_wanted(&input, &message.headers) {
            look.keep(message.ack);
            continue;
        }
        match again(&message, &snapshot) {
            Ok(events) => {
                publications.extend(events);
                acks.push(message.ack);
            }
            Err(detail) => {
                let message_id = message.headers.message_id;
                refused.push(RefusedView { message_id, detail });
                look.keep(message.ack);
            }
        }
    }
    let sent = acks.len();
    if sent > 0 {
        app.broker
            .publish(publications)
            .await
            .map_err(broker_away)?;
        acks.into_iter().for_each(Ack::ack);
    }
    look.end().await?;
    Ok((StatusCode::ACCEPTED, Json(SentAgainView { sent, refused })))
}

fn is_wanted(input: &SendAgainInput, headers: &Headers) -> bool {
    match (&input.message_ids, &headers.message_id) {
        (None, _) => true,
        (Some(wanted), Some(id)) => wanted.contains(id),
        (Some(_), None) => false,
    }
}
