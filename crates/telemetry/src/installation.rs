use prometheus::{GaugeVec, IntCounterVec, IntGauge, IntGaugeVec};

use crate::Metrics;

/// Metrics of the installation as a whole, beside those of the process that looks at it. What has
/// not been seen, or no longer is, has no series: `last_look` says since when.
#[derive(Clone, Debug)]
pub struct Installation {
    pub up: IntGauge,
    /// Label: `part` (`queues`, `store`, `sizes`, `shared_state`, `management`).
    pub last_look: GaugeVec,
    /// Label: `queue`, also for the next five.
    pub queue_ready: IntGaugeVec,
    pub queue_consumers: IntGaugeVec,
    pub queue_unacked: IntGaugeVec,
    pub queue_members_missing: IntGaugeVec,
    pub queue_published: IntCounterVec,
    pub queue_delivered: IntCounterVec,
    /// No labels, also for the next three: a series once it has been seen.
    pub connections_blocked: IntGaugeVec,
    pub retries_scheduled: IntGaugeVec,
    pub events_rejected: IntGaugeVec,
    pub messages_parked: IntGaugeVec,
    /// Label: `status`.
    pub deliveries: IntGaugeVec,
    /// Label: `reason`.
    pub held: IntGaugeVec,
    /// No labels, also for the next four.
    pub accepted: IntGaugeVec,
    pub oldest_undelivered: GaugeVec,
    pub oldest_overdue: GaugeVec,
    pub overdue: IntGaugeVec,
    /// Accepted less the sum of all statuses; anything but 0 is a fault.
    pub balance_difference: IntGaugeVec,
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
    /// No labels, but no series where the store can have none.
    pub replicas: IntGaugeVec,
    /// No labels, but no series without replicas, or where their lag is not told.
    pub replication_lag: GaugeVec,
    /// Label: `state`.
    pub connections: IntGaugeVec,
    /// No labels.
    pub shared_state_up: IntGaugeVec,
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
            queue_members_missing: make.gauges(
                "fanfare_queue_members_missing",
                "With broker.management_url: members of a quorum queue that are not online.",
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
            retries_scheduled: make.gauges(
                "fanfare_retries_scheduled",
                "Messages that wait for their time, in all delay queues.",
                &[],
            ),
            events_rejected: make.gauges(
                "fanfare_events_rejected",
                "Events set aside because they could not be understood.",
                &[],
            ),
            messages_parked: make.gauges(
                "fanfare_messages_parked",
                "Internal messages set aside because they could not be read.",
                &[],
            ),
            deliveries: make.gauges(
                "fanfare_store_deliveries",
                "Deliveries in the store, by status.",
                &["status"],
            ),
            accepted: make.gauges(
                "fanfare_store_deliveries_accepted",
                "All deliveries that were accepted, dropped weeks left out.",
                &[],
            ),
            held: make.gauges(
                "fanfare_store_deliveries_held",
                "Held deliveries in the store, by reason.",
                &["reason"],
            ),
            oldest_undelivered: make.seconds_by(
                "fanfare_oldest_undelivered_seconds",
                "Age of the oldest delivery that is queued or retrying; beyond 10,000 such, of \
                 the oldest among those due first.",
                &[],
            ),
            oldest_overdue: make.seconds_by(
                "fanfare_oldest_overdue_seconds",
                "For how long the delivery that is due longest has been due, since the sweeper \
                 last queued it again.",
                &[],
            ),
            overdue: make.gauges(
                "fanfare_deliveries_overdue",
                "Deliveries due for more than 5 s, counted up to 10,000.",
                &[],
            ),
            balance_difference: make.gauges(
                "fanfare_balance_difference",
                "Accepted deliveries less those of every status; anything but 0 is a fault.",
                &[],
            ),
            endpoints: make.gauges("fanfare_endpoints", "Endpoints, by state.", &["state"]),
            endpoints_disabled: make.gauges(
                "fanfare_endpoints_disabled",
                "Disabled endpoints, by reason.",
                &["reason"],
            ),
            circuits: make.gauges(
                "fanfare_circuits",
                "Active endpoints whose circuit is not closed, by its state.",
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
            replicas: make.gauges(
                "fanfare_store_replicas",
                "PostgreSQL replicas, and whatever else reads its write-ahead log.",
                &[],
            ),
            replication_lag: make.seconds_by(
                "fanfare_store_replication_lag_seconds",
                "How far the slowest PostgreSQL replica is behind; told to members of pg_monitor.",
                &[],
            ),
            connections: make.gauges(
                "fanfare_store_connections",
                "PostgreSQL connections to this database, by state.",
                &["state"],
            ),
            shared_state_up: make.gauges(
                "fanfare_shared_state_up",
                "Whether the shared state answers.",
                &[],
            ),
            shared_state_bytes: make.gauges(
                "fanfare_shared_state_bytes",
                "Memory that Redis uses.",
                &[],
            ),
        }
    }
}
