use prometheus::{
    Encoder, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Opts, Registry, TextEncoder,
};

/// Seconds: from a loopback delivery to a receiver that uses its whole timeout.
const WEBHOOK_SECONDS: &[f64] = &[
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 15.0, 30.0,
];
/// Seconds from acceptance to success: up to the end of a schedule of days.
const LATENCY_SECONDS: &[f64] = &[
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 300.0,
    1_800.0, 7_200.0, 86_400.0, 604_800.0,
];
const GROUP_SIZES: &[f64] = &[
    1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1_024.0,
];

/// How an attempt ended, as a label: finite whatever receivers answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttemptLabel {
    Status(u16),
    Error(&'static str),
}

impl AttemptLabel {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Status(200..=299) => "2xx",
            Self::Status(300..=399) => "3xx",
            Self::Status(400..=499) => "4xx",
            Self::Status(500..=599) => "5xx",
            Self::Status(_) => "other_status",
            Self::Error(class) => class,
        }
    }
}

/// Every metric of a process. Clones share the same counters.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Registry,
    /// Labels: `source` (`http`, `amqp`), `result` (`new`, `duplicate`, `conflict`, `rejected`,
    /// `unavailable`).
    pub events: IntCounterVec,
    pub accept_seconds: Histogram,
    /// Deliveries confirmed by the broker.
    pub published: IntCounter,
    /// Deliveries the broker did not take; the sweeper queues them.
    pub publish_failed: IntCounter,
    /// Labels: `dialect`, `outcome`.
    pub attempts: IntCounterVec,
    pub attempt_seconds: Histogram,
    pub delivery_seconds: Histogram,
    pub in_flight: IntGauge,
    pub waiting: IntGauge,
    /// Label: `status` (`delivered`, `failed`).
    pub finished: IntCounterVec,
    /// Label: `reason`.
    pub held: IntCounterVec,
    pub released: IntCounter,
    pub retries: IntCounter,
    /// Label: `change` (`opened`, `reopened`, `closed`).
    pub circuits: IntCounterVec,
    /// Circuits this process knows to be open.
    pub circuits_open: IntGauge,
    /// Label: `queue`.
    pub parked: IntCounterVec,
    /// Label: `dependency` (`store`, `broker`, `shared_state`).
    pub dependency_errors: IntCounterVec,
    /// Label: `dependency`; 1 if it answered when `/readyz` was last asked.
    pub dependency_up: IntGaugeVec,
    pub swept: IntCounter,
    /// Label: `status`; deliveries at the last sweep.
    pub deliveries: IntGaugeVec,
    /// Accepted less the sum of all statuses; anything but 0 is a fault.
    pub balance_difference: IntGauge,
    group_sizes: HistogramVec,
}

impl Metrics {
    #[expect(
        clippy::new_without_default,
        reason = "a registry is made once, on purpose"
    )]
    #[expect(clippy::too_many_lines, reason = "one table of every metric")]
    pub fn new() -> Self {
        let registry = Registry::new();
        let make = Maker {
            registry: &registry,
        };
        let metrics = Self {
            events: make.counters(
                "fanfare_events_total",
                "Events taken in, by source and result.",
                &["source", "result"],
            ),
            accept_seconds: make.histogram(
                "fanfare_event_accept_seconds",
                "Time from a submitted event to its durable acceptance.",
                WEBHOOK_SECONDS,
            ),
            published: make.counter(
                "fanfare_deliveries_published_total",
                "Deliveries the broker confirmed.",
            ),
            publish_failed: make.counter(
                "fanfare_deliveries_publish_failed_total",
                "Deliveries the broker did not take; the sweeper queues them.",
            ),
            attempts: make.counters(
                "fanfare_attempts_total",
                "Attempts made, by dialect and outcome.",
                &["dialect", "outcome"],
            ),
            attempt_seconds: make.histogram(
                "fanfare_attempt_seconds",
                "Duration of an attempt.",
                WEBHOOK_SECONDS,
            ),
            delivery_seconds: make.histogram(
                "fanfare_delivery_seconds",
                "Time from an event's acceptance to its successful delivery.",
                LATENCY_SECONDS,
            ),
            in_flight: make.gauge("fanfare_attempts_in_flight", "Requests under way."),
            waiting: make.gauge(
                "fanfare_deliveries_waiting",
                "Deliveries in this process that wait for their endpoint.",
            ),
            finished: make.counters(
                "fanfare_deliveries_finished_total",
                "Deliveries that came to their end, by status.",
                &["status"],
            ),
            held: make.counters(
                "fanfare_deliveries_held_total",
                "Deliveries held, by reason.",
                &["reason"],
            ),
            released: make.counter(
                "fanfare_deliveries_released_total",
                "Held deliveries queued again.",
            ),
            retries: make.counter(
                "fanfare_deliveries_retrying_total",
                "Failed attempts to be repeated.",
            ),
            circuits: make.counters(
                "fanfare_circuit_changes_total",
                "Changes of endpoints' circuits.",
                &["change"],
            ),
            circuits_open: make.gauge(
                "fanfare_circuits_open",
                "Endpoints whose circuit this process knows to be open.",
            ),
            parked: make.counters(
                "fanfare_messages_parked_total",
                "Messages that could not be read, by queue.",
                &["queue"],
            ),
            dependency_errors: make.counters(
                "fanfare_dependency_errors_total",
                "Calls that a dependency did not answer.",
                &["dependency"],
            ),
            dependency_up: make.gauges(
                "fanfare_dependency_up",
                "Whether a dependency answered when /readyz was last asked.",
                &["dependency"],
            ),
            swept: make.counter(
                "fanfare_deliveries_swept_total",
                "Overdue deliveries that the sweeper queued again.",
            ),
            deliveries: make.gauges(
                "fanfare_deliveries",
                "Deliveries in the store at the last sweep, by status.",
                &["status"],
            ),
            balance_difference: make.gauge(
                "fanfare_balance_difference",
                "Accepted deliveries less those of every status; anything but 0 is a fault.",
            ),
            group_sizes: make.histograms(
                "fanfare_group_size",
                "Items that left together, by group.",
                GROUP_SIZES,
                "group",
            ),
            registry: registry.clone(),
        };
        make.process();
        metrics
    }

    /// Where every metric is registered.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// The histogram of one group's sizes.
    pub fn group_sizes(&self, group: &str) -> Histogram {
        self.group_sizes.with_label_values(&[group])
    }

    /// Counts a call that a dependency did not answer.
    pub fn dependency_failed(&self, dependency: &str) {
        self.dependency_errors
            .with_label_values(&[dependency])
            .inc();
    }
}

/// The exposition text of `/metrics`.
pub fn render(metrics: &Metrics) -> String {
    let mut text = Vec::new();
    TextEncoder::new()
        .encode(&metrics.registry.gather(), &mut text)
        .expect("metrics encode into memory");
    String::from_utf8(text).expect("the exposition format is UTF-8")
}

struct Maker<'r> {
    registry: &'r Registry,
}

impl Maker<'_> {
    fn register<C: prometheus::core::Collector + Clone + 'static>(
        &self,
        collector: prometheus::Result<C>,
    ) -> C {
        let collector = collector.expect("metric names and labels are valid");
        self.registry
            .register(Box::new(collector.clone()))
            .expect("metric names are unique");
        collector
    }

    fn counter(&self, name: &str, help: &str) -> IntCounter {
        self.register(IntCounter::new(name, help))
    }

    fn counters(&self, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
        self.register(IntCounterVec::new(Opts::new(name, help), labels))
    }

    fn gauge(&self, name: &str, help: &str) -> IntGauge {
        self.register(IntGauge::new(name, help))
    }

    fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
        self.register(IntGaugeVec::new(Opts::new(name, help), labels))
    }

    fn histogram(&self, name: &str, help: &str, buckets: &[f64]) -> Histogram {
        let opts = HistogramOpts::new(name, help).buckets(buckets.to_vec());
        self.register(Histogram::with_opts(opts))
    }

    fn histograms(&self, name: &str, help: &str, buckets: &[f64], label: &str) -> HistogramVec {
        let opts = HistogramOpts::new(name, help).buckets(buckets.to_vec());
        self.register(HistogramVec::new(opts, &[label]))
    }

    fn process(&self) {
        let collector = prometheus::process_collector::ProcessCollector::for_self();
        self.registry
            .register(Box::new(collector))
            .expect("metric names are unique");
    }
}

impl Metrics {
    /// Counts an attempt.
    pub fn attempted(&self, dialect: &str, outcome: AttemptLabel, seconds: f64) {
        self.attempts
            .with_label_values(&[dialect, outcome.as_str()])
            .inc();
        self.attempt_seconds.observe(seconds);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_has_a_name_a_help_text_and_finite_labels() {
        let metrics = Metrics::new();
        metrics.attempted("standard", AttemptLabel::Status(404), 0.01);
        metrics.attempted("standard", AttemptLabel::Status(999), 0.01);
        metrics.group_sizes("accept").observe(3.0);
        let text = render(&metrics);
        assert!(text.contains(r#"fanfare_attempts_total{dialect="standard",outcome="4xx"} 1"#));
        assert!(text.contains(r#"outcome="other_status"} 1"#));
        assert!(text.contains("# HELP fanfare_balance_difference"));
        assert!(text.contains("process_cpu_seconds_total"));
    }
}
