use std::error::Error;

use broker::Publication;
use model::Work;

use crate::app::App;

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
        .map(|work| Publication::of_works(std::slice::from_ref(work), None))
        .collect();
    if let Err(error) = app.broker.publish(publications).await {
        let error: &dyn Error = &error;
        tracing::warn!(
            error,
            deliveries = works.len(),
            "requeued deliveries wait for the sweeper"
        );
    }
}
