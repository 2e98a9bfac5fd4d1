use std::collections::BTreeSet;
use std::fmt::Display;
use std::sync::Arc;

use parking_lot::Mutex;
use prometheus::{HistogramVec, IntCounterVec, IntGaugeVec};

use crate::labels::{AttemptLabel, Capped};
use crate::register::Register;

/// Tenants with series of their own in a process.
pub const TENANTS_MAX: usize = 200;
/// Endpoints with series of their own in a process, where that is asked for.
pub const ENDPOINTS_MAX: usize = 500;
/// Endpoints shown whose certificate ends soon.
pub const EXPIRING_MAX: usize = 200;

/// Few, since each endpoint has them all.
const ENDPOINT_SECONDS: &[f64] = &[0.01, 0.1, 1.0, 10.0];

/// Metrics with labels that customers make, each within its cap.
#[derive(Clone, Debug)]
pub struct ByCustomer {
    tenants: Capped,
    finished: IntCounterVec,
    endpoints: Option<Endpoints>,
    expiring: IntGaugeVec,
    shown: Arc<Mutex<BTreeSet<String>>>,
}

#[derive(Clone, Debug)]
struct Endpoints {
    endpoints: Capped,
    attempts: IntCounterVec,
    seconds: HistogramVec,
}

impl ByCustomer {
    pub(crate) fn new(make: &Register, per_endpoint: bool) -> Self {
        Self {
            tenants: Capped::new(TENANTS_MAX),
            finished: make.counters(
                "fanfare_tenant_deliveries_finished_total",
                "Deliveries that came to their end, by tenant and status; the first 200 tenants \
                 of a process, the others as _other.",
                &["tenant", "status"],
            ),
            endpoints: per_endpoint.then(|| Endpoints {
                endpoints: Capped::new(ENDPOINTS_MAX),
                attempts: make.counters(
                    "fanfare_endpoint_attempts_total",
                    "With metrics.per_endpoint: attempts made, by endpoint and outcome; the \
                     first 500 endpoints of a process, the others as _other.",
                    &["endpoint", "outcome"],
                ),
                seconds: make.histograms(
                    "fanfare_endpoint_attempt_seconds",
                    "With metrics.per_endpoint: duration of an attempt, by endpoint.",
                    ENDPOINT_SECONDS,
                    "endpoint",
                ),
            }),
            expiring: make.gauges(
                "fanfare_endpoint_certificate_expiry_timestamp_seconds",
                "When the certificate of an active endpoint's host ends, as seen when last \
                 connected; of those that ended within 30 days when first seen, the 200 that end \
                 first.",
                &["endpoint"],
            ),
            shown: Arc::default(),
        }
    }

    /// Counts a delivery that came to its end.
    pub fn finished(&self, tenant: &str, status: &str) {
        let tenant = self.tenants.label(tenant);
        self.finished.with_label_values(&[tenant, status]).inc();
    }

    /// Counts an attempt, if endpoints have series of their own.
    pub fn attempted(&self, endpoint: impl Display, outcome: AttemptLabel, seconds: f64) {
        let Some(all) = &self.endpoints else { return };
        let endpoint = endpoint.to_string();
        let endpoint = all.endpoints.label(&endpoint);
        all.attempts
            .with_label_values(&[endpoint, outcome.as_str()])
            .inc();
        all.seconds.with_label_values(&[endpoint]).observe(seconds);
    }

    /// Shows these endpoints, and no others, with the times (seconds since 1970) at which their
    /// certificates end.
    pub fn expiring(&self, mut endpoints: Vec<(i64, String)>) {
        endpoints.sort_unstable();
        endpoints.truncate(EXPIRING_MAX);
        let mut shown = self.shown.lock();
        let mut now_shown = BTreeSet::new();
        for (at, endpoint) in endpoints {
            self.expiring.with_label_values(&[&endpoint]).set(at);
            now_shown.insert(endpoint);
        }
        for gone in shown.difference(&now_shown) {
            let _it_was_shown = self.expiring.remove_label_values(&[gone]);
        }
        *shown = now_shown;
    }
}

#[cfg(test)]
mod tests {
    use prometheus::core::Collector;

    use super::*;

    fn series(collector: &impl Collector) -> usize {
        collector.collect()[0].get_metric().len()
    }

    #[test]
    fn tenants_and_endpoints_have_no_more_series_than_their_caps() {
        let metrics = ByCustomer::new(&Register::default(), true);
        for n in 0..=ENDPOINTS_MAX {
            metrics.finished(&format!("tenant_{n}"), "delivered");
            metrics.attempted(n, AttemptLabel::Status(200), 0.01);
        }
        assert_eq!(series(&metrics.finished), TENANTS_MAX + 1);
        let endpoints = metrics.endpoints.expect("asked for");
        assert_eq!(series(&endpoints.attempts), ENDPOINTS_MAX + 1);
        assert_eq!(series(&endpoints.seconds), ENDPOINTS_MAX + 1);
    }

    #[test]
    fn endpoints_have_no_series_of_their_own_unless_asked_for() {
        let register = Register::default();
        let metrics = ByCustomer::new(&register, false);
        metrics.attempted("ep_1", AttemptLabel::Status(200), 0.01);
        assert!(register.registry().gather().is_empty());
    }

    #[test]
    fn the_certificates_that_end_first_are_shown_until_they_are_renewed() {
        let metrics = ByCustomer::new(&Register::default(), false);
        let all = (0..1_000).map(|n| (n, format!("ep_{n}"))).rev().collect();
        metrics.expiring(all);
        assert_eq!(series(&metrics.expiring), EXPIRING_MAX);
        let first = metrics.expiring.with_label_values(&["ep_0"]);
        assert_eq!(first.get(), 0);
        metrics.expiring(vec![(7, "ep_7".to_owned())]);
        assert_eq!(series(&metrics.expiring), 1);
        metrics.expiring(Vec::new());
        assert_eq!(series(&metrics.expiring), 0);
    }
}
