//! Which endpoints' certificates end soon, as the sender has seen them.

use std::time::Duration;

use crate::wiring::Wired;

/// Pause between two looks: what is looked at changes by the day.
const LOOK_EVERY: Duration = Duration::from_secs(15);

/// Keeps `fanfare_endpoint_certificate_expiry_timestamp_seconds` fresh.
pub(crate) async fn watch(wired: &Wired) {
    loop {
        let by_host = wired.sender.expiring();
        let mut expiring = Vec::new();
        if !by_host.is_empty() {
            let snapshot = wired.directory.snapshot();
            for endpoint in snapshot.endpoints().filter(|one| one.is_active()) {
                let host = endpoint
                    .url
                    .host_str()
                    .filter(|_| endpoint.url.scheme() == "https");
                let ends_at = host.and_then(|host| by_host.get(host));
                if let Some(ends_at) = ends_at {
                    expiring.push((ends_at.as_seconds(), endpoint.id.to_string()));
                }
            }
        }
        wired.metrics.by_customer().expiring(expiring);
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
