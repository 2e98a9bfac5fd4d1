use axum::extract::State;
use dialect::{Dialect, EventName, MAX_IN_FLIGHT_DEFAULT, OptionDoc};
use http::StatusCode;
use model::{
    CATALOG, CircuitAction, EventType, FieldError, Jitter, KeyKind, OnExhausted,
    RegisteredEventType, Role, is_catalogued,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use web::{ApiError, Json, Listed, Principal, Problems};

use crate::app::{App, check_room};
use crate::endpoints::check_text;
use crate::schema;

/// Event types that a tenant may register.
const EVENT_TYPES_MAX: usize = 1_000;
/// Characters of an event type's description at most.
const DESCRIPTION_MAX: usize = 500;

pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(event_types, register))
        .routes(routes!(dialects))
        .routes(routes!(egress_addresses))
}

/// A type of event that may be published.
#[derive(Debug, Serialize, ToSchema)]
struct EventTypeView {
    name: String,
    /// When it fires.
    description: String,
    /// Registered by the tenant; else part of the catalogue.
    registered: bool,
}

/// Lists the catalogue of event types and those that the tenant registered, on one page.
#[utoipa::path(
    get, path = "/v1/event-types", tag = "catalogue", operation_id = "list_event_types",
    responses((status = 200, body = Listed<EventTypeView>), Problems)
)]
async fn event_types(
    State(app): State<App>,
    caller: Principal,
) -> Result<Json<Listed<EventTypeView>>, ApiError> {
    caller.require(Role::Viewer)?;
    let snapshot = app.directory.snapshot();
    let tenant = caller.tenant_if_named()?.and_then(|id| snapshot.tenant(id));
    let registered = tenant.into_iter().flat_map(|view| &view.event_types);
    let catalogued = CATALOG.iter().map(|entry| EventTypeView {
        name: entry.name.to_owned(),
        description: entry.fires_when.to_owned(),
        registered: false,
    });
    let mut items: Vec<_> = catalogued
        .chain(registered.map(EventTypeView::from))
        .collect();
    items.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(Json(Listed::new(items, None::<String>)))
}

impl From<&RegisteredEventType> for EventTypeView {
    fn from(registered: &RegisteredEventType) -> Self {
        Self {
            name: registered.name.to_string(),
            description: registered.description.clone(),
            registered: true,
        }
    }
}

#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
struct EventTypeInput {
    /// Words of `a-z 0-9 _` joined by dots.
    #[schema(value_type = String, example = "seat.assigned")]
    name: Option<EventType>,
    description: Option<String>,
}

/// Registers an event type of the tenant's own, or changes its description.
#[utoipa::path(
    post, path = "/v1/event-types", tag = "catalogue", operation_id = "register_event_type",
    request_body = EventTypeInput,
    responses((status = 201, body = EventTypeView), Problems)
)]
async fn register(
    State(app): State<App>,
    caller: Principal,
    Json(input): Json<EventTypeInput>,
) -> Result<(StatusCode, Json<EventTypeView>), ApiError> {
    caller.require(Role::Editor)?;
    let tenant = caller.tenant()?;
    let mut errors = Vec::new();
    if input.name.is_none() {
        errors.push(FieldError::new("/name", "is required"));
    }
    errors.extend(check_text(
        "/description",
        input.description.as_deref(),
        DESCRIPTION_MAX,
    ));
    let Some(name) = input.name.filter(|_| errors.is_empty()) else {
        return Err(ApiError::invalid(errors));
    };
    if is_catalogued(name.as_str()) {
        return Err(ApiError::conflict(format!(
            "{name} is in the catalogue already"
        )));
    }
    let snapshot = app.directory.snapshot();
    if !snapshot.knows_event_type(tenant, name.as_str()) {
        let count = snapshot
            .tenant(tenant)
            .map_or(0, |view| view.event_types.len());
        check_room("event types", count, EVENT_TYPES_MAX)?;
    }
    let registered = RegisteredEventType {
        tenant: tenant.clone(),
        name,
        description: input.description.unwrap_or_default(),
    };
    let view = EventTypeView::from(&registered);
    app.directory.put_event_type(registered).await?;
    Ok((StatusCode::CREATED, Json(view)))
}

/// A wire format with its habits.
#[derive(Debug, Serialize, ToSchema)]
struct DialectView {
    name: &'static str,
    title: &'static str,
    /// What `event_types` of an endpoint may name without options.
    event_types: Vec<&'static str>,
    /// What it calls which event of the catalogue: the first row that fits. What is in no row is
    /// not sent. Empty where the names are the catalogue's own.
    event_names: Vec<EventNameView>,
    /// The headers it sets without options.
    headers: &'static [&'static str],
    /// Headers it sets with certain options only.
    optional_headers: &'static [&'static str],
    signature: &'static str,
    /// What its requests are verified with; nothing where they are not signed.
    verified_with: Vec<VerifiedWith>,
    /// Whether a request carries a signature of each secret while one is rotated; else the old one
    /// signs alone until its time is over.
    several_signatures: bool,
    /// Whether the option `batch` lets several events leave in one request.
    batches: bool,
    /// Whether the option `handshake` has receivers asked before anything is sent to them.
    asks_first: bool,
    /// What `dialect_options` may hold.
    options: Vec<OptionView>,
    defaults: DefaultsView,
}

#[derive(Debug, Serialize, ToSchema)]
struct EventNameView {
    /// As the receiver sees it.
    name: &'static str,
    /// As it is published.
    event_type: &'static str,
    /// Which events of the type have the name; all if `null`.
    condition: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum VerifiedWith {
    /// The endpoint's secret.
    Secret,
    /// One of `GET /v1/signing-keys`.
    PublicKey,
}

impl From<EventName> for EventNameView {
    fn from(name: EventName) -> Self {
        Self {
            name: name.own,
            event_type: name.canonical,
            condition: name.condition,
        }
    }
}

impl From<KeyKind> for VerifiedWith {
    fn from(kind: KeyKind) -> Self {
        match kind {
            KeyKind::Secret => Self::Secret,
            KeyKind::Public => Self::PublicKey,
        }
    }
}

#[derive(Debug, Serialize, ToSchema)]
struct OptionView {
    name: &'static str,
    /// What it may be, the default first.
    values: &'static str,
    meaning: &'static str,
}

impl From<&OptionDoc> for OptionView {
    fn from(option: &OptionDoc) -> Self {
        Self {
            name: option.name,
            values: option.values,
            meaning: option.meaning,
        }
    }
}

/// What holds for an endpoint of the dialect unless it says otherwise.
#[derive(Debug, Serialize, ToSchema)]
struct DefaultsView {
    /// Seconds from the end of each failed attempt to the next.
    delays_s: &'static [u32],
    /// How delays are lengthened at random.
    #[schema(value_type = schema::Jitter)]
    jitter: Jitter,
    timeout_s: u32,
    max_in_flight: usize,
    circuit: CircuitDefaultsView,
    #[schema(value_type = schema::OnExhausted)]
    on_exhausted: OnExhausted,
    /// Answers that are a success; all others are failures.
    success_statuses: StatusesView,
    /// Answers after which the endpoint is disabled.
    disabled_by: &'static [u16],
}

/// Statuses, both ends included.
#[derive(Debug, Serialize, ToSchema)]
struct StatusesView {
    from: u16,
    to: u16,
}

#[derive(Debug, Serialize, ToSchema)]
struct CircuitDefaultsView {
    open_after: u32,
    #[schema(value_type = schema::CircuitAction)]
    action: CircuitAction,
}

impl From<Dialect> for DialectView {
    fn from(dialect: Dialect) -> Self {
        let profile = dialect.profile();
        let names = dialect.event_name_table();
        Self {
            name: profile.name,
            title: profile.title,
            event_types: dialect.event_names(),
            event_names: names.into_iter().map(EventNameView::from).collect(),
            headers: profile.headers,
            optional_headers: profile.optional_headers,
            signature: profile.signature,
            verified_with: dialect.key_kinds().map(VerifiedWith::from).collect(),
            several_signatures: profile.several_signatures,
            batches: dialect.has_batches(),
            asks_first: profile.asks_first,
            options: dialect.options().map(OptionView::from).collect(),
            defaults: DefaultsView {
                delays_s: profile.delays_s,
                jitter: profile.jitter,
                timeout_s: profile.timeout_s,
                max_in_flight: MAX_IN_FLIGHT_DEFAULT,
                circuit: CircuitDefaultsView {
                    open_after: profile.open_after,
                    action: profile.circuit_action,
                },
                on_exhausted: profile.on_exhausted,
                success_statuses: StatusesView { from: 200, to: 299 },
                disabled_by: profile.gone_statuses,
            },
        }
    }
}

/// Lists the wire formats that an endpoint can speak, on one page.
#[utoipa::path(
    get, path = "/v1/dialects", tag = "catalogue", operation_id = "list_dialects",
    responses((status = 200, body = Listed<DialectView>), Problems)
)]
async fn dialects(caller: Principal) -> Result<Json<Listed<DialectView>>, ApiError> {
    caller.require(Role::Viewer)?;
    let items = Dialect::ALL
        .iter()
        .copied()
        .map(DialectView::from)
        .collect();
    Ok(Json(Listed::new(items, None::<String>)))
}

/// Where requests to endpoints come from.
#[derive(Debug, Serialize, ToSchema)]
struct EgressView {
    addresses: Vec<String>,
}

/// Lists the addresses that requests to endpoints come from, for allow-lists. Any key will do.
#[utoipa::path(
    get, path = "/v1/egress-addresses", tag = "catalogue", operation_id = "egress_addresses",
    responses((status = 200, body = EgressView), Problems)
)]
async fn egress_addresses(State(app): State<App>, _: Principal) -> Json<EgressView> {
    Json(EgressView {
        addresses: app.egress_addresses.clone(),
    })
}
