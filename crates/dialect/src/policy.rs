use std::time::Duration;

use model::{Circuit, CircuitAction, Endpoint, FieldError, Jitter, OnExhausted, RateLimit, Retry};

use crate::{Batch, Dialect};

/// Requests in flight to one endpoint at most, unless it says otherwise.
pub const MAX_IN_FLIGHT_DEFAULT: usize = 64;
pub const IN_FLIGHT_MAX: u32 = 1_000;
pub const TIMEOUT_S_MIN: u32 = 1;
pub const TIMEOUT_S_MAX: u32 = 60;
/// Delays of a schedule at most.
pub const DELAYS_MAX: usize = 50;
pub const DELAY_S_MIN: u32 = 1;
pub const DELAY_S_MAX: u32 = 7 * 24 * 60 * 60;
pub const RATE_PER_SECOND_MAX: u32 = 10_000;
pub const OPEN_AFTER_MAX: u32 = 1_000;

/// How an endpoint is treated: its dialect's profile, and what it overrides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// From the end of each failed attempt to the next.
    pub schedule_delays: Vec<Duration>,
    pub jitter: Jitter,
    /// Answers that disable the endpoint.
    pub gone_statuses: &'static [u16],
    /// Of the whole exchange.
    pub timeout: Duration,
    /// Consecutive failed attempts after which the circuit opens.
    pub open_after: u32,
    pub circuit_action: CircuitAction,
    pub on_exhausted: OnExhausted,
    /// Deliveries in flight at most: with batches, several travel in one request.
    pub max_in_flight: usize,
    /// Requests in flight at most.
    pub requests_max: usize,
    /// Which events leave together, if any do.
    pub batch: Option<Batch>,
    /// `None`: as fast as it takes them.
    pub rate_per_minute: Option<u32>,
}

impl Policy {
    /// How long an attempt takes at most; in a batch, with gathering and waiting for a request.
    pub fn exchange_max(&self) -> Duration {
        let gathering = self.batch.map_or(Duration::ZERO, |batch| {
            self.request_wait_max() + Duration::from_millis(batch.max_wait_ms.into())
        });
        gathering + self.timeout
    }

    /// How long what travels in batches may wait for a request: as long as one takes at most.
    pub const fn request_wait_max(&self) -> Duration {
        self.timeout
    }

    /// The policy of an endpoint. One whose dialect this build does not know is treated as one
    /// of the default dialect: its deliveries cannot be rendered, but still end on a schedule.
    pub fn of(endpoint: &Endpoint) -> Self {
        let profile = Dialect::of(endpoint).unwrap_or(Dialect::DEFAULT).profile();
        let delays_s = endpoint
            .retry
            .as_ref()
            .map_or(profile.delays_s, |retry| &retry.delays_s);
        let seconds = |s: &u32| Duration::from_secs(u64::from(*s));
        let circuit = endpoint.circuit.unwrap_or(Circuit {
            open_after: None,
            action: None,
        });
        let max_in_flight = endpoint
            .max_in_flight
            .map(usize::try_from)
            .and_then(Result::ok);
        let requests_max = max_in_flight.unwrap_or(MAX_IN_FLIGHT_DEFAULT).max(1);
        let batch = Dialect::of(endpoint).and_then(|dialect| dialect.batch(endpoint));
        Self {
            schedule_delays: delays_s.iter().map(seconds).collect(),
            jitter: match (profile.jitter, &endpoint.retry) {
                // The steps are for the dialect's own delays.
                (Jitter::Steps { .. }, Some(_)) => Jitter::Tenth,
                (jitter, _) => jitter,
            },
            gone_statuses: profile.gone_statuses,
            timeout: seconds(&endpoint.timeout_s.unwrap_or(profile.timeout_s)),
            open_after: circuit.open_after.unwrap_or(profile.open_after).max(1),
            circuit_action: circuit.action.unwrap_or(profile.circuit_action),
            on_exhausted: endpoint.on_exhausted.unwrap_or(profile.on_exhausted),
            max_in_flight: batch.map_or(requests_max, |batch| batched_max(batch, requests_max)),
            requests_max,
            batch,
            rate_per_minute: endpoint.rate_per_minute(),
        }
    }
}

/// Deliveries in flight where they travel in batches: enough to fill one while others are under
/// way, as far as others can be.
fn batched_max(batch: Batch, requests_max: usize) -> usize {
    let batches = requests_max.saturating_add(1).min(4);
    usize::try_from(batch.max_events).map_or(usize::MAX, |events| events * batches)
}

/// What an endpoint wants otherwise than its dialect, before it is checked.
#[derive(Clone, Copy, Debug, Default)]
pub struct Overrides<'a> {
    pub retry: Option<&'a Retry>,
    pub timeout_s: Option<u32>,
    pub rate_limit: Option<RateLimit>,
    pub max_in_flight: Option<u32>,
    pub circuit: Option<Circuit>,
}

impl<'a> From<&'a Endpoint> for Overrides<'a> {
    fn from(endpoint: &'a Endpoint) -> Self {
        Self {
            retry: endpoint.retry.as_ref(),
            timeout_s: endpoint.timeout_s,
            rate_limit: endpoint.rate_limit,
            max_in_flight: endpoint.max_in_flight,
            circuit: endpoint.circuit,
        }
    }
}

/// Holds each override to its bounds; every one that is outside is named.
pub fn check_policy(overrides: &Overrides<'_>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let mut check = |pointer: &str, value: Option<u32>, min: u32, max: u32| {
        if value.is_some_and(|value| !(min..=max).contains(&value)) {
            errors.push(FieldError::new(pointer, format!("must be {min} to {max}")));
        }
    };
    let circuit = overrides.circuit.and_then(|circuit| circuit.open_after);
    check(
        "/timeout_s",
        overrides.timeout_s,
        TIMEOUT_S_MIN,
        TIMEOUT_S_MAX,
    );
    check("/max_in_flight", overrides.max_in_flight, 1, IN_FLIGHT_MAX);
    let rate = overrides.rate_limit.map(|rate| rate.per_second);
    check("/rate_limit/per_second", rate, 1, RATE_PER_SECOND_MAX);
    check("/circuit/open_after", circuit, 1, OPEN_AFTER_MAX);
    let delays_s = overrides.retry.map_or(&[][..], |retry| &retry.delays_s);
    for (index, delay_s) in delays_s.iter().enumerate().take(DELAYS_MAX) {
        check(
            &format!("/retry/delays_s/{index}"),
            Some(*delay_s),
            DELAY_S_MIN,
            DELAY_S_MAX,
        );
    }
    if delays_s.len() > DELAYS_MAX {
        let detail = format!("must have at most {DELAYS_MAX} delays");
        errors.push(FieldError::new("/retry/delays_s", detail));
    }
    errors
}
