//! License Validator's own API, `/api/webhooks`: what it calls the things that Fanfare makes.

use model::{DeliveryId, EndpointId};

use crate::Dialect;

/// What its webhooks speak.
pub const DIALECT: Dialect = Dialect::LicValidator;

const WEBHOOK: &str = "webhook_";
const DELIVERY: &str = "delivery_";
const TEST: &str = "delivery_test_";

/// An endpoint's id there.
pub fn webhook_id(endpoint: EndpointId) -> String {
    let id = endpoint.to_string();
    format!("{WEBHOOK}{}", id.trim_start_matches(EndpointId::PREFIX))
}

/// The endpoint behind a webhook's id, if it is one.
pub fn endpoint_id(webhook: &str) -> Option<EndpointId> {
    let ulid = webhook.strip_prefix(WEBHOOK)?;
    format!("{}{ulid}", EndpointId::PREFIX).parse().ok()
}

pub(crate) fn delivery_id(delivery: DeliveryId) -> String {
    named(DELIVERY, delivery)
}

/// The id of a test's delivery there.
pub fn test_id(delivery: DeliveryId) -> String {
    named(TEST, delivery)
}

fn named(prefix: &str, delivery: DeliveryId) -> String {
    let id = delivery.to_string();
    format!("{prefix}{}", id.trim_start_matches(DeliveryId::PREFIX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_webhooks_id_leads_back_to_its_endpoint() {
        let endpoint: EndpointId = "ep_01JRX5K9Q8ZV3T7Y2M4N6P8R0S".parse().unwrap();
        let webhook = webhook_id(endpoint);
        assert_eq!(webhook, "webhook_01JRX5K9Q8ZV3T7Y2M4N6P8R0S");
        assert_eq!(endpoint_id(&webhook), Some(endpoint));
        for other in ["webhook_abc123", "ep_01JRX5K9Q8ZV3T7Y2M4N6P8R0S", ""] {
            assert_eq!(endpoint_id(other), None, "{other}");
        }
    }
}
