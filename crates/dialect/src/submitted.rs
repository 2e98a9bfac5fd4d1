//! From a dialect's body to a submission: the canonical event is written as JSON and read as any
//! producer's would be, so that all its checks hold.

use std::borrow::Cow;

use model::{Environment, Submission, Timestamp};
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};

use crate::compact::Object;
use crate::data::text;
use crate::hmac_sha256::hex;
use crate::names::Names;
use crate::request::{ParseError, Received};

/// The members of a canonical event.
#[derive(Debug, Default)]
pub(crate) struct Submitted<'a> {
    pub(crate) id: Option<&'a str>,
    /// In the dialect's own names.
    pub(crate) name: &'a str,
    pub(crate) occurred_at: Option<&'a str>,
    pub(crate) environment: Option<&'a str>,
    pub(crate) product: Option<&'a str>,
    /// An object, as JSON.
    pub(crate) data: &'a [u8],
}

impl Submitted<'_> {
    pub(crate) fn submit(&self, names: &Names) -> Result<Submission, ParseError> {
        let event_type = names
            .canonical(self.name)
            .ok_or_else(|| ParseError::UnknownName(named(self.name)))?;
        let mut out = Vec::with_capacity(self.data.len() + 256);
        let mut members = Object::begin(&mut out);
        let id = self.event_id();
        for (name, value) in [
            ("id", id.as_deref()),
            ("type", Some(event_type)),
            ("occurred_at", self.occurred_at),
            ("environment", self.environment),
            ("product", self.product),
        ] {
            if let Some(value) = value {
                members.text(name, value);
            }
        }
        members.member("data").extend_from_slice(self.data);
        members.end();
        Ok(Submission::parse(&out)?)
    }

    /// The sender's id where it can be one of ours; else its digest, which is as much its own. An
    /// empty one tells nothing apart, so that what happened has to.
    fn event_id(&self) -> Option<Cow<'_, str>> {
        let id = self.id?;
        if id.is_empty() {
            let when = self.occurred_at.unwrap_or_default();
            let parts = [self.name.as_bytes(), when.as_bytes(), self.data];
            return Some(digest_id(&parts).into());
        }
        Some(match model::EventId::new(id) {
            Ok(_) => id.into(),
            Err(_) => digest_id(&[id.as_bytes()]).into(),
        })
    }
}

/// Characters of an unknown name that are repeated to the person who reads of it.
const NAME_SHOWN_MAX: usize = 64;

fn named(name: &str) -> String {
    name.chars()
        .filter(|character| !character.is_control())
        .take(NAME_SHOWN_MAX)
        .collect()
}

/// The id of an event whose sender gives none. The same body is the same event: for ever if it is
/// dated, else for as long as a sender may go on trying, and what happens again later is another.
pub(crate) fn body_id(received: &Received<'_>, is_dated: bool) -> String {
    let period = received.now.as_seconds().div_euclid(UNDATED_PERIOD_S);
    let period = period.to_be_bytes();
    match is_dated {
        true => digest_id(&[received.body]),
        false => digest_id(&[received.body, &period]),
    }
}

/// Longer than the retries of any sender whose bodies have neither id nor time: of those that one
/// boundary parts, the event comes twice.
const UNDATED_PERIOD_S: i64 = 6 * 60 * 60;

/// An id that follows from these parts, all of them.
pub(crate) fn digest_id(parts: &[&[u8]]) -> String {
    let mut hash = Sha256::new();
    for (index, part) in parts.iter().enumerate() {
        if index > 0 {
            hash.update([0]);
        }
        hash.update(part);
    }
    format!("sha256:{}", &hex(&hash.finalize())[..DIGEST_DIGITS])
}

const DIGEST_DIGITS: usize = 32;

/// A time whose form no document of the system states: what cannot be read is no time.
pub(crate) fn any_time(raw: Option<&RawValue>) -> Option<String> {
    let raw = raw?;
    let time = match raw.get().parse() {
        Ok(seconds) => rfc3339(seconds),
        Err(_) => text(raw)?.into_owned(),
    };
    time.parse::<Timestamp>().is_ok().then_some(time)
}

/// An environment in any spelling: what cannot be read is none.
pub(crate) fn any_environment(raw: Option<&RawValue>) -> Option<Environment> {
    text(raw?)?.to_ascii_lowercase().parse().ok()
}

/// Seconds since 1970 as RFC 3339.
pub(crate) fn rfc3339(seconds: i64) -> String {
    Timestamp::from_seconds(seconds).rfc3339(0)
}
