use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use model::{DisabledReason, Endpoint, EndpointId, EndpointState, Timestamp};
use parking_lot::Mutex;
use store::{Directory, DirectoryError};

/// How long to wait before the store is asked again.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Disables endpoints that asked for it, by their answer or by their settings.
#[derive(Debug)]
pub(crate) struct Disabling {
    directory: Arc<Directory>,
    under_way: Mutex<HashSet<EndpointId>>,
}

impl Disabling {
    pub(crate) fn new(directory: Arc<Directory>) -> Arc<Self> {
        Arc::new(Self {
            directory,
            under_way: Mutex::default(),
        })
    }

    /// Disables the endpoint, behind the caller's back and for as long as the store needs.
    pub(crate) fn disable(self: &Arc<Self>, endpoint: EndpointId, reason: DisabledReason) {
        if !self.under_way.lock().insert(endpoint) {
            return;
        }
        let disabling = Arc::clone(self);
        let since = ambient::now();
        tokio::spawn(async move {
            let change = |endpoint: &mut Endpoint| {
                disabled(endpoint, reason, since);
                Ok::<_, DirectoryError>(())
            };
            while let Err(error) = disabling.directory.update_endpoint(endpoint, &change).await {
                tracing::warn!(endpoint.id = %endpoint, error = %error, "cannot disable yet");
                tokio::time::sleep(RETRY_AFTER).await;
            }
            tracing::info!(endpoint.id = %endpoint, reason = reason.as_str(), "endpoint disabled");
            disabling.under_way.lock().remove(&endpoint);
        });
    }
}

fn disabled(endpoint: &mut Endpoint, reason: DisabledReason, since: Timestamp) {
    if endpoint.is_active() {
        endpoint.state = EndpointState::Disabled { reason, since };
    }
}
