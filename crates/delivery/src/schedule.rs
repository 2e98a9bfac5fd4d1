use std::time::Duration;

use model::Jitter;

/// The delays between the attempts of a delivery, each counted from the end of the failed
/// attempt. `n` delays make `n + 1` attempts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetrySchedule {
    pub delays: Vec<Duration>,
    pub jitter: Jitter,
    /// Answers after which the endpoint wants nothing more, ever.
    pub gone_statuses: &'static [u16],
}

impl RetrySchedule {
    /// The delay after the failed attempt at `position` (from 1); `None` if that was the last.
    pub fn delay_after(&self, position: u32) -> Option<Duration> {
        let index = usize::try_from(position.checked_sub(1)?).ok()?;
        self.delays.get(index).copied()
    }
}
