use std::collections::BTreeMap;

use delivery::CircuitState;
use dialect::Policy;
use model::{
    CircuitAction, Consent, DisabledReason, Endpoint, EndpointId, EndpointState, Environment,
    OnExhausted, RateLimit, Retry, Timestamp,
};
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::app::App;
use crate::schema;

/// Stands for the value of a header that is sent along: it may be a credential.
///
/// Not visible ASCII, so that sending it back is refused instead of stored.
const MASK: &str = "•••";

/// An endpoint as it is shown: never its secret, only a hint.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct EndpointView {
    #[schema(value_type = String, example = "ep_01JRX5K9Q8ZV3T7Y2M4N6P8R0S")]
    id: EndpointId,
    #[schema(format = "uri")]
    url: String,
    dialect: String,
    event_types: Vec<String>,
    name: Option<String>,
    description: Option<String>,
    #[schema(value_type = Option<schema::Environment>)]
    environment: Option<Environment>,
    product: Option<String>,
    active: bool,
    /// Why it is not active.
    #[schema(value_type = Option<schema::DisabledReason>)]
    disabled_reason: Option<DisabledReason>,
    #[schema(value_type = Option<String>, format = DateTime)]
    disabled_at: Option<Timestamp>,
    /// What the receiver answered when it was asked whether it may be sent to.
    consent: Option<ConsentView>,
    /// The last characters of the newest secret.
    secret_hint: Option<String>,
    /// As set; `null` follows the dialect. What holds stands under `effective`.
    #[schema(value_type = Option<schema::Retry>)]
    retry: Option<Retry>,
    timeout_s: Option<u32>,
    #[schema(value_type = Option<schema::RateLimit>)]
    rate_limit: Option<RateLimit>,
    max_in_flight: Option<u32>,
    circuit: CircuitView,
    #[schema(value_type = Option<schema::OnExhausted>)]
    on_exhausted: Option<OnExhausted>,
    /// The values are masked: they may be credentials.
    headers: BTreeMap<String, &'static str>,
    #[schema(value_type = Object)]
    dialect_options: Map<String, Value>,
    effective: EffectiveView,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    updated_at: Timestamp,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct ConsentView {
    #[schema(value_type = String, format = DateTime)]
    asked_at: Timestamp,
    /// `null` until it agrees.
    #[schema(value_type = Option<String>, format = DateTime)]
    granted_at: Option<Timestamp>,
    /// Requests a minute it agreed to; `null` for any number.
    rate_per_minute: Option<u32>,
}

impl From<&Consent> for ConsentView {
    fn from(consent: &Consent) -> Self {
        Self {
            asked_at: consent.asked_at,
            granted_at: consent.granted_at,
            rate_per_minute: consent.rate_per_minute,
        }
    }
}

/// An endpoint and, this once, its secret.
#[derive(Serialize, ToSchema)]
pub(crate) struct NewEndpointView {
    #[serde(flatten)]
    pub(crate) endpoint: EndpointView,
    /// Shown this once. Receivers verify signatures with it.
    pub(crate) secret: String,
}

/// The circuit's settings and where it stands.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct CircuitView {
    open_after: u32,
    #[schema(value_type = schema::CircuitAction)]
    action: CircuitAction,
    #[serde(flatten)]
    now: CircuitNow,
}

/// Where a circuit stands; `state` is `null` while that cannot be told.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
pub(crate) struct CircuitNow {
    state: Option<CircuitName>,
    /// Consecutive failed attempts.
    failures: Option<u32>,
    /// When the next attempt may probe whether the endpoint is back.
    #[schema(value_type = Option<String>, format = DateTime)]
    probe_at: Option<Timestamp>,
}

#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum CircuitName {
    /// Traffic flows.
    Closed,
    Open,
    HalfOpen,
}

impl From<delivery::Circuit> for CircuitNow {
    fn from(circuit: delivery::Circuit) -> Self {
        let (state, probe_at) = match circuit.state {
            CircuitState::Closed => (CircuitName::Closed, None),
            CircuitState::Open { probe_at, .. } => (CircuitName::Open, Some(probe_at)),
            CircuitState::HalfOpen { .. } => (CircuitName::HalfOpen, None),
        };
        Self {
            state: Some(state),
            failures: Some(circuit.failures),
            probe_at,
        }
    }
}

/// What holds, the dialect's profile and the endpoint's overrides together.
#[derive(Clone, Debug, Serialize, ToSchema)]
struct EffectiveView {
    delays_s: Vec<u64>,
    timeout_s: u64,
    max_in_flight: usize,
    #[schema(value_type = schema::OnExhausted)]
    on_exhausted: OnExhausted,
}

impl EndpointView {
    fn new(endpoint: &Endpoint, now: CircuitNow) -> Self {
        let policy = Policy::of(endpoint);
        let (disabled_reason, disabled_at) = match endpoint.state {
            EndpointState::Active => (None, None),
            EndpointState::Disabled { reason, since } => (Some(reason), Some(since)),
        };
        Self {
            id: endpoint.id,
            url: endpoint.url.to_string(),
            dialect: endpoint.dialect.clone(),
            event_types: endpoint.event_types.clone(),
            name: endpoint.name.clone(),
            description: endpoint.description.clone(),
            environment: endpoint.environment,
            product: endpoint.product.clone(),
            active: endpoint.is_active(),
            disabled_reason,
            disabled_at,
            consent: endpoint.consent.as_ref().map(ConsentView::from),
            secret_hint: endpoint.secrets.first().map(model::EndpointSecret::hint),
            retry: endpoint.retry.clone(),
            timeout_s: endpoint.timeout_s,
            rate_limit: endpoint.rate_limit,
            max_in_flight: endpoint.max_in_flight,
            circuit: CircuitView {
                open_after: policy.open_after,
                action: policy.circuit_action,
                now,
            },
            on_exhausted: endpoint.on_exhausted,
            headers: endpoint
                .headers
                .keys()
                .map(|name| (name.clone(), MASK))
                .collect(),
            dialect_options: endpoint.dialect_options.clone(),
            effective: EffectiveView {
                delays_s: policy
                    .schedule_delays
                    .iter()
                    .map(|delay| delay.as_secs())
                    .collect(),
                timeout_s: policy.timeout.as_secs(),
                max_in_flight: policy.requests_max,
                on_exhausted: policy.on_exhausted,
            },
            created_at: endpoint.created_at,
            updated_at: endpoint.updated_at,
        }
    }
}

/// Shows endpoints with their circuits.
pub(crate) async fn show(
    app: &App,
    endpoints: &[impl AsRef<Endpoint> + Sync],
) -> Vec<EndpointView> {
    let ids: Vec<_> = endpoints
        .iter()
        .map(|endpoint| endpoint.as_ref().id)
        .collect();
    let circuits = circuits(app, &ids).await;
    let views = endpoints.iter().zip(circuits);
    views
        .map(|(endpoint, now)| EndpointView::new(endpoint.as_ref(), now))
        .collect()
}

pub(crate) async fn show_one(app: &App, endpoint: &Endpoint) -> EndpointView {
    let now = circuit(app, endpoint.id).await;
    EndpointView::new(endpoint, now)
}

pub(crate) async fn circuit(app: &App, endpoint: EndpointId) -> CircuitNow {
    circuits(app, &[endpoint]).await.pop().unwrap_or_default()
}

/// While the shared state is away nobody can tell how circuits stand, but all the rest can be
/// shown.
async fn circuits(app: &App, endpoints: &[EndpointId]) -> Vec<CircuitNow> {
    match app.shared_state.circuits(endpoints).await {
        Ok(circuits) => circuits.into_iter().map(CircuitNow::from).collect(),
        Err(_) => vec![CircuitNow::default(); endpoints.len()],
    }
}
