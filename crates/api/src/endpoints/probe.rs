use std::sync::Arc;

use axum::extract::State;
use dialect::{Delivered, Dialect, Policy, SigningKeys};
use model::{DeliveryId, Endpoint, EndpointId, Event, EventId, Role};
use sender::{Reply, Request};
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;
use web::{ApiError, Id, Json, Principal, Problems};

use super::{consent, find};
use crate::app::App;
use crate::delivery_view::ResponseView;

/// What the receiver did with the test.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TestView {
    /// The test event, as the receiver saw it.
    #[schema(value_type = String)]
    event_id: EventId,
    event_type: String,
    #[serde(flatten)]
    response: ResponseView,
}

/// Sends `webhook.test` now, in the endpoint's dialect and with its secret, and answers what the
/// receiver did. Works on a disabled endpoint too. The test is not recorded and never retried.
#[utoipa::path(
    post, path = "/v1/endpoints/{id}/test", tag = "endpoints", operation_id = "test_endpoint",
    params(("id" = String, Path, description = "An endpoint's id")),
    responses((status = 200, body = TestView), Problems)
)]
pub(super) async fn test(
    State(app): State<App>,
    caller: Principal,
    Id(id): Id<EndpointId>,
) -> Result<Json<TestView>, ApiError> {
    caller.require(Role::Editor)?;
    let endpoint = find(&app, &caller, id)?;
    let Probed { event, reply, .. } = probe(&app, &endpoint).await?;
    Ok(Json(TestView {
        event_type: event.event_type.to_string(),
        response: ResponseView::new(
            reply.outcome,
            reply.error_detail,
            reply.duration,
            &reply.headers,
            &reply.body,
        ),
        event_id: event.id,
    }))
}

/// Sends a new endpoint its first test where its dialect's senders do: once, beside the answer, and
/// whatever becomes of it. Where there is no room for it, it is left out.
pub(super) fn greet(app: &App, endpoint: &Arc<Endpoint>) {
    let greets = Dialect::of(endpoint).is_some_and(|dialect| dialect.profile().greets);
    if !greets || !endpoint.is_active() {
        return;
    }
    let (app, endpoint) = (app.clone(), Arc::clone(endpoint));
    tokio::spawn(async move {
        if probe(&app, &endpoint).await.is_err() {
            tracing::debug!(endpoint.id = %endpoint.id, "its first test is left out");
        }
    });
}

/// A test event, as which delivery it was sent and what came back.
pub(super) struct Probed {
    event: Event,
    pub(super) delivery: DeliveryId,
    pub(super) reply: Reply,
}

/// Sends a test event now.
pub(super) async fn probe(app: &App, endpoint: &Endpoint) -> Result<Probed, ApiError> {
    consent::must_be_given(endpoint)?;
    let policy = Policy::of(endpoint);
    let Ok(_permit) = app.probes.try_acquire() else {
        return Err(ApiError::too_many_requests(policy.timeout));
    };
    let event = test_event(endpoint);
    let now = ambient::now();
    let snapshot = app.directory.snapshot();
    let tenant = snapshot.tenant(&endpoint.tenant);
    let keys = tenant.map_or(&[][..], |view| &view.signing_keys);
    let keys = SigningKeys::read(keys).map_err(|error| ApiError::internal(&error))?;
    let delivery = DeliveryId::new(now, ambient::random_id());
    let delivered = Delivered {
        event: &event,
        endpoint,
        delivery,
        keys: &keys,
        now,
    };
    let dialect = Dialect::of(endpoint)
        .ok_or_else(|| ApiError::conflict("this version does not know the endpoint's dialect"))?;
    let rendered = dialect
        .render(&delivered)
        .map_err(|error| ApiError::conflict(format!("the test cannot be rendered: {error}")))?;
    let request = Request {
        url: &endpoint.url,
        rendered,
        headers: &endpoint.headers,
        timeout: policy.timeout,
    };
    let reply = app.sender.send(request).await;
    Ok(Probed {
        event,
        delivery,
        reply,
    })
}

fn test_event(endpoint: &Endpoint) -> Event {
    let now = ambient::now();
    let data = serde_json::json!({
        "message": "Test event",
        "endpoint": {"id": endpoint.id},
    });
    let data = RawValue::from_string(data.to_string()).expect("it was just serialized");
    Event {
        tenant: endpoint.tenant.clone(),
        id: EventId::generate(now, ambient::random_id()),
        event_type: "webhook.test".parse().expect("it is in the catalogue"),
        occurred_at: now,
        accepted_at: now,
        environment: endpoint.environment.unwrap_or_default(),
        product: endpoint.product.clone(),
        license: None,
        sequence: None,
        data: Arc::from(data),
    }
}
