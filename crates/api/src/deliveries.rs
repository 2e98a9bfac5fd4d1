use axum::extract::State;
use http::StatusCode;
use model::{
    Delivery, DeliveryId, DeliveryStatus, EndpointId, EventId, FieldError, LicenseId, Role,
    TenantId, Timestamp,
};
use serde::{Deserialize, Serialize};
use store::{Cursor, DeliveryFilter, PageRequest, Requeue};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use web::{
    ApiError, Id, Json, JsonOrDefault, Listed, Page, PageParams, Principal, Problems, Query,
};

use crate::app::App;
use crate::delivery_view::{AttemptView, DeliveryView, DeliveryWithAttemptsView};
use crate::{requeue, schema};

/// Deliveries that one request to retry by filter makes due at most.
pub(crate) const RETRIED_MAX: u32 = 10_000;
/// Deliveries made due in one transaction, and published together.
const RETRIED_AT_ONCE: u32 = 500;

pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(retry_matching))
        .routes(routes!(get))
        .routes(routes!(retry))
}

/// Which deliveries; all members that are given must match.
#[derive(Clone, Debug, Default, Deserialize, IntoParams, ToSchema)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(crate) struct DeliveryQuery {
    #[param(value_type = Option<String>)]
    #[schema(value_type = Option<String>)]
    endpoint: Option<EndpointId>,
    #[param(value_type = Option<String>)]
    #[schema(value_type = Option<String>)]
    event: Option<EventId>,
    #[param(value_type = Option<String>)]
    #[schema(value_type = Option<String>)]
    license: Option<LicenseId>,
    #[param(value_type = Option<schema::DeliveryStatus>)]
    #[schema(value_type = Option<schema::DeliveryStatus>)]
    status: Option<DeliveryStatus>,
    /// Made at this time or later.
    #[param(value_type = Option<String>, format = DateTime)]
    #[schema(value_type = Option<String>, format = DateTime)]
    since: Option<Timestamp>,
    /// Made before this time.
    #[param(value_type = Option<String>, format = DateTime)]
    #[schema(value_type = Option<String>, format = DateTime)]
    until: Option<Timestamp>,
}

impl From<DeliveryQuery> for DeliveryFilter {
    fn from(query: DeliveryQuery) -> Self {
        let DeliveryQuery {
            endpoint,
            event,
            license,
            status,
            since,
            until,
        } = query;
        Self {
            endpoint,
            event,
            license,
            status,
            since,
            until,
        }
    }
}

/// Lists deliveries, newest first.
#[utoipa::path(
    get, path = "/v1/deliveries", tag = "deliveries", operation_id = "list_deliveries",
    params(DeliveryQuery, PageParams),
    responses((status = 200, body = Listed<DeliveryView>), Problems)
)]
async fn list(
    State(app): State<App>,
    caller: Principal,
    Query(query): Query<DeliveryQuery>,
    page: Page,
) -> Result<Json<Listed<DeliveryView>>, ApiError> {
    caller.require(Role::Viewer)?;
    let request = PageRequest {
        limit: page.limit(),
        after: page.after::<Cursor>()?,
    };
    let found = app
        .store
        .deliveries(caller.tenant()?, &query.into(), &request)
        .await?;
    let items = found.items.into_iter().map(DeliveryView::from).collect();
    Ok(Json(Listed::new(items, found.next)))
}

/// Shows a delivery with every attempt.
#[utoipa::path(
    get, path = "/v1/deliveries/{id}", tag = "deliveries", operation_id = "get_delivery",
    params(("id" = String, Path, description = "A delivery's id")),
    responses((status = 200, body = DeliveryWithAttemptsView), Problems)
)]
async fn get(
    State(app): State<App>,
    caller: Principal,
    Id(id): Id<DeliveryId>,
) -> Result<Json<DeliveryWithAttemptsView>, ApiError> {
    caller.require(Role::Viewer)?;
    let delivery = find(&app, caller.tenant()?, id).await?;
    let attempts = app.store.attempts(id).await?;
    Ok(Json(DeliveryWithAttemptsView {
        delivery: delivery.into(),
        attempts: attempts.into_iter().map(AttemptView::from).collect(),
    }))
}

async fn find(app: &App, tenant: &TenantId, id: DeliveryId) -> Result<Delivery, ApiError> {
    let delivery = app.store.delivery(tenant, id).await?;
    delivery.ok_or_else(|| ApiError::not_found("delivery"))
}

/// Makes a delivery due again, with the same ids and a fresh run of its schedule.
#[utoipa::path(
    post, path = "/v1/deliveries/{id}/retry", tag = "deliveries", operation_id = "retry_delivery",
    params(("id" = String, Path, description = "A delivery's id")),
    responses((status = 202, body = DeliveryView), Problems)
)]
async fn retry(
    State(app): State<App>,
    caller: Principal,
    Id(id): Id<DeliveryId>,
) -> Result<(StatusCode, Json<DeliveryView>), ApiError> {
    caller.require(Role::Editor)?;
    let tenant = caller.tenant()?;
    let delivery = find(&app, tenant, id).await?;
    if app
        .directory
        .snapshot()
        .endpoint(delivery.endpoint)
        .is_none()
    {
        return Err(ApiError::conflict("the delivery's endpoint is deleted"));
    }
    // What is queued is due already: doing it again would only queue it twice.
    if delivery.status != DeliveryStatus::Queued {
        let what = Requeue::One {
            tenant: tenant.clone(),
            delivery: id,
        };
        let works = app.store.requeue(what, ambient::now()).await?;
        requeue::queue(&app, works).await;
    }
    Ok((
        StatusCode::ACCEPTED,
        Json(find(&app, tenant, id).await?.into()),
    ))
}

/// How many deliveries were made due again.
#[derive(Debug, Serialize, ToSchema)]
struct RetriedView {
    requeued: u64,
    /// More may match: ask again.
    more: bool,
}

/// Makes all deliveries due again that match, oldest first: the failed and discarded ones unless
/// `status` names another. At most 10,000 at once.
#[utoipa::path(
    post, path = "/v1/deliveries/retry", tag = "deliveries", operation_id = "retry_deliveries",
    request_body = Option<DeliveryQuery>,
    responses((status = 202, body = RetriedView), Problems)
)]
async fn retry_matching(
    State(app): State<App>,
    caller: Principal,
    JsonOrDefault(query): JsonOrDefault<DeliveryQuery>,
) -> Result<(StatusCode, Json<RetriedView>), ApiError> {
    caller.require(Role::Editor)?;
    let tenant = caller.tenant()?;
    let filter = DeliveryFilter::from(query);
    if filter.status == Some(DeliveryStatus::Queued) {
        let error = FieldError::new("/status", "what is queued is due already");
        return Err(ApiError::invalid(vec![error]));
    }
    let mut requeued = 0;
    // What has been requeued matches no more, so that every round takes others.
    while requeued < RETRIED_MAX {
        let limit = RETRIED_AT_ONCE.min(RETRIED_MAX - requeued);
        let what = Requeue::Matching {
            tenant: tenant.clone(),
            filter: filter.clone(),
            limit,
        };
        let works = app.store.requeue(what, ambient::now()).await?;
        let count = u32::try_from(works.len()).expect("not more than asked for");
        requeue::queue(&app, works).await;
        requeued += count;
        if count < limit {
            break;
        }
    }
    let more = requeued == RETRIED_MAX;
    Ok((
        StatusCode::ACCEPTED,
        Json(RetriedView {
            requeued: requeued.into(),
            more,
        }),
    ))
}
