use std::collections::HashMap;
use std::sync::Arc;

use dialect::Policy;
use model::{Endpoint, EndpointId};
use parking_lot::RwLock;
use store::Snapshot;

use crate::lane::Lane;

/// Every endpoint's lane, made when it is first needed.
#[derive(Debug, Default)]
pub(crate) struct Lanes {
    lanes: RwLock<HashMap<EndpointId, Arc<Lane>>>,
}

impl Lanes {
    /// The endpoint's lane with its settings of now. A change of settings starts a new lane; what
    /// is in flight in the old one finishes there.
    pub(crate) fn of(&self, endpoint: &Endpoint) -> Arc<Lane> {
        if let Some(lane) = self.lanes.read().get(&endpoint.id)
            && lane.revision >= endpoint.revision
        {
            return Arc::clone(lane);
        }
        let mut lanes = self.lanes.write();
        let lane = lanes
            .entry(endpoint.id)
            .and_modify(|lane| {
                if lane.revision < endpoint.revision {
                    *lane = Arc::new(Lane::new(endpoint.revision, Policy::of(endpoint)));
                }
            })
            .or_insert_with(|| Arc::new(Lane::new(endpoint.revision, Policy::of(endpoint))));
        Arc::clone(lane)
    }

    /// Forgets the lanes of endpoints that are gone.
    pub(crate) fn prune(&self, directory: &Snapshot) {
        self.lanes
            .write()
            .retain(|endpoint, lane| directory.endpoint(*endpoint).is_some() || !lane.is_idle());
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use model::{DeliveryId, Submission, TenantId, Timestamp, Work};

    use super::*;

    pub(crate) fn endpoint() -> Endpoint {
        serde_json::from_value(serde_json::json!({
            "id": "ep_01JRX5K9Q8ZV3T7Y2M4N6P8R0S",
            "tenant": "acme",
            "url": "https://receiver.example/hooks",
            "dialect": "standard",
            "event_types": ["*"],
            "state": {"state": "active"},
            "created_at": "2026-04-15T12:00:00Z",
            "updated_at": "2026-04-15T12:00:00Z",
            "revision": 1
        }))
        .unwrap()
    }

    /// The first attempt of a delivery to that endpoint.
    pub(crate) fn work(data: &str) -> Work {
        let body = format!(r#"{{"type":"license.created","data":{{"d":"{data}"}}}}"#);
        let submission = Submission::parse(body.as_bytes()).unwrap();
        let tenant = TenantId::new("acme").unwrap();
        let event = submission.into_event(tenant, Timestamp::EPOCH, 1);
        Work::first(DeliveryId::from_u128(1), endpoint().id, Arc::new(event))
    }

    #[test]
    fn a_changed_endpoint_gets_a_lane_with_its_new_settings() {
        let lanes = Lanes::default();
        let first = lanes.of(&endpoint());
        assert!(Arc::ptr_eq(&first, &lanes.of(&endpoint())));
        let changed = Endpoint {
            revision: 2,
            max_in_flight: Some(3),
            ..endpoint()
        };
        assert_eq!(lanes.of(&changed).policy.max_in_flight, 3);
    }
}
