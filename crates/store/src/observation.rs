use std::collections::BTreeMap;
use std::time::Duration;

use model::{DeliveryStatus, Timestamp};

use crate::{StoreError, codes, rows};

/// Unfinished deliveries, and held ones, that one look counts itself at most: it takes some
/// milliseconds whatever there is.
pub const LOOK_MAX: u32 = 10_000;

/// Counts of invariant 1: `accepted` equals the sum of the others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Balance {
    pub accepted: u64,
    pub queued: u64,
    pub retrying: u64,
    pub held: u64,
    pub delivered: u64,
    pub failed: u64,
    pub discarded: u64,
}

impl Balance {
    pub const fn by_status(&self) -> [(DeliveryStatus, u64); 6] {
        [
            (DeliveryStatus::Queued, self.queued),
            (DeliveryStatus::Retrying, self.retrying),
            (DeliveryStatus::Held, self.held),
            (DeliveryStatus::Delivered, self.delivered),
            (DeliveryStatus::Failed, self.failed),
            (DeliveryStatus::Discarded, self.discarded),
        ]
    }
}

/// A look at all deliveries, all of the same moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observation {
    /// As tallied by whatever changed a delivery.
    pub balance: Balance,
    /// By reason.
    pub held: BTreeMap<&'static str, u64>,
    /// Queued or retrying, counted row by row, up to [`LOOK_MAX`].
    pub unfinished_seen: u64,
    /// Held, counted row by row, up to [`LOOK_MAX`].
    pub held_seen: u64,
    /// When the oldest of those seen was accepted.
    pub oldest: Option<Timestamp>,
    /// When the first of them was or will be due.
    pub first_due: Option<Timestamp>,
    /// How many of them were due before the time asked for.
    pub overdue: u64,
}

impl Observation {
    /// Accepted deliveries less those that are accounted for: invariant 1 says it is 0.
    ///
    /// Unfinished ones count if their rows are there; beyond [`LOOK_MAX`], if they are tallied.
    pub fn difference(&self) -> i64 {
        let signed = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        let seen_or = |seen: u64, tallied: u64| {
            if seen < LOOK_MAX.into() {
                seen
            } else {
                tallied
            }
        };
        let balance = &self.balance;
        let unfinished = seen_or(self.unfinished_seen, balance.queued + balance.retrying);
        let held = seen_or(self.held_seen, balance.held);
        let finished = balance.delivered + balance.failed + balance.discarded;
        signed(balance.accepted) - signed(unfinished + held + finished)
    }

    /// Takes over a tally of the database.
    pub(crate) fn tally(&mut self, state: i16, deliveries: i64) -> Result<(), StoreError> {
        let deliveries: u64 = rows::count(deliveries)?;
        let (status, reason) = codes::read_state(state)?;
        *self.balance.counter(status) += deliveries;
        if let Some(reason) = reason {
            *self.held.entry(reason.as_str()).or_default() += deliveries;
        }
        Ok(())
    }
}

impl Balance {
    const fn counter(&mut self, status: DeliveryStatus) -> &mut u64 {
        match status {
            DeliveryStatus::Queued => &mut self.queued,
            DeliveryStatus::Retrying => &mut self.retrying,
            DeliveryStatus::Held => &mut self.held,
            DeliveryStatus::Delivered => &mut self.delivered,
            DeliveryStatus::Failed => &mut self.failed,
            DeliveryStatus::Discarded => &mut self.discarded,
        }
    }
}

/// What the store takes of the machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Footprint {
    /// Weekly partitions of deliveries, where there are partitions.
    pub partitions: Option<u64>,
    /// Bytes by table, indexes included; `database` where tables are not told apart.
    pub bytes: BTreeMap<String, u64>,
    /// Replicas, and whatever else reads the write-ahead log, where there can be any.
    pub replicas: Option<u64>,
    /// How far the slowest replica is behind, if there is one and this user is told.
    pub replication_lag: Option<Duration>,
    /// Connections to the database by state, where there are connections.
    pub connections: BTreeMap<&'static str, u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_difference_tells_what_is_missing_and_what_is_too_many() {
        let even = Observation {
            balance: Balance {
                accepted: 10,
                queued: 1,
                retrying: 2,
                held: 3,
                delivered: 4,
                ..Balance::default()
            },
            unfinished_seen: 3,
            held_seen: 3,
            ..Observation::default()
        };
        assert_eq!(even.difference(), 0);
        let lost = Observation {
            unfinished_seen: 2,
            ..even.clone()
        };
        assert_eq!(lost.difference(), 1, "a row that is tallied is not there");
        let mut doubled = even;
        doubled.balance.failed = 2;
        assert_eq!(doubled.difference(), -2);
    }

    #[test]
    fn beyond_what_is_seen_the_tallies_count() {
        let many = u64::from(LOOK_MAX) * 3;
        let observation = Observation {
            balance: Balance {
                accepted: many * 2,
                queued: many,
                held: many,
                ..Balance::default()
            },
            unfinished_seen: LOOK_MAX.into(),
            held_seen: LOOK_MAX.into(),
            ..Observation::default()
        };
        assert_eq!(observation.difference(), 0);
    }
}
