//! `/healthz`, `/readyz` and `/metrics`, the same for every role.

use std::collections::BTreeMap;

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use broker::BrokerStatus;
use http::{StatusCode, header};
use serde::Serialize;
use web::Json;

use crate::wiring::Wired;

/// Without which of its dependencies a role cannot work.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Needs {
    /// One of store and broker suffices to take events in.
    StoreOrBroker,
    Broker,
    StoreAndBroker,
}

#[derive(Clone, Debug)]
struct Health {
    wired: Wired,
    needs: Needs,
}

pub(crate) fn router(wired: Wired, needs: Needs) -> Router {
    Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(Health { wired, needs })
}

#[derive(Debug, Serialize)]
struct Readiness {
    ready: bool,
    /// Each dependency: `ok`, or what is wrong.
    dependencies: BTreeMap<&'static str, String>,
}

async fn ready(State(health): State<Health>) -> (StatusCode, Json<Readiness>) {
    let store = health
        .wired
        .store
        .ping()
        .await
        .map_err(|error| error.to_string());
    let broker = match health.wired.broker.status() {
        BrokerStatus::Connected => Ok(()),
        BrokerStatus::Blocked { reason } => Err(format!("takes nothing in: {reason}")),
        BrokerStatus::Away { reason } => Err(format!("away: {reason}")),
    };
    let shared_state = if health.wired.shared_state.is_degraded() {
        Err("away: claims hold in this process only".to_owned())
    } else {
        Ok(())
    };
    let ready = match health.needs {
        Needs::StoreOrBroker => store.is_ok() || broker.is_ok(),
        Needs::Broker => broker.is_ok(),
        Needs::StoreAndBroker => store.is_ok() && broker.is_ok(),
    };
    let mut dependencies = BTreeMap::new();
    for (name, state) in [
        ("store", store),
        ("broker", broker),
        ("shared_state", shared_state),
    ] {
        let up = health
            .wired
            .metrics
            .dependency_up
            .with_label_values(&[name]);
        up.set(i64::from(state.is_ok()));
        dependencies.insert(name, state.err().unwrap_or_else(|| "ok".to_owned()));
    }
    let status = if ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (
        status,
        Json(Readiness {
            ready,
            dependencies,
        }),
    )
}

async fn metrics(
    State(health): State<Health>,
) -> ([(header::HeaderName, &'static str); 1], String) {
    let content_type = [(
        header::CONTENT_TYPE,
        "text/plain; version=0.0.4; charset=utf-8",
    )];
    (content_type, telemetry::render(&health.wired.metrics))
}
