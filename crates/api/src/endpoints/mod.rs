//! Endpoints: `crud` makes, lists, changes and deletes them, `actions` enables and disables,
//! `rotation` changes secrets, `stats` measures, `probe` sends a test, `consent` asks receivers first. `webhooks` is the way in for
//! clients of another system's API. `input` is what clients say,
//! `view` what they are shown.

mod actions;
mod consent;
mod crud;
mod input;
mod probe;
mod rotation;
mod stats;
mod view;
mod webhooks;

use std::sync::Arc;

use model::{Endpoint, EndpointId};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use web::{ApiError, Principal};

use crate::app::App;

pub(crate) use input::{NAME_MAX, check_text, unknown_dialect};
pub(crate) use rotation::{check_grace, check_secrets, rotate};

pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(crud::list, crud::create))
        .routes(routes!(crud::get, crud::patch, crud::delete))
        .routes(routes!(actions::enable))
        .routes(routes!(actions::disable))
        .routes(routes!(rotation::rotate_secret))
        .routes(routes!(stats::stats))
        .routes(routes!(probe::test))
        .routes(routes!(webhooks::create))
        .routes(routes!(webhooks::test))
        .routes(routes!(consent::confirm, consent::confirm_by_post))
}

/// The caller's endpoint; another tenant's does not exist for him.
pub(crate) fn find(
    app: &App,
    caller: &Principal,
    id: EndpointId,
) -> Result<Arc<Endpoint>, ApiError> {
    let tenant = caller.tenant()?;
    let snapshot = app.directory.snapshot();
    let endpoint = snapshot
        .endpoint(id)
        .filter(|endpoint| endpoint.tenant == *tenant);
    endpoint
        .cloned()
        .ok_or_else(|| ApiError::not_found("endpoint"))
}
