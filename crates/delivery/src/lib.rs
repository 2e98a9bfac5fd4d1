//! What happens next: from an attempt's outcome to the delivery's next step, retry schedules, the
//! circuit of an endpoint. No IO, no clock, no randomness, nothing async: values in, one enum out.

mod circuit;
mod decide;
mod schedule;

pub use circuit::{Admission, Circuit, CircuitChange, CircuitPolicy, CircuitState};
pub use decide::{Next, RETRY_AFTER_MAX, decide};
pub use schedule::RetrySchedule;
