//! Events that were published to `license.events` and could not be understood: listed here, and sent
//! again by `again`.

mod again;

use axum::extract::State;
use broker::{Ack, BrokerError, Headers, Incoming, Queue};
use http::StatusCode;
use model::{FieldError, Role};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use web::{ApiError, Json, JsonOrDefault, Listed, Page, PageParams, Principal, Problems};

use self::again::again;
use crate::app::App;

/// Rejected messages that one request looks at, at most. What lies behind them shows when those in
/// front have been sent again.
const LOOKED_AT_MAX: usize = 5_000;
/// Messages taken from the broker at once: a page of the largest events fits into memory.
const TAKEN_AT_ONCE: u32 = 100;
/// Bytes of a rejected message's body that are shown.
const BODY_SHOWN_MAX: usize = 4 * 1024;
/// Messages that one request sends again, unless it says otherwise, and at most.
const SENT_DEFAULT: usize = 100;
const SENT_MAX: usize = 1_000;

pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(send_again))
}

/// A message that was published to `license.events` and could not be understood.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RejectedView {
    /// As the publisher named it; `null` if it named none.
    tenant: Option<String>,
    /// Its routing key.
    event_type: String,
    message_id: Option<String>,
    content_type: Option<String>,
    reason: Option<String>,
    rejected_at: Option<String>,
    body_bytes: usize,
    /// The first 4 KiB.
    body: String,
}

impl From<&Incoming> for RejectedView {
    fn from(message: &Incoming) -> Self {
        let headers = &message.headers;
        let shown = &message.body[..message.body.len().min(BODY_SHOWN_MAX)];
        Self {
            tenant: tenant_of(headers).map(str::to_owned),
            event_type: headers.routing_key.clone(),
            message_id: headers.message_id.clone(),
            content_type: headers.content_type.clone(),
            reason: headers.reason.clone(),
            rejected_at: headers.rejected_at.clone(),
            body_bytes: message.body.len(),
            body: String::from_utf8_lossy(shown).into_owned(),
        }
    }
}

/// Lists published events that could not be understood, oldest first. An operator that names no
/// tenant sees those of all, and those that name none.
#[utoipa::path(
    get, path = "/v1/rejected", tag = "events", operation_id = "list_rejected",
    params(PageParams),
    responses((status = 200, body = Listed<RejectedView>), Problems)
)]
async fn list(
    State(app): State<App>,
    caller: Principal,
    page: Page,
) -> Result<Json<Listed<RejectedView>>, ApiError> {
    caller.require(Role::Viewer)?;
    let skipped = page.after::<usize>()?.unwrap_or(0);
    let wanted = skipped.saturating_add(page.limit() as usize);
    let mut matching = 0;
    let mut items = Vec::new();
    look(&app, |message| {
        if is_for(&caller, &message.headers) {
            matching += 1;
            if matching > skipped && matching <= wanted {
                items.push(RejectedView::from(&message));
            }
        }
        // One more than wanted, to know whether more follows.
        Looked {
            keep: Some(message.ack),
            done: matching > wanted,
        }
    })
    .await?;
    Ok(Json(Listed::new(
        items,
        (matching > wanted).then_some(wanted),
    )))
}

/// What was seen in a message.
struct Looked {
    /// Not settled: it goes back when the look is over.
    keep: Option<Ack>,
    done: bool,
}

/// Shows each rejected message to `see`, oldest first, until that is done. They go back afterwards.
async fn look(app: &App, mut see: impl FnMut(Incoming) -> Looked) -> Result<(), ApiError> {
    // Two looks at once would hide the messages from one another.
    let _alone = app.rejected.lock().await;
    let mut kept = Vec::new();
    while kept.len() < LOOKED_AT_MAX {
        let taken = app
            .broker
            .take(Queue::Rejected, TAKEN_AT_ONCE)
            .await
            .map_err(broker_away)?;
        if taken.is_empty() {
            break;
        }
        for message in taken {
            let Looked { keep, done } = see(message);
            kept.extend(keep);
            if done {
                return Ok(());
            }
        }
    }
    Ok(())
}

fn broker_away(error: BrokerError) -> ApiError {
    match &error {
        BrokerError::Unavailable { .. } => {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "the broker did not answer"
            );
            ApiError::unavailable("the broker is unavailable", web::ASK_AGAIN_AFTER)
        }
        BrokerError::Refused(_) => ApiError::internal(&error),
    }
}

fn is_for(caller: &Principal, headers: &Headers) -> bool {
    match caller.tenant_if_named() {
        Some(tenant) => tenant_of(headers) == Some(tenant.as_str()),
        None => caller.is_operator(),
    }
}

fn tenant_of(headers: &Headers) -> Option<&str> {
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
/// registered, say. What still cannot be understood is rejected again.
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
    let mut publications = Vec::new();
    let mut acks = Vec::new();
    let mut refused = Vec::new();
    look(&app, |message| {
        if !is_for(&caller, &message.headers) || !is_wanted(&input, &message.headers) {
            return Looked {
                keep: Some(message.ack),
                done: false,
            };
        }
        let keep = match again(&message, &snapshot) {
            Ok(publication) => {
                publications.push(publication);
                acks.push(message.ack);
                None
            }
            Err(detail) => {
                refused.push(RefusedView {
                    message_id: message.headers.message_id,
                    detail,
                });
                Some(message.ack)
            }
        };
        Looked {
            keep,
            done: publications.len() + refused.len() == limit,
        }
    })
    .await?;
    let sent = publications.len();
    if sent > 0 {
        app.broker
            .publish(publications)
            .await
            .map_err(broker_away)?;
        acks.into_iter().for_each(Ack::ack);
    }
    Ok((StatusCode::ACCEPTED, Json(SentAgainView { sent, refused })))
}

fn is_wanted(input: &SendAgainInput, headers: &Headers) -> bool {
    match (&input.message_ids, &headers.message_id) {
        (None, _) => true,
        (Some(wanted), Some(id)) => wanted.contains(id),
        (Some(_), None) => false,
    }
}
