use std::time::Duration;

use model::{HoldReason, Timestamp};
use prometheus::GaugeVec;
use store::{Footprint, Observation};

use crate::{Exporter, NONE, NotSeen, signed};

/// A delivery that has been due for longer is overdue: attempts begin within milliseconds, and the
/// sweeper queues again what has been lost.
const OVERDUE_AFTER: Duration = Duration::from_secs(5);

impl Exporter {
    pub(crate) async fn look_at_deliveries(&self) -> Result<(), NotSeen> {
        let now = ambient::now();
        let observation = self.parts.store.observe(now.minus(OVERDUE_AFTER)).await?;
        self.show_deliveries(&observation, now);
        Ok(())
    }

    fn show_deliveries(&self, observation: &Observation, now: Timestamp) {
        let seen = &self.seen;
        let balance = &observation.balance;
        let accepted = seen.accepted.with_label_values(NONE);
        accepted.set(signed(balance.accepted));
        for (status, count) in balance.by_status() {
            let gauge = seen.deliveries.with_label_values(&[status.as_str()]);
            gauge.set(signed(count));
        }
        for reason in HoldReason::ALL {
            let count = observation.held.get(reason.as_str()).copied();
            let gauge = seen.held.with_label_values(&[reason.as_str()]);
            gauge.set(signed(count.unwrap_or(0)));
        }
        let show_age = |gauges: &GaugeVec, at: Option<Timestamp>| {
            let age = at.map_or(0.0, |at| now.since(at).as_secs_f64());
            gauges.with_label_values(NONE).set(age);
        };
        show_age(&seen.oldest_undelivered, observation.oldest);
        show_age(&seen.oldest_overdue, observation.first_due);
        let overdue = seen.overdue.with_label_values(NONE);
        overdue.set(signed(observation.overdue));
        let difference = seen.balance_difference.with_label_values(NONE);
        difference.set(observation.difference());
    }

    pub(crate) async fn look_at_footprint(&self) -> Result<(), NotSeen> {
        let footprint = self.parts.store.footprint().await?;
        self.show_footprint(&footprint);
        Ok(())
    }

    fn show_footprint(&self, footprint: &Footprint) {
        let seen = &self.seen;
        if let Some(partitions) = footprint.partitions {
            let gauge = seen.partitions.with_label_values(NONE);
            gauge.set(signed(partitions));
        }
        for (table, bytes) in &footprint.bytes {
            seen.bytes.with_label_values(&[table]).set(signed(*bytes));
        }
        if let Some(replicas) = footprint.replicas {
            let gauge = seen.replicas.with_label_values(NONE);
            gauge.set(signed(replicas));
        }
        match footprint.replication_lag {
            Some(lag) => {
                let gauge = seen.replication_lag.with_label_values(NONE);
                gauge.set(lag.as_secs_f64());
            }
            None => seen.replication_lag.reset(),
        }
        for (state, connections) in &footprint.connections {
            let gauge = seen.connections.with_label_values(&[state]);
            gauge.set(signed(*connections));
        }
    }
}
