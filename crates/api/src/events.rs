use std::sync::Arc;

use axum::extract::State;
use model::{Environment, Event, EventId, EventType, LicenseId, Role, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use store::{Cursor, DeliveryFilter, EventFilter, PageRequest};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use web::{ApiError, Id, Json, LIMIT_MAX, Listed, Page, PageParams, Principal, Problems, Query};

use crate::app::App;
use crate::delivery_view::DeliveryView;
use crate::schema;

pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(get))
        .routes(routes!(timeline))
}

/// An event as it was accepted.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EventView {
    #[schema(value_type = String, example = "evt_01JRX5K9Q8ZV3T7Y2M4N6P8R0S")]
    id: EventId,
    #[serde(rename = "type")]
    #[schema(value_type = String, example = "license.activated")]
    event_type: EventType,
    #[schema(value_type = String, format = DateTime)]
    occurred_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    accepted_at: Timestamp,
    #[schema(value_type = schema::Environment)]
    environment: Environment,
    product: Option<String>,
    #[schema(value_type = Option<String>)]
    license: Option<LicenseId>,
    /// Position among the license's events: 1, 2, 3 … without gaps.
    sequence: Option<u64>,
    #[schema(value_type = Object)]
    data: Arc<RawValue>,
}

impl From<Event> for EventView {
    fn from(event: Event) -> Self {
        Self {
            id: event.id,
            event_type: event.event_type,
            occurred_at: event.occurred_at,
            accepted_at: event.accepted_at,
            environment: event.environment,
            product: event.product,
            license: event.license,
            sequence: event.sequence,
            data: event.data,
        }
    }
}

/// An event with its deliveries.
#[derive(Debug, Serialize, ToSchema)]
struct EventWithDeliveriesView {
    #[serde(flatten)]
    event: EventView,
    /// The newest 200; `GET /v1/deliveries?event=` has all.
    deliveries: Vec<DeliveryView>,
    /// Whether there are more than 200.
    more_deliveries: bool,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct EventQuery {
    #[serde(rename = "type")]
    #[param(value_type = Option<String>)]
    event_type: Option<EventType>,
    #[param(value_type = Option<String>)]
    license: Option<LicenseId>,
    #[param(value_type = Option<schema::Environment>)]
    environment: Option<Environment>,
    /// Accepted at this time or later.
    #[param(value_type = Option<String>, format = DateTime)]
    since: Option<Timestamp>,
    /// Accepted before this time.
    #[param(value_type = Option<String>, format = DateTime)]
    until: Option<Timestamp>,
}

/// Lists events, newest first.
#[utoipa::path(
    get, path = "/v1/events", tag = "events", operation_id = "list_events",
    params(EventQuery, PageParams),
    responses((status = 200, body = Listed<EventView>), Problems)
)]
async fn list(
    State(app): State<App>,
    caller: Principal,
    Query(query): Query<EventQuery>,
    page: Page,
) -> Result<Json<Listed<EventView>>, ApiError> {
    caller.require(Role::Viewer)?;
    let EventQuery {
        event_type,
        license,
        environment,
        since,
        until,
    } = query;
    let filter = EventFilter {
        event_type,
        license,
        environment,
        since,
        until,
    };
    let request = PageRequest {
        limit: page.limit(),
        after: page.after::<Cursor>()?,
    };
    let found = app
        .store
        .events(caller.tenant()?, &filter, &request)
        .await?;
    let items = found.items.into_iter().map(EventView::from).collect();
    Ok(Json(Listed::new(items, found.next)))
}

/// Shows an event with its deliveries.
#[utoipa::path(
    get, path = "/v1/events/{id}", tag = "events", operation_id = "get_event",
    params(("id" = String, Path, description = "An event's id")),
    responses((status = 200, body = EventWithDeliveriesView), Problems)
)]
async fn get(
    State(app): State<App>,
    caller: Principal,
    Id(id): Id<EventId>,
) -> Result<Json<EventWithDeliveriesView>, ApiError> {
    caller.require(Role::Viewer)?;
    let tenant = caller.tenant()?;
    let event = app.store.event(tenant, &id).await?;
    let event = event.ok_or_else(|| ApiError::not_found("event"))?;
    let filter = DeliveryFilter {
        event: Some(id),
        ..DeliveryFilter::default()
    };
    let request = PageRequest {
        limit: LIMIT_MAX,
        after: None,
    };
    let deliveries = app.store.deliveries(tenant, &filter, &request).await?;
    Ok(Json(EventWithDeliveriesView {
        event: event.into(),
        more_deliveries: deliveries.next.is_some(),
        deliveries: deliveries
            .items
            .into_iter()
            .map(DeliveryView::from)
            .collect(),
    }))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct TimelineQuery {
    /// Only what comes after this sequence; from the start if absent.
    after_sequence: Option<u64>,
}

/// Lists a license's events in order: what a receiver that noticed a gap asks for.
#[utoipa::path(
    get, path = "/v1/licenses/{license}/events", tag = "events", operation_id = "license_timeline",
    params(
        ("license" = String, Path, description = "A license's id"), TimelineQuery, PageParams
    ),
    responses((status = 200, body = Listed<EventView>), Problems)
)]
async fn timeline(
    State(app): State<App>,
    caller: Principal,
    Id(license): Id<LicenseId>,
    Query(query): Query<TimelineQuery>,
    page: Page,
) -> Result<Json<Listed<EventView>>, ApiError> {
    caller.require(Role::Viewer)?;
    let after = page.after::<u64>()?.or(query.after_sequence).unwrap_or(0);
    let limit = page.limit();
    let mut events = app
        .store
        .timeline(caller.tenant()?, &license, after, limit + 1)
        .await?;
    let more = events.len() > limit as usize;
    events.truncate(limit as usize);
    let next = events
        .last()
        .filter(|_| more)
        .and_then(|event| event.sequence);
    Ok(Json(Listed::new(
        events.into_iter().map(EventView::from).collect(),
        next,
    )))
}
