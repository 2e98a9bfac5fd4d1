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
            self.show(endpoints.len());
        }
    }

    /// Forgets endpoints that are disabled or deleted: nobody closes their circuits.
    pub(crate) fn retain(&self, is_active: impl Fn(EndpointId) -> bool) {
        let mut endpoints = self.endpoints.lock();
        endpoints.retain(|endpoint| is_active(*endpoint));
        self.show(endpoints.len());
    }

    fn show(&self, count: usize) {
        self.count.set(i64::try_from(count).unwrap_or(i64::MAX));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_circuit_of_an_endpoint_that_is_gone_is_not_counted() {
        let count = IntGauge::new("n", "n").unwrap();
        let circuits = OpenCircuits::new(count.clone());
        let [gone, failing] = [1, 2].map(EndpointId::from_u128);
        circuits.set(gone, true);
        circuits.set(failing, true);
        assert_eq!(count.get(), 2);
        circuits.retain(|endpoint| endpoint != gone);
        assert_eq!(count.get(), 1);
        circuits.set(failing, false);
        assert_eq!(count.get(), 0);
    }
}
