use std::error::Error;

use broker::{Destination, Publication};
use model::{EndpointId, Work};

use crate::app::App;

/// Held deliveries that an enabled endpoint gets at once. The dispatchers release the rest as room
/// comes free.
const RELEASED_AT_ONCE: u32 = 64;

/// Hands deliveries that the store has made due to the dispatchers.
///
/// Nothing is lost where this fails: the store knows that they are due, and the sweeper queues
/// what nobody has attempted.
pub(crate) async fn queue(app: &App, works: Vec<Work>) {
    if works.is_empty() {
        return;
    }
    let publications = works
        .iter()
        .map(|work| Publication {
            to: Destination::Delivery { urgent: work.is_urgent(), due_at: None },
            body: work.to_json().into(),
        })
        .collect();
    if let Err(error) = app.broker.publish(publications).await {
        let error: &dyn Error = &error;
        tracing::warn!(error, deliveries = works.len(), "requeued deliveries wait for the sweeper");
    }
}

/// Lets deliveries flow to an endpoint that somebody has enabled: closes its circuit and starts the
/// release of what it has held.
pub(crate) async fn resume(app: &App, endpoint: EndpointId) {
    if let Err(error) = app.shared_state.reset_circuit(endpoint).await {
        let error: &dyn Error = &error;
        tracing::warn!(error, endpoint.id = %endpoint, "the circuit stays as it is until a probe");
    }
    match app.store.release(endpoint, RELEASED_AT_ONCE, ambient::now()).await {
        Ok(works) => queue(app, works).await,
        Err(error) => {
            let error: &dyn Error = &error;
            tracing::warn!(error, endpoint.id = %endpoint, "held deliveries wait for a dispatcher");
        }
    }
}
