use axum::extract::State;
use broker::{Incoming, Queue};
use model::Role;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use web::{ApiError, Json, Listed, Page, PageParams, Principal, Problems};

use super::list;
use crate::app::App;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list_parked))
}

/// A message between Fanfare's own parts that could not be read. Its body may hold license keys
/// and is not shown.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, ToSchema)]
struct ParkedView {
    parked_at: Option<String>,
    /// The queue it came from.
    queue: String,
    reason: Option<String>,
    body_bytes: usize,
}

impl From<&Incoming> for ParkedView {
    fn from(message: &Incoming) -> Self {
        let headers = &message.headers;
        Self {
            parked_at: headers.rejected_at.clone(),
            queue: headers.routing_key.clone(),
            reason: headers.reason.clone(),
            body_bytes: message.body.len(),
        }
    }
}

/// Lists messages between Fanfare's own parts that could not be read and were set aside, oldest
/// first; for operators.
#[utoipa::path(
    get, path = "/v1/parked", tag = "deliveries", operation_id = "list_parked",
    params(PageParams),
    responses((status = 200, body = Listed<ParkedView>), Problems)
)]
async fn list_parked(
    State(app): State<App>,
    caller: Principal,
    page: Page,
) -> Result<Json<Listed<ParkedView>>, ApiError> {
    caller.require(Role::Operator)?;
    let view = |message: &Incoming| Some(ParkedView::from(message));
    list(&app, Queue::Parked, &page, view).await.map(Json)
}
