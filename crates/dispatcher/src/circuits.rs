use std::collections::HashSet;

use model::EndpointId;
use parking_lot::Mutex;
use prometheus::IntGauge;

/// The endpoints whose circuit this process knows to be open, for the gauge.
#[derive(Debug)]
pub(crate) struct OpenCircuits {
    endpoints: Mutex<HashSet<EndpointId>>,
    count: IntGauge,
}

impl OpenCircuits {
    pub(crate) fn new(count: IntGauge) -> Self {
        Self {
            endpoints: Mutex::default(),
            count,
        }
    }

    pub(crate) fn set(&self, endpoint: EndpointId, open: bool) {
        let mut endpoints = self.endpoints.lock();
        let changed = if open {
            endpoints.insert(endpoint)
        } else {
            endpoints.remove(&endpoint)
        };
        if changed {
            self.count
                .set(i64::try_from(endpoints.len()).unwrap_or(i64::MAX));
        }
    }
}
