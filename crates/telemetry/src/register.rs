use std::sync::Arc;

use parking_lot::Mutex;
use prometheus::core::Collector;
use prometheus::{
    GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Opts, Registry,
};

/// A metric as the documentation lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Described {
    pub(crate) name: String,
    pub(crate) kind: &'static str,
    pub(crate) labels: Vec<String>,
    pub(crate) help: String,
}

/// Makes metrics, and remembers what it made.
#[derive(Clone, Debug, Default)]
pub(crate) struct Register {
    registry: Registry,
    described: Arc<Mutex<Vec<Described>>>,
}

impl Register {
    pub(crate) fn registry(&self) -> &Registry {
        &self.registry
    }

    pub(crate) fn described(&self) -> Vec<Described> {
        self.described.lock().clone()
    }

    pub(crate) fn counter(&self, name: &str, help: &str) -> IntCounter {
        self.add("counter", IntCounter::new(name, help))
    }

    pub(crate) fn counters(&self, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
        let made = IntCounterVec::new(Opts::new(name, help), labels);
        self.add("counter", made)
    }

    pub(crate) fn gauge(&self, name: &str, help: &str) -> IntGauge {
        self.add("gauge", IntGauge::new(name, help))
    }

    pub(crate) fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
        let made = IntGaugeVec::new(Opts::new(name, help), labels);
        self.add("gauge", made)
    }

    pub(crate) fn seconds_by(&self, name: &str, help: &str, labels: &[&str]) -> GaugeVec {
        self.add("gauge", GaugeVec::new(Opts::new(name, help), labels))
    }

    pub(crate) fn histogram(&self, name: &str, help: &str, buckets: &[f64]) -> Histogram {
        let opts = HistogramOpts::new(name, help).buckets(buckets.to_vec());
        self.add("histogram", Histogram::with_opts(opts))
    }

    pub(crate) fn histograms(
        &self,
        name: &str,
        help: &str,
        buckets: &[f64],
        label: &str,
    ) -> HistogramVec {
        let opts = HistogramOpts::new(name, help).buckets(buckets.to_vec());
        self.add("histogram", HistogramVec::new(opts, &[label]))
    }

    /// CPU, memory, file descriptors and start of this process.
    pub(crate) fn process(&self) {
        let collector = prometheus::process_collector::ProcessCollector::for_self();
        for desc in collector.desc() {
            self.describe("", desc);
        }
        self.registry
            .register(Box::new(collector))
            .expect("metric names are unique");
    }

    fn add<C: Collector + Clone + 'static>(
        &self,
        kind: &'static str,
        made: prometheus::Result<C>,
    ) -> C {
        let collector = made.expect("metric names and labels are valid");
        for desc in collector.desc() {
            self.describe(kind, desc);
        }
        self.registry
            .register(Box::new(collector.clone()))
            .expect("metric names are unique");
        collector
    }

    fn describe(&self, kind: &'static str, desc: &prometheus::core::Desc) {
        let kind = match kind {
            "" if desc.fq_name.ends_with("_total") => "counter",
            "" => "gauge",
            known => known,
        };
        self.described.lock().push(Described {
            name: desc.fq_name.clone(),
            kind,
            labels: desc.variable_labels.clone(),
            help: desc.help.clone(),
        });
    }
}
