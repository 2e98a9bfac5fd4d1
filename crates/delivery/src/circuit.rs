use std::time::Duration;

use model::Timestamp;

/// How long a circuit stays open before its first probe.
pub const PROBE_AFTER: Duration = Duration::from_secs(30);
/// Each failed probe doubles the time to the next one, up to this.
pub const PROBE_AFTER_MAX: Duration = Duration::from_secs(10 * 60);

/// An endpoint's circuit: closed lets traffic flow; after enough consecutive failures it opens and
/// only a probe goes out now and then; the first success closes it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Circuit {
    /// Failed attempts since the last success.
    pub failures: u32,
    pub state: CircuitState,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CircuitState {
    #[default]
    Closed,
    Open {
        /// When the next probe may go out.
        probe_at: Timestamp,
        /// How long it stayed open this time; doubles with every failed probe.
        open_for: Duration,
    },
    /// One probe is on its way. If nothing is heard of it by `lost_at`, another may go.
    HalfOpen {
        lost_at: Timestamp,
        open_for: Duration,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CircuitPolicy {
    /// Consecutive failures that open it; at least 1.
    pub open_after: u32,
}

/// Whether an attempt may be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    Flows,
    /// This attempt is the probe.
    Probe,
    /// Hold it; no probe before this time.
    Refused {
        probe_at: Timestamp,
    },
}

/// What an outcome did to the circuit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CircuitChange {
    None,
    /// It was closed and opened.
    Opened,
    /// The probe failed; it stays open, for longer.
    Reopened,
    Closed,
}

impl Circuit {
    /// Whether there was a failure since the last success, so that a success must be told to it.
    pub const fn is_troubled(&self) -> bool {
        self.failures > 0 || !matches!(self.state, CircuitState::Closed)
    }

    /// Asks to make an attempt. A probe not heard of within `lease` is taken for lost.
    pub fn admit(&mut self, now: Timestamp, lease: Duration) -> Admission {
        let (probe_at, open_for) = match self.state {
            CircuitState::Closed => return Admission::Flows,
            CircuitState::Open { probe_at, open_for } => (probe_at, open_for),
            CircuitState::HalfOpen { lost_at, open_for } => (lost_at, open_for),
        };
        if now < probe_at {
            return Admission::Refused { probe_at };
        }
        self.state = CircuitState::HalfOpen {
            lost_at: now.plus(lease),
            open_for,
        };
        Admission::Probe
    }

    /// Hears of a failed attempt; while half-open, of the failed probe.
    pub fn failed(&mut self, policy: CircuitPolicy, now: Timestamp) -> CircuitChange {
        if let CircuitState::HalfOpen { open_for, .. } = self.state {
            self.failures = self.failures.saturating_add(1);
            let open_for = (open_for * 2).min(PROBE_AFTER_MAX);
            self.state = CircuitState::Open {
                probe_at: now.plus(open_for),
                open_for,
            };
            return CircuitChange::Reopened;
        }
        self.straggler_failed(policy, now)
    }

    /// Hears of a failed attempt that is known not to be the probe. One that began before the
    /// circuit opened says nothing new: it neither ends the probing nor lengthens the time.
    pub fn straggler_failed(&mut self, policy: CircuitPolicy, now: Timestamp) -> CircuitChange {
        self.failures = self.failures.saturating_add(1);
        match self.state {
            CircuitState::Closed if self.failures >= policy.open_after => {
                let probe_at = now.plus(PROBE_AFTER);
                self.state = CircuitState::Open {
                    probe_at,
                    open_for: PROBE_AFTER,
                };
                CircuitChange::Opened
            }
            CircuitState::Closed | CircuitState::Open { .. } | CircuitState::HalfOpen { .. } => {
                CircuitChange::None
            }
        }
    }

    /// Hears of a success: whichever attempt it was, the endpoint is back.
    pub fn succeeded(&mut self) -> CircuitChange {
        let change = match self.state {
            CircuitState::Closed => CircuitChange::None,
            CircuitState::Open { .. } | CircuitState::HalfOpen { .. } => CircuitChange::Closed,
        };
        *self = Self::default();
        change
    }

    /// The probe was not made: another may go at once.
    pub fn released(&mut self, now: Timestamp) {
        if let CircuitState::HalfOpen { open_for, .. } = self.state {
            self.state = CircuitState::Open {
                probe_at: now,
                open_for,
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: CircuitPolicy = CircuitPolicy { open_after: 3 };
    const LEASE: Duration = Duration::from_secs(20);

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_seconds(seconds)
    }

    fn open(probe_at: i64, open_for: u64) -> CircuitState {
        CircuitState::Open {
            probe_at: at(probe_at),
            open_for: Duration::from_secs(open_for),
        }
    }

    fn half_open(lost_at: i64, open_for: u64) -> CircuitState {
        CircuitState::HalfOpen {
            lost_at: at(lost_at),
            open_for: Duration::from_secs(open_for),
        }
    }

    #[test]
    fn admits_by_state_and_time() {
        #[track_caller]
        fn check(state: CircuitState, now: i64, expected: Admission, becomes: CircuitState) {
            let mut circuit = Circuit { failures: 3, state };
            assert_eq!(circuit.admit(at(now), LEASE), expected);
            assert_eq!(
                circuit,
                Circuit {
                    failures: 3,
                    state: becomes
                }
            );
        }
        let refused = |probe_at| Admission::Refused {
            probe_at: at(probe_at),
        };
        check(
            CircuitState::Closed,
            5,
            Admission::Flows,
            CircuitState::Closed,
        );
        check(open(30, 30), 29, refused(30), open(30, 30));
        check(open(30, 30), 30, Admission::Probe, half_open(50, 30));
        check(half_open(50, 60), 49, refused(50), half_open(50, 60));
        check(half_open(50, 60), 50, Admission::Probe, half_open(70, 60));
    }

    #[test]
    fn a_failure_changes_it_by_its_state() {
        #[track_caller]
        fn check(
            failures: u32,
            state: CircuitState,
            expected: CircuitChange,
            becomes: CircuitState,
        ) {
            let mut circuit = Circuit { failures, state };
            assert_eq!(circuit.failed(POLICY, at(100)), expected);
            assert_eq!(
                circuit,
                Circuit {
                    failures: failures + 1,
                    state: becomes
                }
            );
        }
        check(
            1,
            CircuitState::Closed,
            CircuitChange::None,
            CircuitState::Closed,
        );
        check(
            2,
            CircuitState::Closed,
            CircuitChange::Opened,
            open(130, 30),
        );
        check(
            9,
            CircuitState::Closed,
            CircuitChange::Opened,
            open(130, 30),
        );
        check(3, open(110, 30), CircuitChange::None, open(110, 30));
        check(
            3,
            half_open(110, 30),
            CircuitChange::Reopened,
            open(160, 60),
        );
        check(
            3,
            half_open(110, 480),
            CircuitChange::Reopened,
            open(700, 600),
        );
        check(
            3,
            half_open(110, 600),
            CircuitChange::Reopened,
            open(700, 600),
        );
    }

    #[test]
    fn the_failure_of_an_attempt_begun_before_it_opened_does_not_lengthen_the_time() {
        for state in [open(110, 60), half_open(110, 60)] {
            let mut circuit = Circuit { failures: 3, state };
            assert_eq!(
                circuit.straggler_failed(POLICY, at(100)),
                CircuitChange::None
            );
            assert_eq!(circuit, Circuit { failures: 4, state });
        }
    }

    #[test]
    fn a_success_closes_it_and_forgets_the_failures() {
        #[track_caller]
        fn check(state: CircuitState, expected: CircuitChange) {
            let mut circuit = Circuit { failures: 2, state };
            assert_eq!(circuit.succeeded(), expected);
            assert_eq!(circuit, Circuit::default());
        }
        check(CircuitState::Closed, CircuitChange::None);
        check(open(30, 30), CircuitChange::Closed);
        check(half_open(30, 30), CircuitChange::Closed);
    }

    #[test]
    fn a_released_probe_lets_another_go_at_once() {
        let mut circuit = Circuit {
            failures: 3,
            state: half_open(110, 60),
        };
        circuit.released(at(100));
        assert_eq!(circuit.state, open(100, 60));
        assert_eq!(circuit.admit(at(100), LEASE), Admission::Probe);
    }

    #[test]
    fn a_release_means_nothing_unless_half_open() {
        for state in [CircuitState::Closed, open(110, 60)] {
            let mut circuit = Circuit { failures: 1, state };
            circuit.released(at(100));
            assert_eq!(circuit.state, state);
        }
    }
}
