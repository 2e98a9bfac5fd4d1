use std::time::Duration;

use model::{HoldReason, Timestamp};
use store::{Footprint, Observation};

use crate::{Exporter, signed};

/// A delivery that has been due for longer is overdue: attempts begin within milliseconds, and the
/// sweeper queues again what has been lost.
const OVERDUE_AFTER: Duration = Duration::from_secs(5);

const NONE: &[&str] = &[];

impl Exporter {
    pub(crate) async fn look_at_deliveries(&self) {
        let now = ambient::now();
        match self.parts.store.observe(now.minus(OVERDUE_AFTER)).await {
            Ok(observation) => self.show_deliveries(&observation, now),
            Err(error) => tracing::debug!(%error, "deliveries not seen"),
        }
    }

    fn show_deliveries(&self, observation: &Observation, now: Timestamp) {
        let seen = &self.seen;
        let balance = &observation.balance;
        let show = |status: &str, count: u64| {
            let gauge = seen.deliveries.with_label_values(&[status]);
            gauge.set(signed(count));
        };
        show("accepted", balance.accepted);
        for (status, count) in balance.by_status() {
            show(status.as_str(), count);
        }
        for reason in HoldReason::ALL {
            let count = observation.held.get(reason.as_str()).copied();
            let gauge = seen.held.with_label_values(&[reason.as_str()]);
            gauge.set(signed(count.unwrap_or(0)));
        }
        let age = |at: Option<Timestamp>| at.map_or(0.0, |at| now.since(at).as_secs_f64());
        seen.oldest_undelivered.set(age(observation.oldest));
        seen.oldest_overdue.set(age(observation.first_due));
        seen.overdue.set(signed(observation.overdue));
        seen.balance_difference.set(observation.difference());
        self.looked("store");
    }

    pub(crate) async fn look_at_footprint(&self) {
        match self.parts.store.footprint().await {
            Ok(footprint) => self.show_footprint(&footprint),
            Err(error) => tracing::debug!(%error, "sizes not seen"),
        }
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
