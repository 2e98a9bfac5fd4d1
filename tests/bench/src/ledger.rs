//! What was sent and what arrived, by number: one ledger a run, written by the generator and the
//! receiver, read when the run is over.

use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use crate::event::Marker;

/// Runs of one process, so that a straggler of an earlier one is known.
static RUNS: AtomicU32 = AtomicU32::new(1);

/// The events of one run, and their arrivals at each of `fan` endpoints.
#[derive(Debug)]
pub(crate) struct Ledger {
    run: u32,
    fan: usize,
    origin: Instant,
    /// Nanoseconds since `origin`; 0 means not yet.
    sent: Vec<AtomicU64>,
    arrived: Vec<AtomicU64>,
    arrivals: AtomicUsize,
    duplicates: AtomicUsize,
    strays: AtomicUsize,
}

impl Ledger {
    pub(crate) fn new(events: u32, fan: usize) -> Self {
        let slots = |count: usize| (0..count).map(|_| AtomicU64::new(0)).collect();
        Self {
            run: RUNS.fetch_add(1, Relaxed),
            fan,
            origin: Instant::now(),
            sent: slots(events as usize),
            arrived: slots(events as usize * fan),
            arrivals: AtomicUsize::new(0),
            duplicates: AtomicUsize::new(0),
            strays: AtomicUsize::new(0),
        }
    }

    pub(crate) const fn run(&self) -> u32 {
        self.run
    }

    pub(crate) fn events(&self) -> u32 {
        u32::try_from(self.sent.len()).expect("made from a u32")
    }

    fn clock(&self, at: Instant) -> u64 {
        u64::try_from((at - self.origin).as_nanos())
            .unwrap_or(u64::MAX)
            .max(1)
    }

    /// Notes that event `number` is about to be sent.
    pub(crate) fn sent(&self, number: u32, at: Instant) {
        self.sent[number as usize].store(self.clock(at), Relaxed);
    }

    /// Notes it unless the event was due to go earlier.
    pub(crate) fn sent_unless_noted(&self, number: u32, at: Instant) {
        let slot = &self.sent[number as usize];
        // A lost race would only mean that somebody noted it in the meantime.
        let _noted = slot.compare_exchange(0, self.clock(at), Relaxed, Relaxed);
    }

    /// Notes an arrival at the endpoint `endpoint` of `0..fan`.
    pub(crate) fn arrived(&self, marker: Option<Marker>, endpoint: usize, at: Instant) {
        let slot = marker
            .filter(|marker| marker.run == self.run && endpoint < self.fan)
            .and_then(|marker| {
                self.arrived
                    .get(marker.number as usize * self.fan + endpoint)
            });
        match slot {
            None => self.strays.fetch_add(1, Relaxed),
            Some(slot)
                if slot
                    .compare_exchange(0, self.clock(at), Relaxed, Relaxed)
                    .is_ok() =>
            {
                self.arrivals.fetch_add(1, Relaxed)
            }
            Some(_) => self.duplicates.fetch_add(1, Relaxed),
        };
    }

    /// Deliveries that arrived, without repetitions.
    pub(crate) fn arrivals(&self) -> usize {
        self.arrivals.load(Relaxed)
    }

    pub(crate) fn duplicates(&self) -> usize {
        self.duplicates.load(Relaxed)
    }

    /// Arrivals of other runs, or of nothing that is known.
    pub(crate) fn strays(&self) -> usize {
        self.strays.load(Relaxed)
    }

    /// Seconds from the first sending to the last arrival.
    pub(crate) fn span_s(&self) -> f64 {
        span_s(first(&self.sent), last(&self.arrived))
    }

    /// Seconds from the first arrival to the last.
    pub(crate) fn arrival_span_s(&self) -> f64 {
        span_s(first(&self.arrived), last(&self.arrived))
    }

    /// From `moment` to the first arrival.
    pub(crate) fn first_arrival_after(&self, moment: Instant) -> Option<Duration> {
        let first = first(&self.arrived)?;
        Some((self.origin + Duration::from_nanos(first)).saturating_duration_since(moment))
    }

    /// From sending to arrival, of the events that `wanted` names and that arrived.
    pub(crate) fn latencies(&self, wanted: impl Fn(u32) -> bool) -> Latencies {
        let of = |number: u32| {
            let sent = self.sent[number as usize].load(Relaxed);
            let slots = &self.arrived[number as usize * self.fan..][..self.fan];
            slots
                .iter()
                .map(|slot| slot.load(Relaxed))
                .filter(|at| *at > 0)
                .map(move |at| at.saturating_sub(sent))
        };
        Latencies::new(
            (0..self.events())
                .filter(|number| wanted(*number))
                .flat_map(of)
                .collect(),
        )
    }

    /// Deliveries of the events that `wanted` names which have not arrived.
    pub(crate) fn missing(&self, wanted: impl Fn(u32) -> bool) -> usize {
        (0..self.events())
            .filter(|number| wanted(*number))
            .flat_map(|number| &self.arrived[number as usize * self.fan..][..self.fan])
            .filter(|slot| slot.load(Relaxed) == 0)
            .count()
    }
}

fn first(times: &[AtomicU64]) -> Option<u64> {
    times
        .iter()
        .map(|time| time.load(Relaxed))
        .filter(|time| *time > 0)
        .min()
}

fn last(times: &[AtomicU64]) -> Option<u64> {
    times
        .iter()
        .map(|time| time.load(Relaxed))
        .max()
        .filter(|time| *time > 0)
}

fn span_s(from: Option<u64>, to: Option<u64>) -> f64 {
    match (from, to) {
        (Some(from), Some(to)) if to > from => (to - from) as f64 / 1e9,
        _ => f64::NAN,
    }
}

/// Latencies, sorted.
#[derive(Clone, Debug, Default)]
pub(crate) struct Latencies {
    nanoseconds: Vec<u64>,
}

impl Latencies {
    pub(crate) fn new(mut nanoseconds: Vec<u64>) -> Self {
        nanoseconds.sort_unstable();
        Self { nanoseconds }
    }

    pub(crate) fn count(&self) -> usize {
        self.nanoseconds.len()
    }

    /// The latency in milliseconds that `percent` of all do not exceed.
    pub(crate) fn percentile_ms(&self, percent: f64) -> f64 {
        let rank = (percent / 100.0 * self.nanoseconds.len() as f64).ceil() as usize;
        match self.nanoseconds.get(rank.saturating_sub(1)) {
            Some(nanoseconds) => *nanoseconds as f64 / 1e6,
            None => f64::NAN,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_delivery_counts_once() {
        let ledger = Ledger::new(2, 2);
        let now = Instant::now();
        let marker = Some(Marker {
            run: ledger.run(),
            number: 1,
        });
        ledger.arrived(marker, 0, now);
        ledger.arrived(marker, 0, now);
        ledger.arrived(marker, 1, now);
        ledger.arrived(marker, 2, now);
        ledger.arrived(
            Some(Marker {
                run: ledger.run() + 1,
                number: 1,
            }),
            0,
            now,
        );
        ledger.arrived(None, 0, now);
        assert_eq!(
            (ledger.arrivals(), ledger.duplicates(), ledger.strays()),
            (2, 1, 3)
        );
        assert_eq!(ledger.missing(|_| true), 2);
        assert_eq!(ledger.missing(|number| number == 1), 0);
    }

    #[test]
    fn percentiles_are_values_that_occurred() {
        let latencies = Latencies::new((1..=100).rev().map(|ms| ms * 1_000_000).collect());
        assert_eq!(latencies.percentile_ms(50.0), 50.0);
        assert_eq!(latencies.percentile_ms(99.0), 99.0);
        assert_eq!(latencies.percentile_ms(100.0), 100.0);
        assert!(Latencies::default().percentile_ms(50.0).is_nan());
    }
}
