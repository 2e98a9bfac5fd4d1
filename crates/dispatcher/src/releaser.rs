//! Lets held deliveries go when there is room for them, in order.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use broker::{Destination, Publication};
use bytes::Bytes;
use delivery::{Circuit, CircuitState, Ramp};
use model::{Endpoint, EndpointId, Timestamp, Work};
use parking_lot::Mutex;
use store::StoreError;
use tokio::sync::Notify;
use tokio::time::Instant;
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
}

impl Holding {
    pub(crate) fn contains(&self, endpoint: EndpointId) -> bool {
        self.endpoints.lock().contains_key(&endpoint)
    }

    /// Notes that the endpoint has held deliveries, and that it is time to look at them.
    pub(crate) fn look_at(&self, endpoint: EndpointId) {
        let now = Instant::now();
        let mut endpoints = self.endpoints.lock();
        let fresh = Held {
            next_round: now,
            ramp: Ramp::default(),
        };
        if endpoints.insert(endpoint, fresh).is_none() {
            self.changed.notify_one();
        }
    }

    fn due(&self, now: Instant) -> Vec<(EndpointId, Ramp)> {
        let endpoints = self.endpoints.lock();
        let due = endpoints.iter().filter(|(_, held)| held.next_round <= now);
        due.map(|(endpoint, held)| (*endpoint, held.ramp)).collect()
    }

    fn next_round(&self) -> Option<Instant> {
        self.endpoints
            .lock()
            .values()
            .map(|held| held.next_round)
            .min()
    }

    fn after_round(&self, endpoint: EndpointId, round: RoundEnd) {
        let mut endpoints = self.endpoints.lock();
        match round {
            RoundEnd::Again { after, ramp } => {
                let next_round = Instant::now() + after;
                endpoints.insert(endpoint, Held { next_round, ramp });
            }
            RoundEnd::NothingHeld => {
                endpoints.remove(&endpoint);
            }
        }
    }
}

enum RoundEnd {
    Again { after: Duration, ramp: Ramp },
    NothingHeld,
}

/// The task that releases.
#[derive(Debug)]
pub struct Releaser {
    dispatcher: Arc<Dispatcher>,
}

impl Releaser {
    pub fn new(dispatcher: Arc<Dispatcher>) -> Self {
        Self { dispatcher }
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
                () = tokio::time::sleep_until(wake) => {}
                () = holding.changed.notified() => {}
            }
            if look_at <= Instant::now() {
                self.look().await;
                look_at = Instant::now() + LOOK_EVERY;
            }
            for (endpoint, ramp) in holding.due(Instant::now()) {
                let end = self.round(endpoint, ramp).await;
                holding.after_round(endpoint, end);
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
                for endpoint in endpoints {
                    if !self.dispatcher.holding.contains(endpoint) {
                        self.dispatcher.holding.look_at(endpoint);
                    }
                }
            }
            Err(error) => parts.store_watch.failed(&error),
        }
    }

    async fn round(&self, id: EndpointId, ramp: Ramp) -> RoundEnd {
        let directory = self.dispatcher.parts.directory.snapshot();
        let Some(endpoint) = directory
            .endpoint(id)
            .filter(|endpoint| endpoint.is_active())
        else {
            // Forgotten until it is active again: then the next look finds it.
            return RoundEnd::NothingHeld;
        };
        let lane = self.dispatcher.lanes.of(endpoint);
        let ramp = ramp.after(lane.take_finished());
        let now = ambient::now();
        let pause = |after| RoundEnd::Again { after, ramp };
        match self.allowance(endpoint, &lane, ramp, now).await {
            Allowance::None { after } => pause(after),
            Allowance::Probe => match self.release(id, 1, now).await {
                Ok(0) => RoundEnd::NothingHeld,
                Ok(_) => RoundEnd::Again {
                    after: FULL_PAUSE,
                    ramp: Ramp::default(),
                },
                Err(error) => self.put_off(&error, ramp),
            },
            Allowance::Some { size, after } => match self.release(id, size, now).await {
                Ok(released) if released < size => RoundEnd::NothingHeld,
                Ok(_) => pause(after),
                Err(error) => self.put_off(&error, ramp),
            },
        }
    }

    fn put_off(&self, error: &StoreError, ramp: Ramp) -> RoundEnd {
        self.dispatcher.parts.store_watch.failed(error);
        RoundEnd::Again {
            after: LOOK_EVERY,
            ramp,
        }
    }

    async fn allowance(
        &self,
        endpoint: &Endpoint,
        lane: &Lane,
        ramp: Ramp,
        now: Timestamp,
    ) -> Allowance {
        if self.dispatcher.parts.store_watch.is_away() {
            return Allowance::None { after: LOOK_EVERY };
        }
        let circuit = self.circuit(endpoint.id).await;
        let closed = circuit.state == CircuitState::Closed;
        self.dispatcher.open_circuits.set(endpoint.id, !closed);
        match circuit.state {
            CircuitState::Closed => allowance_of_closed(lane, ramp),
            CircuitState::Open { probe_at, .. } if probe_at <= now => Allowance::Probe,
            CircuitState::Open { probe_at, .. } => Allowance::None {
                after: probe_at.since(now).min(LOOK_EVERY),
            },
            CircuitState::HalfOpen { .. } => Allowance::None { after: FULL_PAUSE },
        }
    }

    async fn circuit(&self, endpoint: EndpointId) -> Circuit {
        let circuits = self
            .dispatcher
            .parts
            .shared_state
            .circuits(&[endpoint])
            .await;
        circuits
            .ok()
            .and_then(|circuits| circuits.first().copied())
            .unwrap_or_default()
    }

    /// Releases up to `size`; answers how many there were. What the broker does not take is queued
    /// in the store, and the sweeper finds it.
    async fn release(
        &self,
        endpoint: EndpointId,
        size: u32,
        now: Timestamp,
    ) -> Result<u32, StoreError> {
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
    let room = u32::try_from(lane.room(std::time::Instant::now())).unwrap_or(u32::MAX);
    let (size, after) = match lane.policy.rate_per_minute {
        // A tenth of a second's worth every tenth of a second, at least one.
        Some(rate) => {
            let per_round = (rate / 600).max(1);
            (
                per_round.min(ramp.size()),
                Duration::from_secs(60) * per_round / rate,
            )
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
