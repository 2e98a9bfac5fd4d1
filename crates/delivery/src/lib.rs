//! What happens next: from an attempt's outcome to the delivery's next step, retry schedules, the
//! circuit of an endpoint, its rate, who may wait in line, how the held are released. No IO, no
//! clock, no randomness, nothing async: values in, one enum out.
//!
//! ```
//! use std::time::Duration;
//!
//! use delivery::{Next, RetrySchedule, decide};
//! use model::{Jitter, Outcome, Timestamp};
//!
//! let schedule = RetrySchedule {
//!     delays: vec![Duration::from_secs(60)],
//!     jitter: Jitter::None,
//!     gone_statuses: &[410],
//! };
//! let refused = Outcome::Answered { status: 500, retry_after: None };
//! let now = Timestamp::from_seconds(1_776_254_400);
//! let next = decide(refused, 1, &schedule, Duration::ZERO, now);
//! assert_eq!(next, Next::RetryAt(now.plus(Duration::from_secs(60))));
//! assert_eq!(decide(refused, 2, &schedule, Duration::ZERO, now), Next::Exhausted);
//! ```

mod admission;
mod circuit;
mod decide;
mod rate;
mod release;
mod schedule;

pub use admission::{
    LineLoad, STALLED_AFTER, STALLED_IN_FLIGHT_MAX, WAIT_MAX, in_flight_limit, line_admits,
};
pub use circuit::{
    Admission, Circuit, CircuitChange, CircuitPolicy, CircuitState, PROBE_AFTER, PROBE_AFTER_MAX,
};
pub use decide::{Next, RETRY_AFTER_MAX, decide};
pub use rate::{RATE_PER_MINUTE_MAX, RateMeter};
pub use release::{RELEASE_MAX, Ramp, Round};
pub use schedule::RetrySchedule;
