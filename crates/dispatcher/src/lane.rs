//! The way to one endpoint: how many requests may be in flight, and the short line before it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use delivery::{LineLoad, RetrySchedule, Round, in_flight_limit, line_admits};
use dialect::Policy;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::attempt::Exchanges;
use crate::batches::{Batcher, Batching, Bounds};
use crate::schedule;

/// Requests that urgent deliveries may have in flight beyond the endpoint's limit, so that a full
/// lane does not delay them.
const URGENT_EXTRA: usize = 4;
/// Urgent deliveries that wait in line at most.
const URGENT_WAITING_MAX: usize = 64;
/// Held deliveries are released so far ahead of the requests that will carry them, but no more
/// than this many for each request that may be in flight.
const RELEASE_AHEAD: Duration = Duration::from_millis(50);
const TURNS_AHEAD_MAX: usize = 16;
/// The weight of the past in the running mean of service times, out of one more.
const PAST_WEIGHT: u32 = 7;

/// One endpoint's lane, for one revision of its settings.
#[derive(Debug)]
pub(crate) struct Lane {
    pub(crate) revision: u64,
    pub(crate) policy: Policy,
    pub(crate) schedule: RetrySchedule,
    traffic: Mutex<Traffic>,
    batcher: OnceLock<Batcher>,
}

#[derive(Debug, Default)]
struct Traffic {
    /// When each request in flight started, oldest first.
    in_flight: BTreeMap<u64, Instant>,
    next_ticket: u64,
    urgent: VecDeque<oneshot::Sender<Permit>>,
    bulk: VecDeque<oneshot::Sender<Permit>>,
    /// Running mean of how long a request takes.
    service_time: Duration,
    /// Attempts since somebody asked.
    finished: Round,
}

/// The right to have one request in flight; dropping it lets the next one in.
#[derive(Debug)]
pub(crate) struct Permit {
    lane: Arc<Lane>,
    ticket: u64,
}

/// What a lane answers to a delivery.
#[derive(Debug)]
pub(crate) enum Entry {
    Open(Permit),
    /// There will be room soon.
    Wait(Waiting),
    /// Waiting would take long: hold the delivery.
    Full,
}

/// A place in a lane's line.
#[derive(Debug)]
pub(crate) struct Waiting {
    /// The lane that was entered: the endpoint may have another by now.
    pub(crate) lane: Arc<Lane>,
    pub(crate) granted: oneshot::Receiver<Permit>,
}

impl Lane {
    pub(crate) fn new(revision: u64, policy: Policy) -> Self {
        let schedule = schedule::of(&policy);
        Self {
            revision,
            policy,
            schedule,
            traffic: Mutex::default(),
            batcher: OnceLock::new(),
        }
    }

    /// Where the endpoint's events gather, if it wants them in batches.
    pub(crate) fn batcher(&self, exchanges: &Arc<Exchanges>) -> Option<&Batcher> {
        let bounds = Bounds {
            batch: self.policy.batch?,
            requests_max: self.policy.requests_max,
            wait_max: self.policy.request_wait_max(),
        };
        let batching = || Batching {
            bounds,
            timeout: self.policy.timeout,
            exchanges: Arc::clone(exchanges),
        };
        Some(self.batcher.get_or_init(|| Batcher::spawn(batching())))
    }

    /// When a delivery that gets its turn now will be asked for an answer: what gathers for a batch
    /// is not left unanswered.
    fn begins(&self, now: Instant) -> Instant {
        let gathering = self.policy.batch.map(|batch| batch.max_wait_ms.into());
        now + Duration::from_millis(gathering.unwrap_or(0))
    }

    pub(crate) fn enter(self: &Arc<Self>, urgent: bool, now: Instant) -> Entry {
        let mut traffic = self.traffic.lock();
        let limit = traffic.limit(self.policy.max_in_flight, now);
        let in_flight = traffic.in_flight.len();
        let open = if urgent {
            in_flight < limit + URGENT_EXTRA
        } else {
            in_flight < limit && traffic.urgent.is_empty() && traffic.bulk.is_empty()
        };
        if open {
            let ticket = traffic.start(self.begins(now));
            return Entry::Open(Permit {
                lane: Arc::clone(self),
                ticket,
            });
        }
        let load = LineLoad {
            waiting: traffic.bulk.len(),
            in_flight,
            max_in_flight: limit,
            service_time: traffic.service_time,
            oldest_in_flight: traffic.oldest_age(now),
        };
        let (line, admitted) = if urgent {
            let admitted = traffic.urgent.len() < URGENT_WAITING_MAX;
            (&mut traffic.urgent, admitted)
        } else {
            (&mut traffic.bulk, line_admits(load))
        };
        if !admitted {
            return Entry::Full;
        }
        let (grant, granted) = oneshot::channel();
        line.push_back(grant);
        Entry::Wait(Waiting {
            lane: Arc::clone(self),
            granted,
        })
    }

    /// Whether requests are left unanswered, so that waiting in line is in vain.
    pub(crate) fn is_stalled(&self, now: Instant) -> bool {
        let traffic = self.traffic.lock();
        traffic.limit(self.policy.max_in_flight, now) < self.policy.max_in_flight
    }

    /// How many more deliveries the lane and its line would take now, and soon work off.
    pub(crate) fn room(&self, now: Instant) -> usize {
        let traffic = self.traffic.lock();
        let limit = traffic.limit(self.policy.max_in_flight, now);
        let turn = traffic.service_time.max(traffic.oldest_age(now));
        let turns = RELEASE_AHEAD.as_micros() / turn.as_micros().max(1);
        let turns = usize::try_from(turns)
            .unwrap_or(usize::MAX)
            .clamp(2, TURNS_AHEAD_MAX);
        (turns * limit).saturating_sub(traffic.in_flight.len() + traffic.bulk.len())
    }

    /// Counts an attempt for [`Self::take_finished`].
    pub(crate) fn finished(&self, succeeded: bool) {
        let mut traffic = self.traffic.lock();
        if succeeded {
            traffic.finished.succeeded += 1;
        } else {
            traffic.finished.failed += 1;
        }
    }

    /// The attempts finished since the last call.
    pub(crate) fn take_finished(&self) -> Round {
        std::mem::take(&mut self.traffic.lock().finished)
    }

    pub(crate) fn is_idle(&self) -> bool {
        let traffic = self.traffic.lock();
        traffic.in_flight.is_empty() && traffic.urgent.is_empty() && traffic.bulk.is_empty()
    }

    fn leave(self: &Arc<Self>, ticket: u64, now: Instant) {
        let mut grants = Vec::new();
        {
            let mut traffic = self.traffic.lock();
            traffic.finish(ticket, now);
            while traffic.in_flight.len() < traffic.limit(self.policy.max_in_flight, now) {
                let Some(waiter) = traffic
                    .urgent
                    .pop_front()
                    .or_else(|| traffic.bulk.pop_front())
                else {
                    break;
                };
                grants.push((waiter, traffic.start(self.begins(now))));
            }
        }
        // Outside the lock: a waiter that has given up drops its permit, which comes back here.
        for (waiter, ticket) in grants {
            let _gave_up = waiter.send(Permit {
                lane: Arc::clone(self),
                ticket,
            });
        }
    }
}

impl Traffic {
    fn limit(&self, configured: usize, now: Instant) -> usize {
        in_flight_limit(configured, self.oldest_age(now))
    }

    fn oldest_age(&self, now: Instant) -> Duration {
        let oldest = self.in_flight.first_key_value();
        oldest
            .map(|(_, start)| now.saturating_duration_since(*start))
            .unwrap_or_default()
    }

    fn start(&mut self, now: Instant) -> u64 {
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        self.in_flight.insert(ticket, now);
        ticket
    }

    fn finish(&mut self, ticket: u64, now: Instant) {
        if let Some(start) = self.in_flight.remove(&ticket) {
            let took = now.saturating_duration_since(start);
            self.service_time = (self.service_time * PAST_WEIGHT + took) / (PAST_WEIGHT + 1);
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.lane.leave(self.ticket, Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lane(max_in_flight: usize) -> Arc<Lane> {
        let policy = Policy {
            max_in_flight,
            ..Policy::of(&crate::lanes::tests::endpoint())
        };
        Arc::new(Lane::new(1, policy))
    }

    fn open(entry: Entry) -> Permit {
        match entry {
            Entry::Open(permit) => permit,
            other => panic!("{other:?}"),
        }
    }

    fn waiting(entry: Entry) -> oneshot::Receiver<Permit> {
        match entry {
            Entry::Wait(waiting) => waiting.granted,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn requests_in_flight_are_bounded_and_the_line_moves_up_urgent_first() {
        let (lane, now) = (lane(2), Instant::now());
        let first = open(lane.enter(false, now));
        let _second = open(lane.enter(false, now));
        let mut bulk = waiting(lane.enter(false, now));
        let extra: Vec<_> = (0..URGENT_EXTRA)
            .map(|_| open(lane.enter(true, now)))
            .collect();
        let mut urgent = waiting(lane.enter(true, now));
        drop(extra);
        assert!(urgent.try_recv().is_err() && bulk.try_recv().is_err());
        drop(first);
        let permit = urgent.try_recv().expect("urgent goes first");
        assert!(bulk.try_recv().is_err());
        drop(permit);
        assert!(bulk.try_recv().is_ok());
    }

    #[test]
    fn an_unanswering_endpoint_gets_few_requests_and_no_line() {
        let (lane, now) = (lane(64), Instant::now());
        let _hanging: Vec<_> = (0..10).map(|_| open(lane.enter(false, now))).collect();
        let now = now + Duration::from_secs(5);
        assert!(lane.is_stalled(now));
        assert!(matches!(lane.enter(false, now), Entry::Full));
        assert_eq!(lane.room(now), 0);
    }

    #[test]
    fn a_waiter_that_gives_up_passes_its_permit_on() {
        let (lane, now) = (lane(1), Instant::now());
        let first = open(lane.enter(false, now));
        let gave_up = waiting(lane.enter(false, now));
        let mut next = waiting(lane.enter(false, now));
        drop(gave_up);
        drop(first);
        assert!(next.try_recv().is_ok());
        assert!(lane.is_idle());
    }
}
