use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use model::{Endpoint, Event, FieldError, Timestamp};
use secrecy::SecretString;

use crate::{Delivered, Profile, keyport, profile, standard};

/// A wire format with its habits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// Standard Webhooks 1.0.0.
    Standard,
    KeyPort,
}

/// A request, ready to be sent: the bytes that were signed are the bytes to send.
#[derive(Clone, Debug)]
pub struct Rendered {
    /// Includes `content-type`. Names in lower case, values visible ASCII.
    pub headers: Vec<(&'static str, String)>,
    pub body: Bytes,
}

/// Why an event could not be put on the wire; trying again does not help.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RenderError {
    #[error("the dialect has no name for this event type")]
    NotExpressible,
    #[error("no secret of the endpoint signs at this time")]
    NoSecret,
    #[error("the endpoint's secret is not one of its dialect: {0}")]
    BadSecret(&'static str),
    #[error("the event's data is not what its type promises: {0}")]
    BadData(&'static str),
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
    #[error("the timestamp is {0} s too old: tolerated are {tolerance} s", tolerance = standard::TOLERANCE_S)]
    TooOld(u64),
    #[error("the timestamp is {0} s too far ahead: tolerated are {tolerance} s", tolerance = standard::TOLERANCE_S)]
    TooNew(u64),
    #[error("signature mismatch: another secret, or the body was changed on its way")]
    SignatureMismatch,
    #[error("the secret given to verify with is not one of this dialect: {0}")]
    BadSecret(&'static str),
    #[error("the signature is right, but the body is not this dialect's: {0}")]
    BadBody(&'static str),
}

/// A request as it came in, to be verified.
pub(crate) struct Received<'a, 'h> {
    pub(crate) secret: &'a SecretString,
    pub(crate) headers: &'a dyn Fn(&str) -> Option<&'h str>,
    pub(crate) body: &'a [u8],
    pub(crate) now: Timestamp,
}

impl<'h> Received<'_, 'h> {
    pub(crate) fn header(&self, name: &'static str) -> Result<&'h str, VerifyError> {
        (self.headers)(name).ok_or(VerifyError::MissingHeader(name))
    }
}

/// What a dialect's module provides; the habits stand in [`Profile`].
pub(crate) struct Format {
    pub(crate) names: Names,
    pub(crate) render: fn(&Delivered<'_>, &str) -> Result<Rendered, RenderError>,
    pub(crate) verify: fn(&Received<'_, '_>) -> Result<Verified, VerifyError>,
    pub(crate) check_secret: fn(&str) -> Result<(), &'static str>,
}

/// How a dialect names events.
pub(crate) enum Names {
    /// By their canonical names, a tenant's own types included.
    Canonical,
    /// By its own names: all of them, and which one an event has, if any.
    Own {
        all: &'static [&'static str],
        of: fn(&Event) -> Option<&'static str>,
    },
}

impl Dialect {
    pub const ALL: &'static [Self] = &[Self::Standard, Self::KeyPort];

    pub(crate) const fn format(self) -> &'static Format {
        match self {
            Self::Standard => &standard::FORMAT,
            Self::KeyPort => &keyport::FORMAT,
        }
    }

    /// The habits of this dialect's senders.
    pub const fn profile(self) -> &'static Profile {
        match self {
            Self::Standard => &profile::STANDARD,
            Self::KeyPort => &profile::KEYPORT,
        }
    }

    pub const fn name(self) -> &'static str {
        self.profile().name
    }

    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL
            .iter()
            .copied()
            .find(|dialect| dialect.name() == name)
    }

    /// The dialect an endpoint speaks; `None` if this build does not know it.
    pub fn of(endpoint: &Endpoint) -> Option<Self> {
        Self::from_name(&endpoint.dialect)
    }

    /// What this dialect calls the event; `None` where it cannot express it.
    pub fn event_name<'a>(self, event: &'a Event) -> Option<Cow<'a, str>> {
        self.name_of(event).map(Cow::Borrowed)
    }

    pub(crate) fn name_of(self, event: &Event) -> Option<&str> {
        match &self.format().names {
            Names::Canonical => Some(event.event_type.as_str()),
            Names::Own { of, .. } => of(event),
        }
    }

    /// All event names of this dialect; where they are the canonical ones, without those that a
    /// tenant registered.
    pub fn event_names(self) -> Vec<&'static str> {
        match &self.format().names {
            Names::Canonical => model::CATALOG.iter().map(|entry| entry.name).collect(),
            Names::Own { all, .. } => all.to_vec(),
        }
    }

    /// Serializes the event once and signs those bytes.
    ///
    /// Every secret that signs at `now` does, where the dialect carries several signatures; else
    /// the oldest one does until its time is over, and then the next.
    pub fn render(self, delivered: &Delivered<'_>) -> Result<Rendered, RenderError> {
        let name = self
            .name_of(delivered.event)
            .ok_or(RenderError::NotExpressible)?;
        (self.format().render)(delivered, name)
    }

    /// Checks a received request as its receiver would, in constant time where a secret is
    /// involved. `headers` finds a header by its lower-case name.
    pub fn verify<'h>(
        self,
        secret: &SecretString,
        headers: &dyn Fn(&str) -> Option<&'h str>,
        body: &[u8],
        now: Timestamp,
    ) -> Result<Verified, VerifyError> {
        (self.format().verify)(&Received {
            secret,
            headers,
            body,
            now,
        })
    }

    /// Makes a secret that every HMAC dialect takes: `whsec_` and padded base64 of 32 bytes.
    pub fn generate_secret(random: [u8; 32]) -> SecretString {
        format!("{SECRET_PREFIX}{}", BASE64.encode(random)).into()
    }

    /// Whether a secret that somebody brings along can sign in this dialect.
    pub fn check_secret(self, secret: &str) -> Result<(), FieldError> {
        (self.format().check_secret)(secret).map_err(|detail| FieldError::new("/secret", detail))
    }
}

pub(crate) const SECRET_PREFIX: &str = "whsec_";
