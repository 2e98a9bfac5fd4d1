use std::error::Error;
use std::sync::Arc;

use axum::extract::State;
use model::{Endpoint, EndpointId, Role};
use serde::{Deserialize, Serialize};
use store::HeldFate;
use utoipa::ToSchema;
use web::{ApiError, Id, Json, JsonOrDefault, Principal, Problems};

use super::crud::state;
use super::view::{EndpointView, show_one};
use super::{consent, find};
use crate::app::App;

#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct EnableInput {
    held: HeldChoice,
}

/// What becomes of the deliveries that were held meanwhile.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum HeldChoice {
    /// All are delivered, in order.
    #[default]
    Deliver,
    /// Only the newest of each license is.
    LatestPerLicense,
    Discard,
}

/// An enabled endpoint, and how many held deliveries were discarded.
#[derive(Serialize, ToSchema)]
pub(super) struct EnabledView {
    #[serde(flatten)]
    endpoint: EndpointView,
    discarded: u64,
}

/// Enables an endpoint and closes its circuit. One whose receiver has yet to agree asks it again.
#[utoipa::path(
    post, path = "/v1/endpoints/{id}/enable", tag = "endpoints", operation_id = "enable_endpoint",
    params(("id" = String, Path, description = "An endpoint's id")),
    request_body = Option<EnableInput>,
    responses((status = 200, body = EnabledView), Problems)
)]
pub(super) async fn enable(
    State(app): State<App>,
    caller: Principal,
    Id(id): Id<EndpointId>,
    JsonOrDefault(input): JsonOrDefault<EnableInput>,
) -> Result<Json<EnabledView>, ApiError> {
    caller.require(Role::Editor)?;
    if consent::is_awaited(&*find(&app, &caller, id)?) {
        consent::must_be_given(&*consent::ask_again(&app, id).await?)?;
    }
    let fate = match input.held {
        HeldChoice::Deliver => None,
        HeldChoice::LatestPerLicense => Some(HeldFate::KeepLatestPerLicense),
        HeldChoice::Discard => Some(HeldFate::DiscardAll),
    };
    // Before the endpoint is active: from then on the dispatchers release what is held.
    let discarded = match fate {
        Some(fate) => app.store.discard_held(id, fate, ambient::now()).await?,
        None => 0,
    };
    let endpoint = set_state(&app, id, true).await?;
    consent::must_be_given(&endpoint)?;
    close_circuit(&app, id).await;
    let endpoint = show_one(&app, &endpoint).await;
    Ok(Json(EnabledView {
        endpoint,
        discarded,
    }))
}

/// Disables an endpoint. What arrives for it meanwhile is held, not lost.
#[utoipa::path(
    post, path = "/v1/endpoints/{id}/disable", tag = "endpoints",
    operation_id = "disable_endpoint",
    params(("id" = String, Path, description = "An endpoint's id")),
    responses((status = 200, body = EndpointView), Problems)
)]
pub(super) async fn disable(
    State(app): State<App>,
    caller: Principal,
    Id(id): Id<EndpointId>,
) -> Result<Json<EndpointView>, ApiError> {
    caller.require(Role::Editor)?;
    find(&app, &caller, id)?;
    let endpoint = set_state(&app, id, false).await?;
    Ok(Json(show_one(&app, &endpoint).await))
}

async fn set_state(app: &App, id: EndpointId, active: bool) -> Result<Arc<Endpoint>, ApiError> {
    let now = ambient::now();
    let change = |endpoint: &mut Endpoint| {
        // It may have been changed to one whose receiver has to agree first.
        if !(active && consent::is_awaited(endpoint)) {
            endpoint.state = state(active, endpoint.state, now);
        }
        Ok::<_, ApiError>(())
    };
    let endpoint = app.directory.update_endpoint(id, &change).await?;
    endpoint.ok_or_else(|| ApiError::not_found("endpoint"))
}

/// Forgets the failures of an endpoint that somebody has enabled.
pub(super) async fn close_circuit(app: &App, endpoint: EndpointId) {
    if let Err(error) = app.shared_state.reset_circuit(endpoint).await {
        let error: &dyn Error = &error;
        tracing::warn!(error, endpoint.id = %endpoint, "the circuit stays as it is until a probe");
    }
}
