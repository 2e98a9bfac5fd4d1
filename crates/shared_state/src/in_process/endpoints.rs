use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::atomic::{AtomicUsize, Ordering};

use delivery::{Circuit, CircuitChange, RateMeter};
use model::{EndpointId, Timestamp};
use parking_lot::Mutex;

use crate::CIRCUIT_KEPT;

/// How many endpoints' circuits and rates are remembered at most. Beyond that some endpoint is
/// forgotten: its circuit closes.
pub(crate) const ENDPOINTS_MAX: usize = 100_000;

const SHARDS: usize = 16;

/// Below this many endpoints in a shard, looking for forgettable ones is not worth it.
const SWEEP_AT_MIN: usize = 64;

/// What is known of an endpoint that has failed lately or has a rate limit.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct EndpointState {
    pub(crate) circuit: Circuit,
    pub(crate) rate: RateMeter,
}

#[derive(Debug)]
struct Known {
    state: EndpointState,
    heard_at: Timestamp,
}

#[derive(Debug)]
struct Shard {
    known: HashMap<EndpointId, Known>,
    sweep_at: usize,
}

/// Circuits and rates by endpoint. An endpoint that never fails and has no rate limit is not in it.
#[derive(Debug)]
pub(crate) struct Endpoints {
    shards: [Mutex<Shard>; SHARDS],
    /// How many circuits are troubled: with none, nobody needs to look.
    troubled: AtomicUsize,
    shard_max: usize,
}

impl Default for Endpoints {
    fn default() -> Self {
        Self::with_max(ENDPOINTS_MAX)
    }
}

impl Endpoints {
    fn with_max(max: usize) -> Self {
        Self {
            shards: Default::default(),
            troubled: AtomicUsize::new(0),
            shard_max: max / SHARDS,
        }
    }

    /// Whether the endpoint has not failed since its last success.
    pub(crate) fn is_untroubled(&self, endpoint: EndpointId) -> bool {
        self.troubled.load(Ordering::Relaxed) == 0 || !self.circuit(endpoint).is_troubled()
    }

    pub(crate) fn circuit(&self, endpoint: EndpointId) -> Circuit {
        let shard = self.shard(endpoint).lock();
        shard
            .known
            .get(&endpoint)
            .map(|known| known.state.circuit)
            .unwrap_or_default()
    }

    /// Runs `act` on what is known of the endpoint.
    pub(crate) fn with<R>(
        &self,
        endpoint: EndpointId,
        now: Timestamp,
        act: impl FnOnce(&mut EndpointState) -> R,
    ) -> R {
        let mut shard = self.shard(endpoint).lock();
        if shard.known.len() >= shard.sweep_at.min(self.shard_max)
            && !shard.known.contains_key(&endpoint)
        {
            let forgotten = shard.make_room(now, self.shard_max);
            self.troubled.fetch_sub(forgotten, Ordering::Relaxed);
        }
        let known = shard.known.entry(endpoint);
        let known = known.or_insert_with(|| Known {
            state: EndpointState::default(),
            heard_at: now,
        });
        let was_troubled = known.state.circuit.is_troubled();
        let result = act(&mut known.state);
        known.heard_at = now;
        match (was_troubled, known.state.circuit.is_troubled()) {
            (false, true) => self.troubled.fetch_add(1, Ordering::Relaxed),
            (true, false) => self.troubled.fetch_sub(1, Ordering::Relaxed),
            (true, true) | (false, false) => 0,
        };
        result
    }

    /// Closes the endpoint's circuit.
    pub(crate) fn forget_circuit(&self, endpoint: EndpointId) -> CircuitChange {
        let mut shard = self.shard(endpoint).lock();
        let Entry::Occupied(mut entry) = shard.known.entry(endpoint) else {
            return CircuitChange::None;
        };
        let state = &mut entry.get_mut().state;
        if state.circuit.is_troubled() {
            self.troubled.fetch_sub(1, Ordering::Relaxed);
        }
        let change = state.circuit.succeeded();
        if state.rate == RateMeter::default() {
            entry.remove();
        }
        change
    }

    /// The low bits of a ULID are random.
    fn shard(&self, endpoint: EndpointId) -> &Mutex<Shard> {
        let shard = endpoint.as_u128() % SHARDS as u128;
        &self.shards[usize::try_from(shard).expect("less than the number of shards")]
    }
}

impl Default for Shard {
    fn default() -> Self {
        Self {
            known: HashMap::new(),
            sweep_at: SWEEP_AT_MIN,
        }
    }
}

impl Shard {
    /// Forgets endpoints of which nothing is worth knowing any more, and one more if none was.
    /// Answers how many of the forgotten were troubled.
    fn make_room(&mut self, now: Timestamp, max: usize) -> usize {
        let mut troubled = 0;
        self.known.retain(|_, known| {
            let is_troubled = known.state.circuit.is_troubled();
            let is_recent = now.since(known.heard_at) < CIRCUIT_KEPT;
            let is_spent = known.state.rate.spent_until_us > now.as_micros();
            let kept = is_spent || (is_troubled && is_recent);
            troubled += usize::from(!kept && is_troubled);
            kept
        });
        if self.known.len() >= max
            && let Some(&unlucky) = self.known.keys().next()
            && let Some(known) = self.known.remove(&unlucky)
        {
            troubled += usize::from(known.state.circuit.is_troubled());
        }
        self.sweep_at = (2 * self.known.len()).max(SWEEP_AT_MIN);
        troubled
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use delivery::CircuitPolicy;

    use super::*;

    const START: Timestamp = Timestamp::from_seconds(1_776_254_400);
    const POLICY: CircuitPolicy = CircuitPolicy { open_after: 3 };

    /// Endpoints of one shard.
    fn endpoint(n: usize) -> EndpointId {
        EndpointId::new(START, u128::try_from(n * SHARDS).unwrap())
    }

    fn fail(endpoints: &Endpoints, n: usize, now: Timestamp) {
        endpoints.with(endpoint(n), now, |known| known.circuit.failed(POLICY, now));
    }

    fn known(endpoints: &Endpoints) -> usize {
        endpoints
            .shards
            .iter()
            .map(|shard| shard.lock().known.len())
            .sum()
    }

    fn troubled(endpoints: &Endpoints) -> usize {
        endpoints.troubled.load(Ordering::Relaxed)
    }

    #[test]
    fn no_more_endpoints_are_remembered_than_the_maximum() {
        let endpoints = Endpoints::with_max(SHARDS * 100);
        for n in 0..1_000 {
            fail(&endpoints, n, START);
        }
        assert_eq!((known(&endpoints), troubled(&endpoints)), (100, 100));
        assert!(!endpoints.is_untroubled(endpoint(999)));
    }

    #[test]
    fn a_success_or_a_day_of_silence_is_forgetting() {
        let endpoints = Endpoints::default();
        for n in 0..60 {
            fail(&endpoints, n, START);
        }
        endpoints.forget_circuit(endpoint(0));
        assert_eq!((known(&endpoints), troubled(&endpoints)), (59, 59));
        let day_after = START.plus(CIRCUIT_KEPT);
        for n in 100..200 {
            fail(&endpoints, n, day_after);
        }
        assert_eq!((known(&endpoints), troubled(&endpoints)), (100, 100));
    }

    #[test]
    fn unspent_rates_take_no_room() {
        let endpoints = Endpoints::default();
        for n in 0..10_000 {
            let now = START.plus(Duration::from_secs(u64::try_from(n).unwrap()));
            endpoints.with(endpoint(n), now, |known| known.rate.admit(5, now).unwrap());
        }
        assert!(known(&endpoints) <= SWEEP_AT_MIN);
        assert!(endpoints.is_untroubled(endpoint(0)));
    }
}
