//! `/healthz`, `/readyz` and `/metrics`, the same for every role.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use broker::BrokerStatus;
use http::{StatusCode, header};
use serde::Serialize;
use web::Json;

use crate::wiring::Wired;

/// Pause between two questions to the dependencies that nobody asked for.
const ASK_EVERY: Duration = Duration::from_secs(5);

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

/// Each dependency: `Ok`, or what is wrong.
struct Dependencies {
    store: Result<(), String>,
    broker: Result<(), String>,
    shared_state: Result<(), String>,
}

impl Dependencies {
    /// Asks each, and keeps the answers for `/metrics`.
    async fn ask(wired: &Wired) -> Self {
        let (store, shared_state) = tokio::join!(wired.store.ping(), wired.shared_state.ping());
        let store = store.map_err(|error| error.to_string());
        let broker = match wired.broker.status() {
            BrokerStatus::Connected => Ok(()),
            BrokerStatus::Blocked { reason } => Err(format!("takes nothing in: {reason}")),
            BrokerStatus::Away { reason } => Err(format!("away: {reason}")),
        };
        let shared_state =
            shared_state.map_err(|_| "away: claims hold in this process only".to_owned());
        let dependencies = Self {
            store,
            broker,
            shared_state,
        };
        for (name, state) in dependencies.by_name() {
            let up = wired.metrics.dependency_up.with_label_values(&[name]);
            up.set(i64::from(state.is_ok()));
        }
        dependencies
    }

    const fn by_name(&self) -> [(&'static str, &Result<(), String>); 3] {
        [
            ("store", &self.store),
            ("broker", &self.broker),
            ("shared_state", &self.shared_state),
        ]
    }
}

/// Keeps `fanfare_dependency_up` fresh, whether or not somebody asks `/readyz`.
pub(crate) async fn watch(wired: &Wired) {
    loop {
        Dependencies::ask(wired).await;
        tokio::time::sleep(ASK_EVERY).await;
    }
}

async fn ready(State(health): State<Health>) -> (StatusCode, Json<Readiness>) {
    let asked = Dependencies::ask(&health.wired).await;
    let (store, broker) = (asked.store.is_ok(), asked.broker.is_ok());
    let ready = match health.needs {
        Needs::StoreOrBroker => store || broker,
        Needs::Broker => broker,
        Needs::StoreAndBroker => store && broker,
    };
    let dependencies = asked
        .by_name()
        .into_iter()
        .map(|(name, state)| (name, state.clone().err().unwrap_or_else(|| "ok".to_owned())))
        .collect();
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
