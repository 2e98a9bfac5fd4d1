use prometheus::{Gauge, GaugeVec, IntCounterVec, IntGauge, IntGaugeVec};

use crate::Metrics;

/// Metrics of the installation as a whole, beside those of the process that looks at it. What a
/// look did not see keeps its last value: `last_look` says how old that is.
#[derive(Clone, Debug)]
pub struct Installation {
    pub up: IntGauge,
    /// Label: `part` (`queues`, `store`, `management`, `shared_state`).
    pub last_look: GaugeVec,
    /// Label: `queue`, also for the next four.
    pub queue_ready: IntGaugeVec,
    pub queue_consumers: IntGaugeVec,
    pub queue_unacked: IntGaugeVec,
    pub queue_published: IntCounterVec,
    pub queue_delivered: IntCounterVec,
    /// No labels, but no series where the broker is not asked.
    pub connections_blocked: IntGaugeVec,
    pub retries_scheduled: IntGauge,
    pub events_rejected: IntGauge,
    pub messages_parked: IntGauge,
    /// Label: `status`, and `accepted`.
    pub deliveries: IntGaugeVec,
    /// Label: `reason`.
    pub held: IntGaugeVec,
    pub oldest_undelivered: Gauge,
    pub oldest_overdue: Gauge,
    pub overdue: IntGauge,
    pub balance_difference: IntGauge,
    /// Label: `state` (`active`, `disabled`).
    pub endpoints: IntGaugeVec,
    /// Label: `reason`.
    pub endpoints_disabled: IntGaugeVec,
    /// Label: `state` (`open`, `half_open`).
    pub circuits: IntGaugeVec,
    /// No labels, but no series where the store knows none.
    pub partitions: IntGaugeVec,
    /// Label: `table`.
    pub bytes: IntGaugeVec,
    /// No labels, but no series without replicas.
    pub replication_lag: GaugeVec,
    /// Label: `state`.
    pub connections: IntGaugeVec,
    pub shared_state_up: IntGauge,
    /// No labels, but no series where the process itself is the shared state.
    pub shared_state_bytes: IntGaugeVec,
}

impl Installation {
    /// Registers them beside the metrics of this process.
    #[expect(clippy::too_many_lines, reason = "one table of every metric")]
    pub fn new(metrics: &Metrics) -> Self {
        let make = metrics.register();
        Self {
            up: make.gauge("fanfare_exporter_up", "1 where an exporter runs."),
            last_look: make.seconds_by(
                "fanfare_exporter_last_look_timestamp_seconds",
                "When the exporter last saw a part of the installation.",
                &["part"],
            ),
            queue_ready: make.gauges(
                "fanfare_queue_ready",
                "Messages that wait in a queue, for a consumer or for their time.",
                &["queue"],
            ),
            queue_consumers: make.gauges(
                "fanfare_queue_consumers",
                "Consumers of a queue.",
                &["queue"],
            ),
            queue_unacked: make.gauges(
                "fanfare_queue_unacked",
                "With broker.management_url: messages given to consumers and not acknowledged.",
                &["queue"],
            ),
            queue_published: make.counters(
                "fanfare_queue_publish_total",
                "With broker.management_url: messages put into a queue.",
                &["queue"],
            ),
            queue_delivered: make.counters(
                "fanfare_queue_deliver_total",
                "With broker.management_url: messages given to consumers.",
                &["queue"],
            ),
            connections_blocked: make.gauges(
                "fanfare_broker_connection_blocked",
                "With broker.management_url: 1 if the broker keeps a connection from publishing.",
                &[],
            ),
            retries_scheduled: make.gauge(
                "fanfare_retries_scheduled",
                "Messages that wait for their time, in all delay queues.",
            ),
            events_rejected: make.gauge(
                "fanfare_events_rejected",
                "Events set aside because they could not be understood.",
            ),
            messages_parked: make.gauge(
                "fanfare_messages_parked",
                "Internal messages set aside because they could not be read.",
            ),
            deliveries: make.gauges(
                "fanfare_store_deliveries",
                "Deliveries in the store by status, and all that were accepted.",
                &["status"],
            ),
            held: make.gauges(
                "fanfare_store_deliveries_held",
                "Held deliveries in the store, by reason.",
                &["reason"],
            ),
            oldest_undelivered: make.seconds(
                "fanfare_oldest_undelivered_seconds",
                "Age of the oldest delivery that is queued or retrying; beyond 10,000 such, of \
                 the oldest among those due first.",
            ),
            oldest_overdue: make.seconds(
                "fanfare_oldest_overdue_seconds",
                "For how long the delivery that is due longest has been due.",
            ),
            overdue: make.gauge(
                "fanfare_deliveries_overdue",
                "Deliveries due for more than 5 s, counted up to 10,000.",
            ),
            balance_difference: metrics.balance_difference.clone(),
            endpoints: make.gauges("fanfare_endpoints", "Endpoints, by state.", &["state"]),
            endpoints_disabled: make.gauges(
                "fanfare_endpoints_disabled",
                "Disabled endpoints, by reason.",
                &["reason"],
            ),
            circuits: make.gauges(
                "fanfare_circuits",
                "Endpoints whose circuit is not closed, by its state.",
                &["state"],
            ),
            partitions: make.gauges(
                "fanfare_store_partitions",
                "Weekly partitions of deliveries in PostgreSQL.",
                &[],
            ),
            bytes: make.gauges(
                "fanfare_store_bytes",
                "Size of a table with its indexes, or of the whole embedded database.",
                &["table"],
            ),
            replication_lag: make.seconds_by(
                "fanfare_store_replication_lag_seconds",
                "How far the slowest PostgreSQL replica is behind.",
                &[],
            ),
            connections: make.gauges(
                "fanfare_store_connections",
                "PostgreSQL connections to this database, by state.",
                &["state"],
            ),
            shared_state_up: make.gauge(
                "fanfare_shared_state_up",
                "Whether the shared state answers.",
            ),
            shared_state_bytes: make.gauges(
                "fanfare_shared_state_bytes",
                "Memory that Redis uses.",
                &[],
            ),
        }
    }
}
