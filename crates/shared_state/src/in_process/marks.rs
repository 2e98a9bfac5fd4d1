use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};

use model::{DeliveryId, Timestamp};
use parking_lot::Mutex;

/// How many finished attempts are remembered at most; the oldest are forgotten first. A redelivery
/// within the process follows within seconds, so this need not hold all of
/// [`DONE_KEPT`](crate::DONE_KEPT) at full speed.
pub(crate) const DONE_MAX: usize = 100_000;

const SHARDS: usize = 16;

/// Below this many claims in a shard, looking for dead ones is not worth it.
const SWEEP_AT_MIN: usize = 64;

/// One attempt of one delivery. The halves of the id instead of a `u128`, whose alignment would
/// make this a third larger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct AttemptKey {
    delivery: (u64, u64),
    attempt: u32,
}

/// What is known of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mark {
    Busy,
    /// Busy, and the probe of a circuit.
    Probing,
    Done {
        succeeded: bool,
    },
}

impl Mark {
    const fn is_done(self) -> bool {
        matches!(self, Self::Done { .. })
    }
}

#[derive(Clone, Copy, Debug)]
struct Marked {
    mark: Mark,
    until: Timestamp,
}

#[derive(Debug)]
struct Shard {
    marks: HashMap<AttemptKey, Marked>,
    /// The done ones, in the order they were finished, which is the order they expire in.
    done: VecDeque<AttemptKey>,
    /// With this many claims it is time to look for those whose claimants are gone.
    sweep_at: usize,
}

/// The marks of all attempts that are under way or were made lately.
#[derive(Debug)]
pub(crate) struct Marks {
    shards: [Mutex<Shard>; SHARDS],
    done_max: usize,
}

/// The place of one attempt, while its shard is locked.
pub(crate) struct Slot<'a> {
    shard: &'a mut Shard,
    key: AttemptKey,
    now: Timestamp,
    done_max: usize,
}

impl AttemptKey {
    #[expect(clippy::cast_possible_truncation, reason = "the two halves")]
    pub(crate) fn new(delivery: DeliveryId, attempt: u32) -> Self {
        let id = delivery.as_u128();
        Self {
            delivery: ((id >> 64) as u64, id as u64),
            attempt,
        }
    }

    /// The low half of a ULID is random.
    fn shard(self) -> usize {
        usize::try_from(self.delivery.1 % SHARDS as u64).expect("less than the number of shards")
    }
}

impl Default for Marks {
    fn default() -> Self {
        Self::with_done_max(DONE_MAX)
    }
}

impl Marks {
    fn with_done_max(done_max: usize) -> Self {
        Self {
            shards: Default::default(),
            done_max: done_max / SHARDS,
        }
    }

    /// Runs `act` on the attempt's place, as of `now`.
    pub(crate) fn with<R>(
        &self,
        key: AttemptKey,
        now: Timestamp,
        act: impl FnOnce(&mut Slot<'_>) -> R,
    ) -> R {
        let mut shard = self.shards[key.shard()].lock();
        shard.expire_done(now);
        act(&mut Slot {
            shard: &mut shard,
            key,
            now,
            done_max: self.done_max,
        })
    }

    #[cfg(test)]
    fn len(&self) -> (usize, usize) {
        self.shards
            .iter()
            .map(Mutex::lock)
            .fold((0, 0), |(claimed, done), shard| {
                (claimed + shard.claimed(), done + shard.done.len())
            })
    }
}

impl Slot<'_> {
    /// What is known of it. A done mark lasts as long as its place among the done.
    pub(crate) fn current(&self) -> Option<Mark> {
        let marked = self.shard.marks.get(&self.key)?;
        (marked.mark.is_done() || self.now < marked.until).then_some(marked.mark)
    }

    /// Marks it busy or probing until its lease ends.
    pub(crate) fn claim(&mut self, mark: Mark, until: Timestamp) {
        if self.shard.claimed() >= self.shard.sweep_at {
            self.shard.sweep(self.now);
        }
        self.shard.marks.insert(self.key, Marked { mark, until });
    }

    /// Marks it done, for nobody to make again.
    pub(crate) fn finish(&mut self, succeeded: bool, until: Timestamp) {
        let mark = Mark::Done { succeeded };
        let previous = self.shard.marks.insert(self.key, Marked { mark, until });
        if previous.is_none_or(|previous| !previous.mark.is_done()) {
            self.shard.done.push_back(self.key);
        }
        while self.shard.done.len() > self.done_max {
            self.shard.forget_oldest_done();
        }
    }

    /// Frees it, unless it is done.
    pub(crate) fn release(&mut self) {
        if let Entry::Occupied(entry) = self.shard.marks.entry(self.key)
            && !entry.get().mark.is_done()
        {
            entry.remove();
        }
    }
}

impl Default for Shard {
    fn default() -> Self {
        Self {
            marks: HashMap::new(),
            done: VecDeque::new(),
            sweep_at: SWEEP_AT_MIN,
        }
    }
}

impl Shard {
    /// How many marks are claims; each other one has its place among the done.
    fn claimed(&self) -> usize {
        self.marks.len() - self.done.len()
    }

    fn expire_done(&mut self, now: Timestamp) {
        while let Some(oldest) = self.done.front()
            && self
                .marks
                .get(oldest)
                .is_none_or(|marked| marked.until <= now)
        {
            self.forget_oldest_done();
        }
    }

    fn forget_oldest_done(&mut self) {
        if let Some(oldest) = self.done.pop_front() {
            self.marks.remove(&oldest);
        }
    }

    /// Forgets the claims of claimants that are gone. The next time is when there are twice as many
    /// as now, so that a claim pays for a constant part of it.
    fn sweep(&mut self, now: Timestamp) {
        self.marks
            .retain(|_, marked| marked.mark.is_done() || now < marked.until);
        self.sweep_at = (2 * self.claimed()).max(SWEEP_AT_MIN);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const START: Timestamp = Timestamp::from_seconds(1_776_254_400);

    /// Keys of one shard.
    fn key(n: usize) -> AttemptKey {
        let random = u128::try_from(n * SHARDS).unwrap();
        AttemptKey::new(DeliveryId::new(START, random), 1)
    }

    fn after(seconds: u64) -> Timestamp {
        START.plus(Duration::from_secs(seconds))
    }

    fn mark(marks: &Marks, n: usize, now: Timestamp) -> Option<Mark> {
        marks.with(key(n), now, |slot| slot.current())
    }

    #[test]
    fn of_too_many_finished_attempts_the_oldest_are_forgotten() {
        let marks = Marks::with_done_max(SHARDS * 4);
        for n in 0..10 {
            marks.with(key(n), START, |slot| slot.finish(true, after(120)));
        }
        let known: Vec<_> = (0..10)
            .filter(|&n| mark(&marks, n, START).is_some())
            .collect();
        assert_eq!(known, [6, 7, 8, 9]);
        assert_eq!(marks.len(), (0, 4));
    }

    #[test]
    fn memory_follows_what_is_under_way_and_lately_done() {
        let marks = Marks::default();
        for n in 0..5_000 {
            let now = after(n);
            let key = key(usize::try_from(n).unwrap());
            marks.with(key, now, |slot| {
                slot.claim(Mark::Busy, now.plus(Duration::from_secs(30)))
            });
            if n % 2 == 0 {
                marks.with(key, now, |slot| {
                    slot.finish(true, now.plus(Duration::from_secs(120)))
                });
            }
        }
        let (claimed, done) = marks.len();
        assert!(claimed <= SWEEP_AT_MIN && done <= 61, "{claimed} {done}");
    }

    #[test]
    fn leases_and_done_marks_end_in_time() {
        let marks = Marks::default();
        marks.with(key(0), START, |slot| slot.claim(Mark::Busy, after(600)));
        marks.with(key(1), START, |slot| slot.claim(Mark::Probing, after(10)));
        marks.with(key(2), START, |slot| slot.finish(true, after(120)));
        assert_eq!(mark(&marks, 1, after(9)), Some(Mark::Probing));
        assert_eq!(mark(&marks, 1, after(10)), None);
        assert_eq!(mark(&marks, 0, after(10)), Some(Mark::Busy));
        assert_eq!(
            mark(&marks, 2, after(119)),
            Some(Mark::Done { succeeded: true })
        );
        assert_eq!(mark(&marks, 2, after(120)), None);
    }

    #[test]
    fn a_release_after_the_end_changes_nothing() {
        let marks = Marks::default();
        marks.with(key(0), START, |slot| slot.finish(true, after(120)));
        marks.with(key(0), START, |slot| slot.release());
        assert_eq!(mark(&marks, 0, START), Some(Mark::Done { succeeded: true }));
    }
}
