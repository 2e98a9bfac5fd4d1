//! Asking receivers whether they may be sent to, where the dialect does that. Until a receiver
//! agrees its endpoint is disabled, so that deliveries are held for it.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use bytes::Bytes;
use dialect::{Answer, Dialect, Rendered};
use http::{HeaderMap, StatusCode};
use model::{
    Consent, DisabledReason, Endpoint, EndpointId, EndpointState, Outcome, RateLimit, Timestamp,
};
use secrecy::ExposeSecret as _;
use sender::Request;
use serde::Deserialize;
use utoipa::IntoParams;
use web::{ApiError, Problems, Query, hash_key, new_key};

use super::actions::close_circuit;
use crate::app::App;

/// Where a receiver agrees later.
const CONFIRM_PATH: &str = "/v1/handshake/confirm";
/// How long a receiver may take to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// The slowest rate that Fanfare keeps to, per minute.
const RATE_PER_MINUTE_MIN: u32 = 60;

/// Whether the endpoint must not be sent to before its receiver agrees.
pub(super) fn is_awaited(endpoint: &Endpoint) -> bool {
    let handshake = Dialect::of(endpoint).and_then(|dialect| dialect.handshake(endpoint));
    let agreed = |consent: &Consent| consent.granted_at.is_some();
    handshake.is_some() && !endpoint.consent.as_ref().is_some_and(agreed)
}

/// Whether the change of an endpoint is one that its receiver has not agreed to.
pub(super) fn is_another(before: &Endpoint, after: &Endpoint) -> bool {
    let asked = |endpoint: &Endpoint| {
        Dialect::of(endpoint)
            .and_then(|dialect| dialect.handshake(endpoint))
            .map(|handshake| (endpoint.url.clone(), handshake))
    };
    asked(before) != asked(after)
}

/// Disables the endpoint until its receiver has agreed to be sent to.
pub(super) fn await_consent(endpoint: &mut Endpoint, now: Timestamp) {
    endpoint.consent = None;
    if is_awaited(endpoint) && endpoint.is_active() {
        endpoint.state = EndpointState::Disabled {
            reason: DisabledReason::AwaitingConsent,
            since: now,
        };
    }
}

/// Asks the receiver of an endpoint that awaits consent.
pub(super) async fn ask(app: &App, endpoint: Arc<Endpoint>) -> Result<Arc<Endpoint>, ApiError> {
    let handshake = Dialect::of(&endpoint).and_then(|dialect| dialect.handshake(&endpoint));
    let Some(handshake) = handshake.filter(|_| is_awaited(&endpoint)) else {
        return Ok(endpoint);
    };
    let (key, hash) = new_key(ambient::random_secret());
    let asked_at = ambient::now();
    // Before it is asked: it may agree before it has answered.
    let asking = |endpoint: &mut Endpoint| {
        endpoint.consent = Some(Consent {
            asked_at,
            key: hash,
            granted_at: None,
            rate_per_minute: None,
        });
    };
    let updated = app.directory.update_endpoint(endpoint.id, &asking).await?;
    let callback = app.public_url.as_ref().map(|url| {
        format!(
            "{url}{CONFIRM_PATH}?id={}&key={}",
            endpoint.id,
            key.expose_secret()
        )
    });
    let request = Request {
        url: &endpoint.url,
        rendered: Rendered {
            headers: handshake.headers(callback),
            body: Bytes::new(),
        },
        headers: &endpoint.headers,
        timeout: ANSWER_TIMEOUT,
    };
    let reply = app.sender.ask(request).await;
    let header = |name: &str| {
        let found = reply.headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    };
    let answer = match reply.outcome {
        Outcome::Answered { .. } => handshake.judge(&header),
        Outcome::Unanswered(_) => Answer::NotGranted,
    };
    match (grant(app, endpoint.id, answer).await?, updated) {
        (Some(endpoint), _) | (None, Some(endpoint)) => Ok(endpoint),
        (None, None) => Err(ApiError::not_found("endpoint")),
    }
}

/// Enables the endpoint if its receiver has agreed, at the rate it agreed to.
async fn grant(
    app: &App,
    id: EndpointId,
    answer: Answer,
) -> Result<Option<Arc<Endpoint>>, ApiError> {
    let rate_per_minute = match answer {
        Answer::Granted { rate_per_minute } => rate_per_minute,
        Answer::NotGranted => return Ok(None),
    };
    if rate_per_minute.is_some_and(|rate| rate < RATE_PER_MINUTE_MIN) {
        return Ok(None);
    }
    let now = ambient::now();
    let granted = |endpoint: &mut Endpoint| {
        if let Some(consent) = &mut endpoint.consent {
            consent.granted_at = Some(now);
            consent.rate_per_minute = rate_per_minute;
        }
        if let Some(rate) = rate_per_minute {
            let agreed = rate / RATE_PER_MINUTE_MIN;
            let wanted = endpoint.rate_limit.map_or(agreed, |limit| limit.per_second);
            endpoint.rate_limit = Some(RateLimit {
                per_second: wanted.min(agreed),
            });
        }
        if let EndpointState::Disabled {
            reason: DisabledReason::AwaitingConsent,
            ..
        } = endpoint.state
        {
            endpoint.state = EndpointState::Active;
        }
    };
    let endpoint = app.directory.update_endpoint(id, &granted).await?;
    close_circuit(app, id).await;
    Ok(endpoint)
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Confirmation {
    /// The endpoint that is agreed to.
    #[param(value_type = String)]
    id: EndpointId,
    /// As in the callback that the receiver was given.
    key: String,
}

/// A receiver agrees to be sent to; the callback of the handshake. With the header
/// `WebHook-Allowed-Rate` it sets the requests a minute, else it agrees to what it was asked.
#[utoipa::path(
    get, path = "/v1/handshake/confirm", tag = "endpoints", operation_id = "confirm_consent",
    params(Confirmation), security(()),
    responses((status = 204, description = "It is sent to from now on."), Problems)
)]
pub(super) async fn confirm(
    State(app): State<App>,
    Query(confirmation): Query<Confirmation>,
    headers: HeaderMap,
) -> Result<StatusCode, ApiError> {
    agree(&app, &confirmation, &headers).await
}

/// As `GET`: a receiver may use either.
#[utoipa::path(
    post, path = "/v1/handshake/confirm", tag = "endpoints", operation_id = "post_consent",
    params(Confirmation), security(()),
    responses((status = 204, description = "It is sent to from now on."), Problems)
)]
pub(super) async fn confirm_by_post(
    State(app): State<App>,
    Query(confirmation): Query<Confirmation>,
    headers: HeaderMap,
) -> Result<StatusCode, ApiError> {
    agree(&app, &confirmation, &headers).await
}

async fn agree(
    app: &App,
    confirmation: &Confirmation,
    headers: &HeaderMap,
) -> Result<StatusCode, ApiError> {
    let unknown = || ApiError::not_found("handshake");
    let snapshot = app.directory.snapshot();
    let endpoint = snapshot.endpoint(confirmation.id).ok_or_else(unknown)?;
    let asked = Dialect::of(endpoint).and_then(|dialect| dialect.handshake(endpoint));
    let hash = hash_key(&confirmation.key);
    let consent = endpoint.consent.as_ref().filter(|it| it.key == hash);
    let (Some(handshake), Some(_)) = (asked, consent) else {
        return Err(unknown());
    };
    let rate = headers.get("webhook-allowed-rate");
    let answer = handshake.judge_callback(rate.and_then(|rate| rate.to_str().ok()));
    match grant(app, endpoint.id, answer).await? {
        Some(_) => Ok(StatusCode::NO_CONTENT),
        None => Err(ApiError::conflict(format!(
            "WebHook-Allowed-Rate must be * or at least {RATE_PER_MINUTE_MIN} a minute"
        ))),
    }
}
