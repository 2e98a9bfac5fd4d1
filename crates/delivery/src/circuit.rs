use std::time::Duration;

use model::Timestamp;

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
    HalfOpen { lost_at: Timestamp, open_for: Duration },
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
    Refused { probe_at: Timestamp },
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
