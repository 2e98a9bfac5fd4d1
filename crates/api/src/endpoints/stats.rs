use std::collections::BTreeMap;

use axum::extract::State;
use model::{DeliveryStatus, EndpointId, Role};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use web::{ApiError, Id, Json, Principal, Problems, Query};

use super::find;
use super::input::check_seconds;
use super::view::{CircuitNow, circuit};
use crate::app::App;

/// The time that statistics look back unless said otherwise, and at most.
const WINDOW_S_DEFAULT: u64 = 24 * 60 * 60;
const WINDOW_S_MAX: u64 = 30 * 24 * 60 * 60;

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
    let window = check_seconds(
        "window_s",
        query.window_s,
        WINDOW_S_DEFAULT,
        1..=WINDOW_S_MAX,
    )
    .map_err(ApiError::malformed)?;
    let stats = app.store.endpoint_stats(id, window, ambient::now()).await?;
    let mut deliveries: BTreeMap<_, _> = DeliveryStatus::ALL
        .iter()
        .map(|status| (status.as_str(), 0))
        .collect();
    deliveries.extend(stats.deliveries);
    Ok(Json(StatsView {
        window_s: window.as_secs(),
        held: deliveries[DeliveryStatus::Held.as_str()],
        retrying: deliveries[DeliveryStatus::Retrying.as_str()],
        deliveries,
        attempts: stats.attempts,
        succeeded: stats.succeeded,
        success_rate: success_rate(stats.succeeded, stats.attempts),
        duration_ms: PercentilesView {
            p50: stats.duration_ms_p50,
            p99: stats.duration_ms_p99,
        },
        circuit: circuit(&app, id).await,
    }))
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a rate needs no more than 52 bits"
)]
fn success_rate(succeeded: u64, attempts: u64) -> Option<f64> {
    (attempts > 0).then(|| succeeded as f64 / attempts as f64)
}
