use std::collections::HashMap;
use std::time::Duration;

use model::Timestamp;
use parking_lot::Mutex;

/// How many locks there can be; a further one is not had.
pub(crate) const LOCKS_MAX: usize = 1_000;

#[derive(Debug)]
struct Lock {
    holder: String,
    until: Timestamp,
}

/// Locks by name.
#[derive(Debug, Default)]
pub(crate) struct Locks {
    held: Mutex<HashMap<String, Lock>>,
}

impl Locks {
    /// Takes or renews a lock.
    pub(crate) fn take(&self, name: &str, holder: &str, ttl: Duration, now: Timestamp) -> bool {
        let mut held = self.held.lock();
        held.retain(|_, lock| now < lock.until);
        let free = held.get(name).is_none_or(|lock| lock.holder == holder);
        let room = held.len() < LOCKS_MAX || held.contains_key(name);
        if free && room {
            held.insert(
                name.to_owned(),
                Lock {
                    holder: holder.to_owned(),
                    until: now.plus(ttl),
                },
            );
        }
        free && room
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_seconds(1_776_254_400);
    const TTL: Duration = Duration::from_secs(10);

    #[test]
    fn one_holder_at_a_time_until_the_time_is_over() {
        let locks = Locks::default();
        let later = |seconds| NOW.plus(Duration::from_secs(seconds));
        assert!(locks.take("sweep", "a", TTL, NOW));
        assert!(!locks.take("sweep", "b", TTL, later(9)));
        assert!(locks.take("sweep", "a", TTL, later(9)));
        assert!(!locks.take("sweep", "b", TTL, later(18)));
        assert!(locks.take("sweep", "b", TTL, later(19)));
        assert!(locks.take("retention", "a", TTL, later(19)));
    }

    #[test]
    fn beyond_the_maximum_only_held_locks_are_renewed() {
        let locks = Locks::default();
        for n in 0..LOCKS_MAX {
            assert!(locks.take(&n.to_string(), "a", TTL, NOW));
        }
        assert!(!locks.take("one more", "a", TTL, NOW));
        assert!(locks.take("0", "a", TTL, NOW));
    }
}
