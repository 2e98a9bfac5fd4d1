use crate::Installation;

/// A part of the installation that is looked at by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Queues,
    Store,
    /// What the store takes of the machine.
    Sizes,
    SharedState,
    /// The broker's management API.
    Management,
}

impl Part {
    /// The label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queues => "queues",
            Self::Store => "store",
            Self::Sizes => "sizes",
            Self::SharedState => "shared_state",
            Self::Management => "management",
        }
    }
}

impl Installation {
    /// A part was seen, so many seconds after 1970.
    pub fn looked(&self, part: Part, at: f64) {
        self.last_look.with_label_values(&[part.as_str()]).set(at);
    }

    /// Shows nothing more of a part: what was seen of it is too old to be told from the truth.
    pub fn forget(&self, part: Part) {
        match part {
            Part::Queues => {
                for gauges in [
                    &self.queue_ready,
                    &self.queue_consumers,
                    &self.retries_scheduled,
                    &self.events_rejected,
                    &self.messages_parked,
                ] {
                    gauges.reset();
                }
            }
            Part::Store => {
                for gauges in [
                    &self.deliveries,
                    &self.accepted,
                    &self.held,
                    &self.overdue,
                    &self.balance_difference,
                ] {
                    gauges.reset();
                }
                self.oldest_undelivered.reset();
                self.oldest_overdue.reset();
            }
            Part::Sizes => {
                for gauges in [
                    &self.partitions,
                    &self.bytes,
                    &self.replicas,
                    &self.connections,
                ] {
                    gauges.reset();
                }
                self.replication_lag.reset();
            }
            Part::SharedState => {
                self.circuits.reset();
                self.shared_state_bytes.reset();
            }
            Part::Management => {
                for gauges in [
                    &self.queue_unacked,
                    &self.queue_members_missing,
                    &self.connections_blocked,
                ] {
                    gauges.reset();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Metrics, render};

    const NONE: &[&str] = &[];

    #[test]
    fn nothing_is_shown_of_a_part_before_it_was_seen_nor_once_it_is_forgotten() {
        let metrics = Metrics::new(false);
        let seen = Installation::new(&metrics);
        let of_store = |text: &str| {
            text.contains("\nfanfare_oldest_overdue_seconds")
                || text.contains("\nfanfare_balance_difference")
        };
        assert!(!of_store(&render(&metrics)));
        seen.oldest_overdue.with_label_values(NONE).set(7.0);
        seen.balance_difference.with_label_values(NONE).set(0);
        seen.queue_ready
            .with_label_values(&["fanfare.intake"])
            .set(3);
        assert!(of_store(&render(&metrics)));
        seen.forget(Part::Store);
        assert!(!of_store(&render(&metrics)));
        assert!(render(&metrics).contains("\nfanfare_queue_ready"));
    }
}
