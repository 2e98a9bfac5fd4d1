//! License Validator's own way to make an endpoint and to test it, for clients written for that.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use dialect::Dialect;
use dialect::webhook_api::{DIALECT, endpoint_id, test_id, webhook_id};
use http::StatusCode;
use model::{Endpoint, Outcome, Plan, Role};
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use web::{ApiError, Json, Principal, Problems};

use super::crud::make;
use super::find;
use super::input::EndpointInput;
use super::probe::probe;
use crate::app::App;

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewWebhook {
    /// Required. `https`.
    url: Option<String>,
    /// Required. In the dialect's own names.
    #[schema(example = json!(["license.validated", "license.activated"]))]
    events: Option<Vec<String>>,
    #[serde(rename = "isActive", default = "yes")]
    is_active: bool,
}

const fn yes() -> bool {
    true
}

/// A webhook and, this once, its secret.
#[derive(Serialize, ToSchema)]
pub(super) struct WebhookView {
    #[schema(example = "webhook_01JRX5K9Q8ZV3T7Y2M4N6P8R0S")]
    id: String,
    secret: String,
    url: String,
    events: Vec<String>,
    #[serde(rename = "isActive")]
    is_active: bool,
}

/// How many webhooks a plan has.
const fn webhooks_max(plan: Plan) -> usize {
    match plan {
        Plan::Free | Plan::Starter => 0,
        Plan::Professional => 10,
        Plan::Enterprise => 50,
    }
}

/// Makes an endpoint in the dialect `licvalidator`, as License Validator's API does. Needs a plan
/// that has webhooks.
#[utoipa::path(
    post, path = "/api/webhooks", tag = "endpoints", operation_id = "create_webhook",
    request_body = NewWebhook,
    responses((status = 201, body = WebhookView), Problems)
)]
pub(super) async fn create(
    State(app): State<App>,
    caller: Principal,
    Json(webhook): Json<NewWebhook>,
) -> Result<Response, ApiError> {
    caller.require(Role::Editor)?;
    let tenant = caller.tenant()?;
    let snapshot = app.directory.snapshot();
    let (plan, count) = snapshot.tenant(tenant).map_or((Plan::Free, 0), |view| {
        let webhooks = view
            .endpoints
            .iter()
            .filter(|endpoint| is_webhook(endpoint));
        (view.tenant.plan, webhooks.count())
    });
    match webhooks_max(plan) {
        0 => {
            return Ok(refused(
                "plan_required",
                "webhooks need the professional plan",
            ));
        }
        max if count >= max => {
            return Ok(refused(
                "webhook_limit_reached",
                "the plan has no more webhooks",
            ));
        }
        _ => {}
    }
    let input = EndpointInput {
        url: webhook.url,
        dialect: Some(DIALECT.name().to_owned()),
        event_types: webhook.events,
        active: Some(webhook.is_active),
        ..EndpointInput::default()
    };
    let made = make(&app, tenant, input).await;
    let (endpoint, secret) = made.map_err(|error| error.renamed("/event_types", "/events"))?;
    let view = WebhookView {
        id: webhook_id(endpoint.id),
        secret: secret.expose_secret().to_owned(),
        url: endpoint.url.to_string(),
        events: endpoint.event_types.clone(),
        is_active: endpoint.is_active(),
    };
    Ok((StatusCode::CREATED, Json(view)).into_response())
}

fn is_webhook(endpoint: &Endpoint) -> bool {
    Dialect::of(endpoint) == Some(DIALECT)
}

fn refused(code: &'static str, message: &'static str) -> Response {
    let body = serde_json::json!({"error": {"code": code, "message": message}});
    (StatusCode::FORBIDDEN, Json(body)).into_response()
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Test {
    #[serde(rename = "webhookId")]
    webhook_id: String,
}

/// What the receiver did.
#[derive(Serialize, ToSchema)]
pub(super) struct TestedView {
    /// Whether it answered 200 to 299.
    success: bool,
    /// As it was told to the receiver, unless the endpoint's options keep it from that.
    #[serde(rename = "deliveryId")]
    delivery_id: String,
    /// `null` if there was no answer.
    #[serde(rename = "statusCode")]
    status_code: Option<u16>,
    /// Milliseconds.
    #[serde(rename = "responseTime")]
    response_time: u64,
}

/// Sends a test event now, as License Validator's API does.
#[utoipa::path(
    post, path = "/api/webhooks/test", tag = "endpoints", operation_id = "test_webhook",
    request_body = Test,
    responses((status = 200, body = TestedView), Problems)
)]
pub(super) async fn test(
    State(app): State<App>,
    caller: Principal,
    Json(test): Json<Test>,
) -> Result<Json<TestedView>, ApiError> {
    caller.require(Role::Editor)?;
    let unknown = || ApiError::not_found("webhook");
    let id = endpoint_id(&test.webhook_id).ok_or_else(unknown)?;
    let endpoint = find(&app, &caller, id).map_err(|_| unknown())?;
    if !is_webhook(&endpoint) {
        return Err(unknown());
    }
    let probed = probe(&app, &endpoint).await?;
    let status_code = match probed.reply.outcome {
        Outcome::Answered { status, .. } => Some(status),
        Outcome::Unanswered(_) => None,
    };
    Ok(Json(TestedView {
        success: status_code.is_some_and(|status| (200..300).contains(&status)),
        delivery_id: test_id(probed.delivery),
        status_code,
        response_time: u64::try_from(probed.reply.duration.as_millis()).unwrap_or(u64::MAX),
    }))
}
