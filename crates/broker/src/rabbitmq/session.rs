use std::time::Duration;

use lapin::ErrorKind;
use lapin::protocol::{AMQPErrorKind, AMQPSoftError};

use crate::BrokerError;

const FIRST: Duration = Duration::from_millis(200);
const LONGEST: Duration = Duration::from_secs(2);

/// Waits between attempts: 200 ms, doubling to 2 s, each with jitter that shortens it.
#[derive(Debug)]
pub(super) struct Backoff {
    next: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { next: FIRST }
    }
}

impl Backoff {
    pub(super) async fn wait(&mut self) {
        let wait = self.next - ambient::random_below(self.next / 2);
        self.next = LONGEST.min(self.next * 2);
        tokio::time::sleep(wait).await;
    }
}

/// What the broker answered when it closed a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    NotFound,
    /// The user may not.
    AccessRefused,
    /// It exists with other properties.
    Differs,
}

/// Why the broker closed the channel, if it did for a reason that retrying does not mend.
pub(super) fn refusal(error: &lapin::Error) -> Option<Refusal> {
    let ErrorKind::ProtocolError(error) = error.kind() else {
        return None;
    };
    match error.kind() {
        AMQPErrorKind::Soft(AMQPSoftError::NOTFOUND) => Some(Refusal::NotFound),
        AMQPErrorKind::Soft(AMQPSoftError::ACCESSREFUSED) => Some(Refusal::AccessRefused),
        AMQPErrorKind::Soft(AMQPSoftError::PRECONDITIONFAILED) => Some(Refusal::Differs),
        AMQPErrorKind::Soft(_) | AMQPErrorKind::Hard(_) => None,
    }
}

/// The port's view of a client error.
pub(super) fn broker_error(error: lapin::Error) -> BrokerError {
    match refusal(&error) {
        Some(_) => BrokerError::Refused(error.to_string()),
        None => BrokerError::Unavailable {
            reason: "the connection failed".to_owned(),
            source: Some(Box::new(error)),
        },
    }
}

pub(super) fn unavailable(reason: impl Into<String>) -> BrokerError {
    BrokerError::Unavailable {
        reason: reason.into(),
        source: None,
    }
}
