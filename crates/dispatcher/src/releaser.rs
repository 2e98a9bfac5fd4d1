//! Lets held deliveries go when there is room for them, in order.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::time::{Duration, Instant};

use broker::{Destination, Publication};
use bytes::Bytes;
use delivery::{Circuit, CircuitState, Ramp};
use model::{EndpointId, Timestamp, Work};
use parking_lot::Mutex;
use store::StoreError;
use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::Dispatcher;
use crate::lane::Lane;

/// How often the store is asked which endpoints have held deliveries, beside those this process
/// has held itself.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Endpoints with held deliveries looked after at a time.
const ENDPOINTS_MAX: u32 = 10_000;
/// The pause between two rounds of an endpoint that takes what it is given.
const ROUND_PAUSE: Duration = Duration::from_millis(10);
/// The pause where there is no room, or a dependency is away.
const FULL_PAUSE: Duration = Duration::from_millis(100);

/// The endpoints that have held deliveries, as far as this process knows.
#[derive(Debug, Default)]
pub(crate) struct Holding {
    endpoints: Mutex<HashMap<EndpointId, Held>>,
    changed: Notify,
}

/// What is known of one endpoint's held deliveries.
#[derive(Clone, Copy, Debug)]
struct Held {
    /// The next round is not before this.
    next_round: Instant,
    ramp: Ramp,
    /// What happened since the last round began.
    news: News,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum News {
    Nothing,
    /// Another delivery was held.
    Held,
    CircuitClosed,
}

impl Held {
    fn new(news: News, now: Instant) -> Self {
        Self {
            next_round: now,
            ramp: Ramp::default(),
            news,
        }
    }
}

impl Holding {
    pub(crate) fn contains(&self, endpoint: EndpointId) -> bool {
        self.endpoints.lock().contains_key(&endpoint)
    }

    /// Notes that the endpoint has held deliveries. They go when its next round comes: at once, if
    /// it had none.
    pub(crate) fn note_held(&self, endpoint: EndpointId, now: Instant) {
        match self.endpoints.lock().entry(endpoint) {
            Entry::Occupied(mut held) => {
                let held = held.get_mut();
                held.news = held.news.max(News::Held);
            }
            Entry::Vacant(vacant) => {
                vacant.insert(Held::new(News::Held, now));
                self.changed.notify_one();
            }
        }
    }

    /// The endpoint is back: what it has held goes from now on, slowly at first.
    pub(crate) fn circuit_closed(&self, endpoint: EndpointId, now: Instant) {
        let closed = Held::new(News::CircuitClosed, now);
        self.endpoints.lock().insert(endpoint, closed);
        self.changed.notify_one();
    }

    /// The endpoints whose round it is.
    fn begin_rounds(&self, now: Instant) -> Vec<(EndpointId, Ramp)> {
        let mut endpoints = self.endpoints.lock();
        let due = endpoints
            .iter_mut()
            .filter(|(_, held)| held.next_round <= now);
        due.map(|(endpoint, held)| {
            held.news = News::Nothing;
            (*endpoint, held.ramp)
        })
        .collect()
    }

    fn next_round(&self) -> Option<Instant> {
        self.endpoints
            .lock()
            .values()
            .map(|held| held.next_round)
            .min()
    }

    fn end_round(&self, endpoint: EndpointId, round: RoundEnd, now: Instant) {
        let mut endpoints = self.endpoints.lock();
        let Entry::Occupied(mut entry) = endpoints.entry(endpoint) else {
            return;
        };
        let held = entry.get_mut();
        match (held.news, round.left) {
            (News::CircuitClosed, Left::Some | Left::Nothing) => {}
            (News::Nothing, Left::Nothing) => {
                entry.remove();
            }
            (News::Held, Left::Nothing) | (News::Nothing | News::Held, Left::Some) => {
                // From when it was due, so that rounds do not slip by what each of them takes; but
                // there always is a pause.
                held.next_round = (held.next_round + round.pause).max(now + round.pause / 2);
                held.ramp = round.ramp;
            }
        }
    }
}

/// What a round of an endpoint came to.
#[derive(Clone, Copy, Debug)]
struct RoundEnd {
    left: Left,
    /// How long until the next.
    pause: Duration,
    ramp: Ramp,
}

/// Whether held deliveries are left, as far as the round can tell.
#[derive(Clone, Copy, Debug)]
enum Left {
    Some,
    Nothing,
}

/// The task that releases.
#[derive(Debug)]
pub struct Releaser {
    dispatcher: Arc<Dispatcher>,
    /// One deleted endpoint's deliveries are discarded at a time, beside the releases.
    discarding: Arc<Semaphore>,
}

impl Releaser {
    pub fn new(dispatcher: Arc<Dispatcher>) -> Self {
        Self {
            dispatcher,
            discarding: Arc::new(Semaphore::new(1)),
        }
    }

    pub async fn run(self, shutdown: CancellationToken) {
        shutdown.run_until_cancelled(self.release_for_ever()).await;
    }

    async fn release_for_ever(&self) {
        let holding = &self.dispatcher.holding;
        let mut look_at = Instant::now();
        loop {
            let wake = holding
                .next_round()
                .map_or(look_at, |round| round.min(look_at));
            tokio::select! {
                () = tokio::time::sleep_until(wake.into()) => {}
                () = holding.changed.notified() => {}
            }
            if look_at <= Instant::now() {
                self.look().await;
                look_at = Instant::now() + LOOK_EVERY;
            }
            let due = holding.begin_rounds(Instant::now());
            let circuits = self.circuits(&due).await;
            for ((endpoint, ramp), circuit) in due.into_iter().zip(circuits) {
                let end = self.round(endpoint, ramp, circuit).await;
                holding.end_round(endpoint, end, Instant::now());
            }
        }
    }

    async fn look(&self) {
        let parts = &self.dispatcher.parts;
        if parts.store_watch.is_away() {
            return;
        }
        match parts.store.endpoints_with_held(ENDPOINTS_MAX).await {
            Ok(endpoints) => {
                let now = Instant::now();
                for endpoint in endpoints {
                    self.dispatcher.holding.note_held(endpoint, now);
                }
            }
            Err(error) => parts.store_watch.failed(&error),
        }
    }

    async fn round(&self, id: EndpointId, ramp: Ramp, circuit: Circuit) -> RoundEnd {
        let directory = self.dispatcher.parts.directory.snapshot();
        let forget = RoundEnd {
            left: Left::Nothing,
            pause: LOOK_EVERY,
            ramp,
        };
        let Some(endpoint) = directory.endpoint(id) else {
            self.discard(id);
            return forget;
        };
        if !endpoint.is_active() {
            // Until it is active again: then the next look finds it.
            return forget;
        }
        let lane = self.dispatcher.lanes.of(endpoint);
        let ramp = ramp.after(lane.take_finished());
        let now = ambient::now();
        let closed = circuit.state == CircuitState::Closed;
        self.dispatcher.open_circuits.set(id, !closed);
        let (size, pause, ramp) = match self.allowance(circuit, &lane, ramp, now) {
            Allowance::None { after } => (0, after, ramp),
            Allowance::Probe => (1, FULL_PAUSE, Ramp::default()),
            Allowance::Some { size, after } => (size, after, ramp),
        };
        let (left, pause) = match self.release(id, size, now).await {
            Ok(released) if released < size => (Left::Nothing, pause),
            Ok(_) => (Left::Some, pause),
            Err(error) => {
                self.dispatcher.parts.store_watch.failed(&error);
                (Left::Some, LOOK_EVERY)
            }
        };
        RoundEnd { left, pause, ramp }
    }

    fn allowance(&self, circuit: Circuit, lane: &Lane, ramp: Ramp, now: Timestamp) -> Allowance {
        if self.dispatcher.parts.store_watch.is_away() {
            return Allowance::None { after: LOOK_EVERY };
        }
        match circuit.state {
            CircuitState::Closed => allowance_of_closed(lane, ramp),
            CircuitState::Open { probe_at, .. } if probe_at <= now => Allowance::Probe,
            CircuitState::Open { probe_at, .. } => Allowance::None {
                after: probe_at.since(now).min(LOOK_EVERY),
            },
            CircuitState::HalfOpen { .. } => Allowance::None { after: FULL_PAUSE },
        }
    }

    /// The circuits of those whose round it is; taken for closed while nobody knows.
    async fn circuits(&self, due: &[(EndpointId, Ramp)]) -> Vec<Circuit> {
        let endpoints: Vec<_> = due.iter().map(|(endpoint, _)| *endpoint).collect();
        let shared_state = &self.dispatcher.parts.shared_state;
        let circuits = shared_state.circuits(&endpoints).await;
        circuits.unwrap_or_else(|_| vec![Circuit::default(); endpoints.len()])
    }

    /// Discards what an endpoint still has, if it is deleted; what cannot be now comes up again.
    fn discard(&self, endpoint: EndpointId) {
        let parts = &self.dispatcher.parts;
        let Ok(permit) = Arc::clone(&self.discarding).try_acquire_owned() else {
            return;
        };
        let (store, watch) = (Arc::clone(&parts.store), Arc::clone(&parts.store_watch));
        tokio::spawn(async move {
            if let Err(error) = store.discard_unfinished(endpoint, ambient::now()).await {
                watch.failed(&error);
            }
            drop(permit);
        });
    }

    /// Releases up to `size`; answers how many there were. What the broker does not take is queued
    /// in the store, and the sweeper finds it.
    async fn release(
        &self,
        endpoint: EndpointId,
        size: u32,
        now: Timestamp,
    ) -> Result<u32, StoreError> {
        if size == 0 {
            return Ok(0);
        }
        let parts = &self.dispatcher.parts;
        let released = parts.store.release(endpoint, size, now).await?;
        let count = u32::try_from(released.len()).unwrap_or(u32::MAX);
        if released.is_empty() {
            return Ok(0);
        }
        parts.metrics.released.inc_by(count.into());
        let publications = released
            .into_iter()
            .map(|work| publication(work, true))
            .collect();
        if parts.broker.publish(publications).await.is_err() {
            parts.metrics.dependency_failed("broker");
        }
        Ok(count)
    }
}

/// `work` as a message that is due now.
pub(crate) fn publication(work: Work, released: bool) -> Publication {
    let work = Work { released, ..work };
    let to = Destination::Delivery {
        urgent: work.is_urgent(),
        due_at: None,
    };
    Publication {
        to,
        body: Bytes::from(work.to_json()),
    }
}

enum Allowance {
    None {
        after: Duration,
    },
    /// The circuit is open and wants to know whether the endpoint is back.
    Probe,
    Some {
        size: u32,
        after: Duration,
    },
}

fn allowance_of_closed(lane: &Lane, ramp: Ramp) -> Allowance {
    let room = u32::try_from(lane.room(Instant::now())).unwrap_or(u32::MAX);
    let (size, after) = match lane.policy.rate_per_minute {
        // A tenth of a second's worth every tenth of a second, at least one.
        Some(rate) => {
            let per_round = (rate / 600).max(1);
            let pause = Duration::from_secs(60) * per_round / rate;
            // One at a time must not come a moment early: it would wait for a whole pause again.
            let margin = if rate < 120 {
                pause / 50
            } else {
                Duration::ZERO
            };
            (per_round.min(ramp.size()), pause + margin)
        }
        None => (ramp.size(), ROUND_PAUSE),
    };
    match size.min(room) {
        0 => Allowance::None {
            after: FULL_PAUSE.min(after * 2),
        },
        size => Allowance::Some { size, after },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAUSE: Duration = Duration::from_millis(100);

    fn endpoint() -> EndpointId {
        EndpointId::from_u128(1)
    }

    fn ramped() -> Ramp {
        Ramp::default().after(delivery::Round {
            succeeded: 1,
            failed: 0,
        })
    }

    fn end(left: Left) -> RoundEnd {
        RoundEnd {
            left,
            pause: PAUSE,
            ramp: ramped(),
        }
    }

    #[test]
    fn what_is_held_meanwhile_neither_hastens_the_next_round_nor_slows_the_ramp() {
        let (holding, start) = (Holding::default(), Instant::now());
        holding.note_held(endpoint(), start);
        assert_eq!(holding.begin_rounds(start), [(endpoint(), Ramp::default())]);
        holding.end_round(endpoint(), end(Left::Some), start);
        for _ in 0..100 {
            holding.note_held(endpoint(), start);
        }
        assert_eq!(holding.begin_rounds(start), []);
        assert_eq!(holding.next_round(), Some(start + PAUSE));
        let due = holding.begin_rounds(start + PAUSE);
        assert_eq!(due, [(endpoint(), ramped())]);
    }

    #[test]
    fn rounds_do_not_slip_by_what_each_of_them_takes() {
        let (holding, start) = (Holding::default(), Instant::now());
        holding.note_held(endpoint(), start);
        holding.begin_rounds(start);
        holding.end_round(endpoint(), end(Left::Some), start + PAUSE / 10);
        assert_eq!(holding.next_round(), Some(start + PAUSE));
        let late = start + 5 * PAUSE;
        holding.begin_rounds(late);
        holding.end_round(endpoint(), end(Left::Some), late);
        let next = holding.next_round();
        assert_eq!(next, Some(late + PAUSE / 2), "and do not catch up");
    }

    #[test]
    fn an_endpoint_is_forgotten_unless_something_was_held_during_its_round() {
        let (holding, start) = (Holding::default(), Instant::now());
        holding.note_held(endpoint(), start);
        holding.begin_rounds(start);
        holding.note_held(endpoint(), start);
        holding.end_round(endpoint(), end(Left::Nothing), start);
        assert!(holding.contains(endpoint()));
        assert_eq!(holding.next_round(), Some(start + PAUSE));
        holding.begin_rounds(start + PAUSE);
        holding.end_round(endpoint(), end(Left::Nothing), start + PAUSE);
        assert!(!holding.contains(endpoint()));
    }

    #[test]
    fn a_circuit_that_closes_starts_the_ramp_anew_and_at_once() {
        let (holding, start) = (Holding::default(), Instant::now());
        holding.note_held(endpoint(), start);
        holding.begin_rounds(start);
        holding.circuit_closed(endpoint(), start);
        holding.note_held(endpoint(), start);
        holding.end_round(endpoint(), end(Left::Some), start);
        let due = holding.begin_rounds(start);
        assert_eq!(due, [(endpoint(), Ramp::default())]);
    }
}
