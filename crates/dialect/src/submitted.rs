//! From a dialect's body to a submission: the canonical event is written as JSON and read as any
//! producer's would be, so that all its checks hold.

use model::{Submission, Timestamp};

use crate::compact::Object;
use crate::hmac_sha256::hex;
use crate::names::Names;
use crate::request::ParseError;

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
        let id = self.id.map(event_id);
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
}

/// Characters of an unknown name that are repeated to the person who reads of it.
const NAME_SHOWN_MAX: usize = 64;

fn named(name: &str) -> String {
    name.chars()
        .filter(|character| !character.is_control())
        .take(NAME_SHOWN_MAX)
        .collect()
}

/// The sender's id where it can be one of ours; else its digest, which is as much its own.
fn event_id(id: &str) -> std::borrow::Cow<'_, str> {
    use sha2::{Digest as _, Sha256};
    match model::EventId::new(id) {
        Ok(_) => id.into(),
        Err(_) => digest_id(&Sha256::digest(id.as_bytes())).into(),
    }
}

/// The id of an event whose sender gives none: the same body is the same event.
pub(crate) fn body_id(body: &[u8]) -> String {
    use sha2::{Digest as _, Sha256};
    digest_id(&Sha256::digest(body))
}

fn digest_id(digest: &[u8]) -> String {
    format!("sha256:{}", hex(&digest[..16]))
}

/// Seconds since 1970 as RFC 3339.
pub(crate) fn rfc3339(seconds: i64) -> String {
    Timestamp::from_seconds(seconds).rfc3339(0)
}
