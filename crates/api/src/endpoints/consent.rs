//! Asking receivers whether they may be sent to, where the dialect does that. Until a receiver
//! agrees its endpoint is disabled, so that deliveries are held for it.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use bytes::Bytes;
use dialect::{Answer, Dialect, Rendered};
use http::{HeaderMap, StatusCode};
use model::{Consent, DisabledReason, Endpoint, EndpointId, EndpointState, KeyHash, Timestamp};
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

/// Whether the endpoint must not be sent to before its receiver agrees.
pub(super) fn is_awaited(endpoint: &Endpoint) -> bool {
    let handshake = Dialect::of(endpoint).and_then(|dialect| dialect.handshake(endpoint));
    let agreed = |consent: &Consent| consent.granted_at.is_some();
    handshake.is_some() && !endpoint.consent.as_ref().is_some_and(agreed)
}

/// Refuses what would be sent before the receiver agrees.
pub(super) fn must_be_given(endpoint: &Endpoint) -> Result<(), ApiError> {
    if is_awaited(endpoint) {
        let detail = "its receiver has not agreed to be sent to: enable the endpoint to ask again";
        return Err(ApiError::conflict(detail));
    }
    Ok(())
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

/// Disables the endpoint until its receiver has agreed to be sent to, where it has to.
pub(super) fn await_consent(endpoint: &mut Endpoint, now: Timestamp) {
    endpoint.consent = None;
    let awaiting = EndpointState::Disabled {
        reason: DisabledReason::AwaitingConsent,
        since: now,
    };
    endpoint.state = match (is_awaited(endpoint), endpoint.state) {
        (true, EndpointState::Active) => awaiting,
        (false, state) if is_awaiting(state) => EndpointState::Active,
        (_, state) => state,
    };
}

const fn is_awaiting(state: EndpointState) -> bool {
    matches!(
        state,
        EndpointState::Disabled {
            reason: DisabledReason::AwaitingConsent,
            ..
        }
    )
}

/// Asks the receiver of an endpoint once more.
pub(super) async fn ask_again(app: &App, id: EndpointId) -> Result<Arc<Endpoint>, ApiError> {
    let now = ambient::now();
    let again = |endpoint: &mut Endpoint| {
        await_consent(endpoint, now);
        Ok::<_, ApiError>(())
    };
    let endpoint = app.directory.update_endpoint(id, &again).await?;
    let endpoint = endpoint.ok_or_else(|| ApiError::not_found("endpoint"))?;
    ask(app, endpoint).await
}

/// Asks the receiver of an endpoint that has to agree and has not been asked yet.
pub(super) async fn ask(app: &App, endpoint: Arc<Endpoint>) -> Result<Arc<Endpoint>, ApiError> {
    let handshake = Dialect::of(&endpoint).and_then(|dialect| dialect.handshake(&endpoint));
    let Some(handshake) = handshake.filter(|_| endpoint.consent.is_none()) else {
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
        Ok::<_, ApiError>(())
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
            headers: handshake.headers(&endpoint, callback),
            body: Bytes::new(),
        },
        headers: &endpoint.headers,
        timeout: ANSWER_TIMEOUT,
    };
    let permit = app.probes.acquire().await.expect("it is never closed");
    let reply = app.sender.ask(request).await;
    drop(permit);
    let header = |name: &str| {
        let found = reply.headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    };
    let answer = handshake.judge(&header);
    match (grant(app, endpoint.id, hash, answer).await?, updated) {
        (Some(endpoint), _) | (None, Some(endpoint)) => Ok(endpoint),
        (None, None) => Err(ApiError::not_found("endpoint")),
    }
}

/// Enables the endpoint if its receiver has agreed, at the rate it agreed to. Only to what it was
/// asked with `key`: the endpoint may have been changed since.
async fn grant(
    app: &App,
    id: EndpointId,
    key: KeyHash,
    answer: Answer,
) -> Result<Option<Arc<Endpoint>>, ApiError> {
    let rate_per_minute = match answer {
        Answer::Granted { rate_per_minute } => rate_per_minute,
        Answer::NotGranted => return Ok(None),
    };
    let now = ambient::now();
    let granted = |endpoint: &mut Endpoint| {
        let asked = endpoint.consent.as_mut().filter(|asked| asked.key == key);
        let Some(consent) = asked else { return Ok(()) };
        consent.granted_at = Some(now);
        consent.rate_per_minute = rate_per_minute;
        if is_awaiting(endpoint.state) {
            endpoint.state = EndpointState::Active;
        }
        Ok::<_, ApiError>(())
    };
    let endpoint = app.directory.update_endpoint(id, &granted).await?;
    let endpoint = endpoint.filter(|endpoint| !is_awaited(endpoint));
    if endpoint.is_some() {
        close_circuit(app, id).await;
    }
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
    let header = |name: &str| headers.get(name)?.to_str().ok();
    let answer = handshake.judge_callback(&header);
    if answer == Answer::NotGranted {
        return Err(ApiError::conflict(
            "WebHook-Allowed-Rate must be * or a positive number of requests a minute",
        ));
    }
    let granted = grant(app, endpoint.id, hash, answer).await?;
    granted.map(|_| StatusCode::NO_CONTENT).ok_or_else(unknown)
}
