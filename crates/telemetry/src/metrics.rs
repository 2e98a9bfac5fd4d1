use std::time::Duration;

use prometheus::{
    Encoder, Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, TextEncoder,
};

use crate::by_customer::ByCustomer;
use crate::labels::AttemptLabel;
use crate::register::Register;

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

/// Every metric of a process. Clones share the same counters.
#[derive(Clone, Debug)]
pub struct Metrics {
    register: Register,
    /// Labels: `source` (`http`, `amqp`, `webhook`), `result` (`new`, `duplicate`, `conflict`, `rejected`,
    /// `unavailable`).
    pub events: IntCounterVec,
    /// Labels: `dialect`, `result` (`accepted`, `duplicate`, `test`, `conflict`, `unmapped`,
    /// `unauthorized`, `unread`, `unavailable`).
    pub source_requests: IntCounterVec,
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
    /// Label: `dependency`; 1 if it answered when it was last asked.
    pub dependency_up: IntGaugeVec,
    pub swept: IntCounter,
    queue_wait_seconds: HistogramVec,
    group_sizes: HistogramVec,
    build: IntGaugeVec,
    by_customer: ByCustomer,
}

impl Metrics {
    /// With `per_endpoint`, every endpoint has series of its own, up to
    /// [`ENDPOINTS_MAX`](crate::ENDPOINTS_MAX).
    #[expect(clippy::too_many_lines, reason = "one table of every metric")]
    pub fn new(per_endpoint: bool) -> Self {
        let make = Register::default();
        let metrics = Self {
            events: make.counters(
                "fanfare_events_total",
                "Events taken in, by source and result.",
                &["source", "result"],
            ),
            source_requests: make.counters(
                "fanfare_source_requests_total",
                "Webhooks of other systems that came in, by dialect and result.",
                &["dialect", "result"],
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
                "Time from an event's acceptance to its successful delivery, without those that \
                 were retried by hand.",
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
                "Whether a dependency answered when it was last asked.",
                &["dependency"],
            ),
            swept: make.counter(
                "fanfare_deliveries_swept_total",
                "Overdue deliveries that the sweeper queued again.",
            ),
            queue_wait_seconds: make.histograms(
                "fanfare_queue_wait_seconds",
                "Time from when a message was published, or due, until it was received; of \
                 events published over AMQP, those with a timestamp.",
                LATENCY_SECONDS,
                "queue",
            ),
            group_sizes: make.histograms(
                "fanfare_group_size",
                "Items that left together, by group.",
                GROUP_SIZES,
                "group",
            ),
            build: make.gauges(
                "fanfare_build_info",
                "1, with this process's version and role.",
                &["version", "role"],
            ),
            by_customer: ByCustomer::new(&make, per_endpoint),
            register: make.clone(),
        };
        make.process();
        metrics.begin_at_zero();
        metrics
    }

    /// Shows the counters that alerts read from the start: what appears with its first increase
    /// has, for Prometheus, not increased.
    fn begin_at_zero(&self) {
        for source in ["http", "amqp", "webhook"] {
            for result in ["new", "duplicate", "conflict", "rejected", "unavailable"] {
                self.events.with_label_values(&[source, result]);
            }
        }
        for status in ["delivered", "failed"] {
            self.finished.with_label_values(&[status]);
        }
        for dependency in ["store", "broker", "shared_state"] {
            self.dependency_errors.with_label_values(&[dependency]);
        }
    }

    pub(crate) fn register(&self) -> &Register {
        &self.register
    }

    /// What depends on who the customers are.
    pub fn by_customer(&self) -> &ByCustomer {
        &self.by_customer
    }

    /// Says what this process is.
    pub fn built(&self, version: &str, role: &str) {
        self.build.with_label_values(&[version, role]).set(1);
    }

    /// For how long a message waited in a queue before it was received.
    pub fn waited(&self, queue: &str, time: Duration) {
        self.queue_wait_seconds
            .with_label_values(&[queue])
            .observe(time.as_secs_f64());
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
        .encode(&metrics.register.registry().gather(), &mut text)
        .expect("metrics encode into memory");
    String::from_utf8(text).expect("the exposition format is UTF-8")
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
        let metrics = Metrics::new(false);
        metrics.attempted("standard", AttemptLabel::Status(404), 0.01);
        metrics.attempted("standard", AttemptLabel::Status(999), 0.01);
        metrics.group_sizes("accept").observe(3.0);
        metrics.waited("fanfare.intake", Duration::from_secs(2));
        let text = render(&metrics);
        assert!(text.contains(r#"fanfare_attempts_total{dialect="standard",outcome="4xx"} 1"#));
        assert!(text.contains(r#"outcome="other_status"} 1"#));
        assert!(text.contains("# HELP fanfare_deliveries_swept_total"));
        assert!(text.contains(r#"fanfare_queue_wait_seconds_sum{queue="fanfare.intake"} 2"#));
        assert!(text.contains("process_cpu_seconds_total"));
    }

    #[test]
    fn the_first_refused_event_is_an_increase() {
        let text = render(&Metrics::new(false));
        assert!(text.contains(r#"fanfare_events_total{result="unavailable",source="http"} 0"#));
        assert!(text.contains(r#"fanfare_deliveries_finished_total{status="failed"} 0"#));
    }
}
