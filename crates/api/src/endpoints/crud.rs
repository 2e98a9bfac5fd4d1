use std::sync::Arc;

use axum::extract::State;
use axum::response::IntoResponse;
use dialect::Dialect;
use http::header::LOCATION;
use http::{HeaderValue, StatusCode};
use model::{
    DisabledReason, Endpoint, EndpointId, EndpointState, Environment, Role, TenantId, Timestamp,
};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::Value;
use url::Url;
use utoipa::IntoParams;
use web::{ApiError, Id, Json, Listed, Page, PageParams, Principal, Problems, Query};

use super::actions::close_circuit;
use super::input::EndpointInput;
use super::view::{EndpointView, NewEndpointView, show, show_one};
use super::{consent, find, probe};
use crate::app::{App, check_room};
use crate::schema;
use crate::signing_keys::make_missing;

/// Endpoints of a tenant at most.
const ENDPOINTS_MAX: usize = 10_000;

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct EndpointFilter {
    /// Part of the name, the description or the URL.
    query: Option<String>,
    #[param(value_type = Option<schema::Environment>)]
    environment: Option<Environment>,
    active: Option<bool>,
}

/// Lists endpoints, oldest first.
#[utoipa::path(
    get, path = "/v1/endpoints", tag = "endpoints", operation_id = "list_endpoints",
    params(EndpointFilter, PageParams),
    responses((status = 200, body = Listed<EndpointView>), Problems)
)]
pub(super) async fn list(
    State(app): State<App>,
    caller: Principal,
    Query(filter): Query<EndpointFilter>,
    page: Page,
) -> Result<Json<Listed<EndpointView>>, ApiError> {
    caller.require(Role::Viewer)?;
    let after: Option<EndpointId> = page.after()?;
    let snapshot = app.directory.snapshot();
    let endpoints = snapshot
        .tenant(caller.tenant()?)
        .map(|view| view.endpoints.as_slice());
    let query = filter.query.map(|query| query.to_lowercase());
    let mut found: Vec<Arc<Endpoint>> = endpoints
        .unwrap_or_default()
        .iter()
        .filter(|endpoint| after.is_none_or(|after| endpoint.id > after))
        .filter(|endpoint| {
            filter
                .active
                .is_none_or(|active| endpoint.is_active() == active)
        })
        .filter(|endpoint| {
            filter
                .environment
                .is_none_or(|it| endpoint.environment == Some(it))
        })
        .filter(|endpoint| query.as_ref().is_none_or(|query| mentions(endpoint, query)))
        .take(page.limit() as usize + 1)
        .cloned()
        .collect();
    let more = found.len() > page.limit() as usize;
    found.truncate(page.limit() as usize);
    let next = found.last().filter(|_| more).map(|endpoint| endpoint.id);
    Ok(Json(Listed::new(show(&app, &found).await, next)))
}

fn mentions(endpoint: &Endpoint, query: &str) -> bool {
    let texts = [
        Some(endpoint.url.as_str()),
        endpoint.name.as_deref(),
        endpoint.description.as_deref(),
    ];
    texts
        .iter()
        .flatten()
        .any(|text| text.to_lowercase().contains(query))
}

/// Makes an endpoint. The answer shows its secret, this once.
#[utoipa::path(
    post, path = "/v1/endpoints", tag = "endpoints", operation_id = "create_endpoint",
    request_body = EndpointInput,
    responses((status = 201, body = NewEndpointView), Problems)
)]
pub(super) async fn create(
    State(app): State<App>,
    caller: Principal,
    Json(input): Json<EndpointInput>,
) -> Result<impl IntoResponse, ApiError> {
    caller.require(Role::Editor)?;
    let (endpoint, secret) = make(&app, caller.tenant()?, input).await?;
    let location = format!("/v1/endpoints/{}", endpoint.id);
    let location = HeaderValue::try_from(location).expect("an id is visible ASCII");
    let view = NewEndpointView {
        endpoint: show_one(&app, &endpoint).await,
        secret: secret.expose_secret().to_owned(),
    };
    Ok((StatusCode::CREATED, [(LOCATION, location)], Json(view)))
}

/// Makes an endpoint and asks or greets its receiver, where the dialect does that.
pub(super) async fn make(
    app: &App,
    tenant: &TenantId,
    mut input: EndpointInput,
) -> Result<(Arc<Endpoint>, SecretString), ApiError> {
    input.name_origin(app.public_host());
    let snapshot = app.directory.snapshot();
    let count = snapshot
        .tenant(tenant)
        .map_or(0, |view| view.endpoints.len());
    check_room("endpoints", count, ENDPOINTS_MAX)?;
    let url = input.check(&app.sender, &snapshot, tenant, None).await?;
    let secret = match &input.secret {
        Some(secret) => SecretString::from(secret.as_str()),
        None => Dialect::generate_secret(ambient::random_secret()),
    };
    let endpoint = new_endpoint(tenant, input, url, secret.clone());
    make_missing(app, &endpoint).await?;
    let endpoint = app.directory.put_endpoint(endpoint).await?;
    let endpoint = consent::ask(app, endpoint).await?;
    probe::greet(app, &endpoint);
    Ok((endpoint, secret))
}

fn new_endpoint(
    tenant: &TenantId,
    input: EndpointInput,
    url: Url,
    secret: SecretString,
) -> Endpoint {
    let now = ambient::now();
    let id = EndpointId::new(now, ambient::random_id());
    let mut endpoint = Endpoint::new(id, tenant.clone(), url.clone(), "", secret);
    endpoint.state = state(input.active.unwrap_or(true), EndpointState::Active, now);
    input.apply(&mut endpoint, url);
    consent::await_consent(&mut endpoint, now);
    endpoint
}

/// The state after somebody wished `active`. Disabled stays disabled, with its reason; but what
/// somebody disables while its receiver is being asked stays so when it agrees.
pub(super) fn state(active: bool, current: EndpointState, now: Timestamp) -> EndpointState {
    match (active, current) {
        (true, _) => EndpointState::Active,
        (
            false,
            EndpointState::Active
            | EndpointState::Disabled {
                reason: DisabledReason::AwaitingConsent,
                ..
            },
        ) => EndpointState::Disabled {
            reason: DisabledReason::Requested,
            since: now,
        },
        (false, disabled @ EndpointState::Disabled { .. }) => disabled,
    }
}

/// Shows an endpoint.
#[utoipa::path(
    get, path = "/v1/endpoints/{id}", tag = "endpoints", operation_id = "get_endpoint",
    params(("id" = String, Path, description = "An endpoint's id")),
    responses((status = 200, body = EndpointView), Problems)
)]
pub(super) async fn get(
    State(app): State<App>,
    caller: Principal,
    Id(id): Id<EndpointId>,
) -> Result<Json<EndpointView>, ApiError> {
    caller.require(Role::Viewer)?;
    let endpoint = find(&app, &caller, id)?;
    Ok(Json(show_one(&app, &endpoint).await))
}

/// Changes an endpoint: a JSON merge patch (RFC 7396), `null` goes back to the dialect's default.
/// Applies to what is queued already.
#[utoipa::path(
    patch, path = "/v1/endpoints/{id}", tag = "endpoints", operation_id = "patch_endpoint",
    params(("id" = String, Path, description = "An endpoint's id")),
    request_body(content = EndpointInput, content_type = "application/merge-patch+json"),
    responses((status = 200, body = EndpointView), Problems)
)]
pub(super) async fn patch(
    State(app): State<App>,
    caller: Principal,
    Id(id): Id<EndpointId>,
    Json(patch): Json<Value>,
) -> Result<Json<EndpointView>, ApiError> {
    caller.require(Role::Editor)?;
    let current = find(&app, &caller, id)?;
    let host = app.public_host();
    let wanted = EndpointInput::patched(&current, &patch, host)?;
    let snapshot = app.directory.snapshot();
    let url = wanted
        .check(&app.sender, &snapshot, &current.tenant, Some(&current))
        .await?;
    let now = ambient::now();
    // Once more on what is there by now: somebody else may have changed other members.
    let change = |endpoint: &mut Endpoint| {
        let input = EndpointInput::patched(endpoint, &patch, host)?;
        if patch.get("active").is_some() {
            endpoint.state = state(input.active.unwrap_or(true), endpoint.state, now);
        }
        let before = endpoint.clone();
        let url = if patch.get("url").is_some() {
            url.clone()
        } else {
            endpoint.url.clone()
        };
        input.apply(endpoint, url);
        let asks_again = endpoint.is_active() && consent::is_awaited(endpoint);
        if asks_again || consent::is_another(&before, endpoint) {
            consent::await_consent(endpoint, now);
        }
        Ok::<_, ApiError>(())
    };
    let mut changed = Endpoint::clone(&current);
    change(&mut changed)?;
    make_missing(&app, &changed).await?;
    let endpoint = app.directory.update_endpoint(id, &change).await?;
    let endpoint = endpoint.ok_or_else(|| ApiError::not_found("endpoint"))?;
    make_missing(&app, &endpoint).await?;
    let endpoint = consent::ask(&app, endpoint).await?;
    if endpoint.is_active() && !current.is_active() {
        close_circuit(&app, id).await;
    }
    Ok(Json(show_one(&app, &endpoint).await))
}

/// Deletes an endpoint. What it has not got by then is discarded.
#[utoipa::path(
    delete, path = "/v1/endpoints/{id}", tag = "endpoints", operation_id = "delete_endpoint",
    params(("id" = String, Path, description = "An endpoint's id")),
    responses((status = 204), Problems)
)]
pub(super) async fn delete(
    State(app): State<App>,
    caller: Principal,
    Id(id): Id<EndpointId>,
) -> Result<StatusCode, ApiError> {
    caller.require(Role::Editor)?;
    find(&app, &caller, id)?;
    if app.directory.delete_endpoint(id).await? {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(ApiError::not_found("endpoint"))
    }
}
