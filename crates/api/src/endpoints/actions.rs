use std::collections::BTreeMap;
use std::time::Duration;

use axum::extract::State;
use dialect::Dialect;
use model::{
    DeliveryStatus, Endpoint, EndpointId, EndpointSecret, FieldError, Role,
    Timestamp,
};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use store::HeldFate;
use utoipa::{IntoParams, ToSchema};
use web::{ApiError, Id, Json, JsonOrDefault, Principal, Problems, Query};

use super::crud::state;
use super::find;
use super::input::check_secret_of;
use super::view::{CircuitNow, EndpointView, circuit, show_one};
use crate::app::App;
use crate::requeue;

/// How long a rotated secret goes on signing unless said otherwise.
const GRACE_S_DEFAULT: u64 = 24 * 60 * 60;
/// How long a rotated secret may go on signing.
const GRACE_S_MAX: u64 = 30 * 24 * 60 * 60;
/// Secrets of an endpoint that sign at the same time at most.
const SIGNING_SECRETS_MAX: usize = 5;

/// The time that statistics look back unless said otherwise, and at most.
const WINDOW_S_DEFAULT: u64 = 24 * 60 * 60;
const WINDOW_S_MAX: u64 = 30 * 24 * 60 * 60;

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

/// Enables an endpoint and closes its circuit.
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
    find(&app, &caller, id)?;
    let fate = match input.held {
        HeldChoice::Deliver => None,
        HeldChoice::LatestPerLicense => Some(HeldFate::KeepLatestPerLicense),
        HeldChoice::Discard => Some(HeldFate::DiscardAll),
    };
    // Before anything is released.
    let discarded = match fate {
        Some(fate) => app.store.discard_held(id, fate, ambient::now()).await?,
        None => 0,
    };
    let endpoint = set_state(&app, id, true).await?;
    requeue::resume(&app, id).await;
    let endpoint = show_one(&app, &endpoint).await;
    Ok(Json(EnabledView { endpoint, discarded }))
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

async fn set_state(
    app: &App,
    id: EndpointId,
    active: bool,
) -> Result<impl std::ops::Deref<Target = Endpoint>, ApiError> {
    let now = ambient::now();
    let change = |endpoint: &mut Endpoint| endpoint.state = state(active, endpoint.state, now);
    let endpoint = app.directory.update_endpoint(id, &change).await?;
    endpoint.ok_or_else(|| ApiError::not_found("endpoint"))
}

#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RotateInput {
    /// Seconds for which the secrets before go on signing; 0 ends them at once.
    #[schema(default = 86_400, maximum = 2_592_000)]
    grace_s: Option<u64>,
    /// A secret of one's own; made if absent.
    secret: Option<String>,
}

/// The new secret, shown this once.
#[derive(Serialize, ToSchema)]
pub(super) struct RotatedView {
    #[schema(value_type = String)]
    id: EndpointId,
    secret: String,
    secret_hint: String,
    /// Until then the secret before signs too or, where a dialect carries one signature, instead.
    #[schema(value_type = String, format = DateTime)]
    previous_signs_until: Timestamp,
}

/// Gives an endpoint a new secret. The one before signs on for a while.
#[utoipa::path(
    post, path = "/v1/endpoints/{id}/rotate_secret", tag = "endpoints",
    operation_id = "rotate_secret",
    params(("id" = String, Path, description = "An endpoint's id")),
    request_body = Option<RotateInput>,
    responses((status = 200, body = RotatedView), Problems)
)]
pub(super) async fn rotate_secret(
    State(app): State<App>,
    caller: Principal,
    Id(id): Id<EndpointId>,
    JsonOrDefault(input): JsonOrDefault<RotateInput>,
) -> Result<Json<RotatedView>, ApiError> {
    caller.require(Role::Admin)?;
    let endpoint = find(&app, &caller, id)?;
    let grace = check_seconds("/grace_s", input.grace_s, GRACE_S_DEFAULT, 0..=GRACE_S_MAX)
        .map_err(|error| ApiError::invalid(vec![error]))?;
    let now = ambient::now();
    if !grace.is_zero() && endpoint.signing_secrets(now).count() >= SIGNING_SECRETS_MAX {
        return Err(ApiError::conflict(format!(
            "{SIGNING_SECRETS_MAX} secrets still sign; wait, or end them with \"grace_s\": 0"
        )));
    }
    let secret = match input.secret {
        Some(secret) => SecretString::from(secret),
        None => Dialect::generate_secret(ambient::random_secret()),
    };
    check_secret_of(Dialect::of(&endpoint), &secret)?;
    let new = EndpointSecret { value: secret, created_at: now, signs_until: None };
    let until = now.plus(grace);
    let change = |endpoint: &mut Endpoint| rotate(&mut endpoint.secrets, &new, until);
    app.directory
        .update_endpoint(id, &change)
        .await?
        .ok_or_else(|| ApiError::not_found("endpoint"))?;
    Ok(Json(RotatedView {
        id,
        secret: new.value.expose_secret().to_owned(),
        secret_hint: new.hint(),
        previous_signs_until: until,
    }))
}

/// Puts `new` in front; those before sign until `until`, or until an earlier end they have.
fn rotate(secrets: &mut Vec<EndpointSecret>, new: &EndpointSecret, until: Timestamp) {
    for secret in secrets.iter_mut() {
        secret.signs_until = Some(secret.signs_until.map_or(until, |end| end.min(until)));
    }
    secrets.retain(|secret| secret.signs_until.is_some_and(|end| end > new.created_at));
    secrets.insert(0, new.clone());
}

fn check_seconds(
    pointer: &str,
    seconds: Option<u64>,
    default: u64,
    allowed: std::ops::RangeInclusive<u64>,
) -> Result<Duration, FieldError> {
    let seconds = seconds.unwrap_or(default);
    if allowed.contains(&seconds) {
        return Ok(Duration::from_secs(seconds));
    }
    let detail = format!("must be {} to {}", allowed.start(), allowed.end());
    Err(FieldError::new(pointer, detail))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct StatsQuery {
    /// Seconds to look back; a day if absent.
    #[param(minimum = 1, maximum = 2_592_000, default = 86_400)]
    window_s: Option<u64>,
}

/// How an endpoint does.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct StatsView {
    window_s: u64,
    /// Deliveries by status.
    deliveries: BTreeMap<&'static str, u64>,
    held: u64,
    retrying: u64,
    attempts: u64,
    succeeded: u64,
    /// Succeeded attempts of all, 0 to 1; `null` without attempts.
    success_rate: Option<f64>,
    duration_ms: PercentilesView,
    circuit: CircuitNow,
}

/// Of the durations of attempts, in milliseconds; `null` without attempts.
#[derive(Debug, Serialize, ToSchema)]
struct PercentilesView {
    p50: Option<f64>,
    p99: Option<f64>,
}

/// Shows how an endpoint does: counts, success rate, durations, circuit.
#[utoipa::path(
    get, path = "/v1/endpoints/{id}/stats", tag = "endpoints", operation_id = "endpoint_stats",
    params(("id" = String, Path, description = "An endpoint's id"), StatsQuery),
    responses((status = 200, body = StatsView), Problems)
)]
pub(super) async fn stats(
    State(app): State<App>,
    caller: Principal,
    Id(id): Id<EndpointId>,
    Query(query): Query<StatsQuery>,
) -> Result<Json<StatsView>, ApiError> {
    caller.require(Role::Viewer)?;
    find(&app, &caller, id)?;
    let window = check_seconds("window_s", query.window_s, WINDOW_S_DEFAULT, 1..=WINDOW_S_MAX)
        .map_err(ApiError::malformed)?;
    let stats = app.store.endpoint_stats(id, window, ambient::now()).await?;
    let mut deliveries: BTreeMap<_, _> =
        DeliveryStatus::ALL.iter().map(|status| (status.as_str(), 0)).collect();
    deliveries.extend(stats.deliveries);
    Ok(Json(StatsView {
        window_s: window.as_secs(),
        held: deliveries[DeliveryStatus::Held.as_str()],
        retrying: deliveries[DeliveryStatus::Retrying.as_str()],
        deliveries,
        attempts: stats.attempts,
        succeeded: stats.succeeded,
        success_rate: success_rate(stats.succeeded, stats.attempts),
        duration_ms: PercentilesView { p50: stats.duration_ms_p50, p99: stats.duration_ms_p99 },
        circuit: circuit(&app, id).await,
    }))
}

#[expect(clippy::cast_precision_loss, reason = "a rate needs no more than 52 bits")]
fn success_rate(succeeded: u64, attempts: u64) -> Option<f64> {
    (attempts > 0).then(|| succeeded as f64 / attempts as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(created_s: i64, until_s: Option<i64>) -> EndpointSecret {
        EndpointSecret {
            value: format!("whsec_{created_s}").into(),
            created_at: Timestamp::from_seconds(created_s),
            signs_until: until_s.map(Timestamp::from_seconds),
        }
    }

    #[test]
    fn a_rotation_ends_older_secrets_and_never_prolongs_one() {
        let mut secrets = vec![secret(30, None), secret(20, Some(110)), secret(10, Some(90))];
        rotate(&mut secrets, &secret(100, None), Timestamp::from_seconds(200));
        let seen: Vec<_> = secrets
            .iter()
            .map(|it| (it.created_at.as_seconds(), it.signs_until.map(Timestamp::as_seconds)))
            .collect();
        assert_eq!(seen, [(100, None), (30, Some(200)), (20, Some(110))]);
    }

    #[test]
    fn without_grace_only_the_new_secret_is_left() {
        let mut secrets = vec![secret(30, None), secret(20, Some(110))];
        rotate(&mut secrets, &secret(100, None), Timestamp::from_seconds(100));
        assert_eq!(secrets.len(), 1);
    }

    #[test]
    fn seconds_are_bounded_at_their_limits() {
        let grace = |seconds| check_seconds("/grace_s", seconds, GRACE_S_DEFAULT, 0..=GRACE_S_MAX);
        assert_eq!(grace(None).unwrap().as_secs(), GRACE_S_DEFAULT);
        assert!(grace(Some(GRACE_S_MAX)).is_ok());
        assert!(grace(Some(GRACE_S_MAX + 1)).is_err());
    }
}
