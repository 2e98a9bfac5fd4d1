use std::collections::HashMap;

use parking_lot::Mutex;
use prometheus::IntCounterVec;

/// Counters by queue that follow totals of the broker.
#[derive(Debug)]
pub(crate) struct Counted {
    counters: IntCounterVec,
    /// The totals as last told.
    told: Mutex<HashMap<String, u64>>,
}

impl Counted {
    pub(crate) fn new(counters: IntCounterVec) -> Self {
        Self {
            counters,
            told: Mutex::default(),
        }
    }

    /// Adds what was counted since the last total. A total that is not told says nothing; a smaller
    /// one comes from a broker that was restarted.
    pub(crate) fn follow(&self, queue: &str, total: Option<u64>) {
        let counter = self.counters.with_label_values(&[queue]);
        let Some(total) = total else { return };
        let told = self.told.lock().insert(queue.to_owned(), total);
        counter.inc_by(total.saturating_sub(told.unwrap_or(0)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_follows_the_brokers_and_neither_a_gap_nor_a_restart_is_a_burst() {
        let counters = IntCounterVec::new(prometheus::Opts::new("n", "n"), &["queue"]).unwrap();
        let counted = Counted::new(counters.clone());
        let seen = [None, Some(5), Some(7), None, Some(8), Some(2), Some(4)].map(|total| {
            counted.follow("q", total);
            counters.with_label_values(&["q"]).get()
        });
        assert_eq!(seen, [0, 5, 7, 7, 8, 8, 10]);
    }
}
