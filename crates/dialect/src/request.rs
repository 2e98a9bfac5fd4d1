use bytes::Bytes;
use model::{Environment, Submission, SubmissionError, Timestamp};
use url::Url;

/// How far a request's timestamp may lie from the receiver's clock, in seconds.
pub const TOLERANCE_S: u64 = 5 * 60;

/// A request, ready to be sent: the bytes that were signed are the bytes to send.
#[derive(Clone, Debug)]
pub struct Rendered {
    /// Includes `content-type`. Names in lower case, values visible ASCII and spaces.
    pub headers: Vec<(&'static str, String)>,
    pub body: Bytes,
}

/// Why an event could not be put on the wire; trying again does not help.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RenderError {
    #[error("the dialect has no name for this event type")]
    NotExpressible,
    #[error("the dialect has no batches")]
    NoBatches,
    #[error("no secret of the endpoint signs at this time")]
    NoSecret,
    #[error("the tenant has no {0} key to sign with")]
    NoSigningKey(&'static str),
    #[error("the endpoint's secret is not one of its dialect: {0}")]
    BadSecret(&'static str),
    #[error("the endpoint's dialect_options are not those of its dialect")]
    BadOptions,
    #[error("the event's data is not what its type promises: {0}")]
    BadData(&'static str),
}

/// A request as it came in.
#[derive(Clone, Copy)]
pub struct Received<'a> {
    /// Path and query, as in the request line.
    pub target: &'a str,
    /// Where the sender was told to send it, if that is known: a proxy may have changed host and
    /// path on the way.
    pub url: Option<&'a Url>,
    /// Finds a header by its lower-case name.
    pub headers: &'a dyn Fn(&str) -> Option<&'a str>,
    pub body: &'a [u8],
    pub now: Timestamp,
}

/// What its receiver knows that a request does not say.
#[derive(Clone, Copy)]
pub struct Taker<'a> {
    /// Whether the tenant has an event type of this name.
    pub knows: &'a dyn Fn(&str) -> bool,
    /// Of events that name none.
    pub environment: Option<Environment>,
}

/// The events of a request, each read by itself: a bad one does not spoil the others.
pub type Submissions = Vec<Result<Submission, ParseError>>;

impl std::fmt::Debug for Taker<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Taker")
            .field("environment", &self.environment)
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Received<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Received")
            .field("body_bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}

/// What a receiver learns from a request that verifies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// Identifies the delivery: the same on every attempt, so that receivers drop duplicates.
    pub id: String,
    /// In the dialect's own names.
    pub event_type: String,
}

/// Why a request does not verify, in words for the person who reads it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    #[error("the header {0} is missing")]
    MissingHeader(&'static str),
    #[error("the header {header} is not {expected}")]
    BadHeader {
        header: &'static str,
        expected: &'static str,
    },
    #[error("the timestamp is {0} s too old: tolerated are {TOLERANCE_S} s")]
    TooOld(u64),
    #[error("the timestamp is {0} s too far ahead: tolerated are {TOLERANCE_S} s")]
    TooNew(u64),
    #[error("signature mismatch: another secret, or the body was changed on its way")]
    SignatureMismatch,
    #[error("the secret given to verify with is not one of this dialect: {0}")]
    BadSecret(&'static str),
    #[error("the signature is right, but the body is not this dialect's: {0}")]
    BadBody(&'static str),
    #[error("requests of this dialect carry no signature")]
    Unsigned,
}

/// Why a request that verifies is no event.
#[derive(Debug, thiserror::Error)]
pub enum ParseError {
    #[error("the body is not this dialect's: {0}")]
    BadBody(&'static str),
    #[error("the catalogue has no event for {0}")]
    UnknownName(String),
    #[error("the event in it is refused: {0}")]
    Refused(#[from] SubmissionError),
}

impl<'a> Received<'a> {
    pub(crate) fn header(&self, name: &'static str) -> Result<&'a str, VerifyError> {
        (self.headers)(name).ok_or(VerifyError::MissingHeader(name))
    }

    /// Whether a time of sending, in seconds since 1970, is one that replaying has not made stale.
    pub(crate) fn check_age(&self, sent_at: Timestamp) -> Result<(), VerifyError> {
        self.check_not_old(sent_at)?;
        match sent_at.since(self.now).as_secs() {
            ahead if ahead > TOLERANCE_S => Err(VerifyError::TooNew(ahead - TOLERANCE_S)),
            _ => Ok(()),
        }
    }

    /// The same, of senders whose clock may be ahead.
    pub(crate) fn check_not_old(&self, sent_at: Timestamp) -> Result<(), VerifyError> {
        match self.now.since(sent_at).as_secs() {
            behind if behind > TOLERANCE_S => Err(VerifyError::TooOld(behind - TOLERANCE_S)),
            _ => Ok(()),
        }
    }

    /// As [`Self::check_age`], of a header or member in whole seconds since 1970.
    pub(crate) fn check_unix_age(
        &self,
        header: &'static str,
        value: &str,
    ) -> Result<(), VerifyError> {
        let seconds = value.parse().map_err(|_| VerifyError::BadHeader {
            header,
            expected: "a time in whole seconds since 1970",
        })?;
        self.check_age(Timestamp::from_seconds(seconds))
    }
}
