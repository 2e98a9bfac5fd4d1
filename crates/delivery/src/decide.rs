use std::time::Duration;

use model::{Outcome, Timestamp};

use crate::RetrySchedule;

/// How far `Retry-After` can postpone the next attempt.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// What follows an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    Delivered,
    RetryAt(Timestamp),
    /// That was the last attempt of the schedule.
    Exhausted,
    /// 410: the endpoint wants nothing more, ever.
    Gone,
}

/// Decides what follows the attempt at `position` of its schedule (from 1), which ended `now`.
///
/// A `Retry-After` on 429 or 503 can only postpone, and by no more than [`RETRY_AFTER_MAX`].
/// `spread` is the jitter the caller drew; it lengthens the delay by at most a tenth.
pub fn decide(
    outcome: Outcome,
    position: u32,
    schedule: &RetrySchedule,
    spread: Duration,
    now: Timestamp,
) -> Next {
    let hint = match outcome {
        Outcome::Answered { status: 200..=299, .. } => return Next::Delivered,
        Outcome::Answered { status: 410, .. } => return Next::Gone,
        Outcome::Answered { status: 429 | 503, retry_after } => retry_after,
        Outcome::Answered { .. } | Outcome::Unanswered(_) => None,
    };
    let Some(delay) = schedule.delay_after(position) else {
        return Next::Exhausted;
    };
    let delay = delay + spread.min(delay / 10);
    let hint = hint.unwrap_or_default().min(RETRY_AFTER_MAX);
    Next::RetryAt(now.plus(delay.max(hint)))
}
