use axum::extract::State;
use broker::{Ack, Headers, Incoming, Publication, Queue};
use http::StatusCode;
use model::{FieldError, Role};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use web::{ApiError, Json, JsonOrDefault, Listed, Page, PageParams, Principal, Problems};

use super::again::{Again, again};
use super::list;
use super::look::{Look, TAKEN_AT_ONCE, broker_away};
use crate::app::App;

/// Bytes of a rejected message's body that are shown.
const BODY_SHOWN_MAX: usize = 4 * 1024;
/// Messages that one request sends again or discards, unless it says otherwise, and at most.
const CHOSEN_DEFAULT: usize = 100;
const CHOSEN_MAX: usize = 1_000;
/// Messages that they are chosen from, the first of the queue: those of all tenants count.
const CHOSEN_FROM_MAX: usize = 20_000;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list_rejected))
        .routes(routes!(send_again))
        .routes(routes!(discard))
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

/// Lists events that could not be understood, published ones and webhooks, oldest first. An
/// operator that names no tenant sees those of all, and those that name none.
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

/// Which of them, oldest first.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
struct Choice {
    /// How many at most; 100 if absent.
    #[schema(minimum = 1, maximum = 1_000, default = 100)]
    limit: Option<usize>,
    /// Only these.
    message_ids: Option<Vec<String>>,
}

impl Choice {
    fn limit(&self) -> Result<usize, ApiError> {
        let limit = self.limit.unwrap_or(CHOSEN_DEFAULT);
        if (1..=CHOSEN_MAX).contains(&limit) {
            return Ok(limit);
        }
        let error = FieldError::new("/limit", format!("must be 1 to {CHOSEN_MAX}"));
        Err(ApiError::invalid(vec![error]))
    }

    fn is_of(&self, headers: &Headers) -> bool {
        match (&self.message_ids, &headers.message_id) {
            (None, _) => true,
            (Some(wanted), Some(id)) => wanted.contains(id),
            (Some(_), None) => false,
        }
    }
}

#[derive(Debug, Default, Serialize, ToSchema)]
struct SentAgainView {
    sent: usize,
    /// Those that cannot be sent again, or not whole, stay where they are.
    refused: Vec<RefusedView>,
}

#[derive(Debug, Serialize, ToSchema)]
struct RefusedView {
    message_id: Option<String>,
    detail: String,
}

impl RefusedView {
    fn of(headers: &Headers, detail: String) -> Self {
        Self {
            message_id: headers.message_id.clone(),
            detail,
        }
    }
}

/// Publishes rejected events to `license.events` once more, oldest first: after an event type was
/// registered, say. What came to a source is read as its dialect says. What still cannot be
/// understood is rejected again.
#[utoipa::path(
    post, path = "/v1/rejected/retry", tag = "events", operation_id = "retry_rejected",
    request_body = Option<Choice>,
    responses((status = 202, body = SentAgainView), Problems)
)]
async fn send_again(
    State(app): State<App>,
    caller: Principal,
    JsonOrDefault(choice): JsonOrDefault<Choice>,
) -> Result<(StatusCode, Json<SentAgainView>), ApiError> {
    caller.require(Role::Editor)?;
    let limit = choice.limit()?;
    let snapshot = app.directory.snapshot();
    let whose = whose(&caller)?;
    let mut look = Look::begin(&app, Queue::Rejected, CHOSEN_FROM_MAX).await;
    let mut view = SentAgainView::default();
    let mut sending = Sending::default();
    while view.sent + sending.acks.len() + view.refused.len() < limit
        && let Some(message) = look.next().await?
    {
        if !is_of(whose, &message.headers) || !choice.is_of(&message.headers) {
            look.keep(message.ack);
            continue;
        }
        match again(&message, &snapshot) {
            Ok(Again { events, unread }) => {
                sending.publications.extend(events);
                match unread {
                    None => sending.acks.push(message.ack),
                    Some(detail) => {
                        let refused = RefusedView::of(&message.headers, detail);
                        view.refused.push(refused);
                        look.keep(message.ack);
                    }
                }
            }
            Err(detail) => {
                view.refused.push(RefusedView::of(&message.headers, detail));
                look.keep(message.ack);
            }
        }
        let kept_back = sending.acks.len().max(sending.publications.len());
        if kept_back >= TAKEN_AT_ONCE as usize {
            view.sent += std::mem::take(&mut sending).send(&app).await?;
        }
    }
    view.sent += sending.send(&app).await?;
    look.end().await?;
    Ok((StatusCode::ACCEPTED, Json(view)))
}

/// Rejected messages, and what is published in their place.
#[derive(Default)]
struct Sending {
    publications: Vec<Publication>,
    acks: Vec<Ack>,
}

impl Sending {
    async fn send(self, app: &App) -> Result<usize, ApiError> {
        let sent = self.acks.len();
        if !self.publications.is_empty() {
            let published = app.broker.publish(self.publications).await;
            published.map_err(broker_away)?;
        }
        self.acks.into_iter().for_each(Ack::ack);
        Ok(sent)
    }
}

#[derive(Debug, Serialize, ToSchema)]
struct DiscardedView {
    discarded: usize,
}

/// Discards rejected events for good, oldest first.
#[utoipa::path(
    post, path = "/v1/rejected/discard", tag = "events", operation_id = "discard_rejected",
    request_body = Option<Choice>,
    responses((status = 200, body = DiscardedView), Problems)
)]
async fn discard(
    State(app): State<App>,
    caller: Principal,
    JsonOrDefault(choice): JsonOrDefault<Choice>,
) -> Result<Json<DiscardedView>, ApiError> {
    caller.require(Role::Editor)?;
    let limit = choice.limit()?;
    let whose = whose(&caller)?;
    let mut look = Look::begin(&app, Queue::Rejected, CHOSEN_FROM_MAX).await;
    let mut discarded = 0;
    while discarded < limit
        && let Some(message) = look.next().await?
    {
        if is_of(whose, &message.headers) && choice.is_of(&message.headers) {
            message.ack.ack();
            discarded += 1;
        } else {
            look.keep(message.ack);
        }
    }
    look.end().await?;
    Ok(Json(DiscardedView { discarded }))
}
