use std::time::Duration;

use serde::Serialize;

/// How the delays of a retry schedule are lengthened at random, so that deliveries that failed
/// together do not come back together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Jitter {
    None,
    /// By at most a tenth of the delay.
    Tenth,
    /// By 0 to `steps_max` steps of `step_s` seconds.
    Steps {
        step_s: u32,
        steps_max: u32,
    },
}

impl Jitter {
    /// The most that `delay` is lengthened by.
    pub fn longest(self, delay: Duration) -> Duration {
        match self {
            Self::None => Duration::ZERO,
            Self::Tenth => delay / 10,
            Self::Steps { step_s, steps_max } => {
                Duration::from_secs(u64::from(step_s) * u64::from(steps_max))
            }
        }
    }
}
