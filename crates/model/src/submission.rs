use std::sync::Arc;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{
    Environment, Event, EventId, EventLimits, EventType, FieldError, LicenseId, TenantId,
    Timestamp, TimestampError, TraceParent, json,
};

/// The largest event, as JSON, in bytes.
pub const EVENT_BYTES_MAX: usize = 256 * 1024;

/// An event as a producer submits it: read and checked, not yet accepted.
#[derive(Clone, Debug)]
pub struct Submission {
    pub id: Option<EventId>,
    pub event_type: EventType,
    pub occurred_at: Option<Timestamp>,
    /// `None` means production.
    pub environment: Option<Environment>,
    pub product: Option<String>,
    pub license: Option<LicenseId>,
    /// The trace it was published in.
    pub trace: Option<TraceParent>,
    pub data: Arc<RawValue>,
}

/// Why a submission is refused whole.
#[derive(Debug, thiserror::Error)]
pub enum SubmissionError {
    #[error("larger than 256 KiB")]
    TooLarge,
    /// Not JSON that every receiver reads alike.
    #[error("{}", .0.detail)]
    Malformed(FieldError),
    /// JSON, but not an event: every member that is wrong.
    #[error("{}", summary(.0))]
    Invalid(Vec<FieldError>),
}

fn summary(errors: &[FieldError]) -> String {
    let parts: Vec<_> = errors
        .iter()
        .map(|error| format!("{}: {}", error.pointer, error.detail))
        .collect();
    parts.join("; ")
}

impl Submission {
    /// Reads a canonical event.
    pub fn parse(body: &[u8]) -> Result<Self, SubmissionError> {
        Self::parse_within(body, EventLimits::SUBMITTED)
    }

    pub(crate) fn parse_within(body: &[u8], limits: EventLimits) -> Result<Self, SubmissionError> {
        let members: CanonicalMembers<'_> = read_members(body, limits)?;
        let mut errors = Vec::new();
        let submission = members.check(&mut errors);
        match submission {
            Some(submission) if errors.is_empty() => Ok(submission),
            _ => Err(SubmissionError::Invalid(errors)),
        }
    }

    /// The event this becomes when it is accepted at `now`; `random` makes its id if it has none.
    pub fn into_event(self, tenant: TenantId, now: Timestamp, random: u128) -> Event {
        Event {
            tenant,
            id: self.id.unwrap_or_else(|| EventId::generate(now, random)),
            event_type: self.event_type,
            occurred_at: self.occurred_at.unwrap_or(now),
            accepted_at: now,
            environment: self.environment.unwrap_or_default(),
            product: self.product,
            license: self.license,
            sequence: None,
            data: self.data,
        }
    }
}

/// Checks size and form, then reads the top-level members, each still unparsed.
pub(crate) fn read_members<'a, T: Deserialize<'a>>(
    body: &'a [u8],
    limits: EventLimits,
) -> Result<T, SubmissionError> {
    check(body, limits)?;
    if body.iter().find(|byte| !byte.is_ascii_whitespace()) != Some(&b'{') {
        return Err(SubmissionError::Malformed(FieldError::new(
            "",
            "must be a JSON object",
        )));
    }
    serde_json::from_slice(body).map_err(|error| {
        SubmissionError::Invalid(vec![FieldError::new("", without_position(&error))])
    })
}

/// Checks size and form.
pub(crate) fn check(body: &[u8], limits: EventLimits) -> Result<(), SubmissionError> {
    if body.len() > limits.bytes_max {
        return Err(SubmissionError::TooLarge);
    }
    json::check(body, limits.depth_max).map_err(SubmissionError::Malformed)
}

fn without_position(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.split(" at line ").next().unwrap_or(&text).to_owned()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CanonicalMembers<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow, rename = "type")]
    event_type: Option<&'a RawValue>,
    #[serde(borrow)]
    occurred_at: Option<&'a RawValue>,
    #[serde(borrow)]
    environment: Option<&'a RawValue>,
    #[serde(borrow)]
    product: Option<&'a RawValue>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

impl CanonicalMembers<'_> {
    fn check(self, errors: &mut Vec<FieldError>) -> Option<Submission> {
        let id = optional(self.id, "/id", errors);
        let event_type = required(self.event_type, "/type", errors);
        let occurred_at = optional(self.occurred_at, "/occurred_at", errors);
        let occurred_at = occurred_at.map(|OccurredAt(at)| at);
        let environment = optional(self.environment, "/environment", errors);
        let product = product(self.product, errors);
        let license = license(self.data, "/data", errors);
        Some(Submission {
            id,
            event_type: event_type?,
            occurred_at,
            environment,
            product,
            license,
            trace: None,
            data: object(self.data, "/data", errors)?,
        })
    }
}

/// A member that may be absent or null, parsed from its text.
pub(crate) fn optional<T: std::str::FromStr<Err: std::fmt::Display>>(
    raw: Option<&RawValue>,
    pointer: &str,
    errors: &mut Vec<FieldError>,
) -> Option<T> {
    let text = text(raw?, pointer, errors)?;
    text.parse()
        .map_err(|error: T::Err| errors.push(FieldError::new(pointer, error.to_string())))
        .ok()
}

pub(crate) fn required<T: std::str::FromStr<Err: std::fmt::Display>>(
    raw: Option<&RawValue>,
    pointer: &str,
    errors: &mut Vec<FieldError>,
) -> Option<T> {
    match raw.filter(|raw| raw.get() != "null") {
        Some(raw) => optional(Some(raw), pointer, errors),
        None => {
            errors.push(FieldError::new(pointer, "is required"));
            None
        }
    }
}

fn text(raw: &RawValue, pointer: &str, errors: &mut Vec<FieldError>) -> Option<String> {
    if raw.get() == "null" {
        return None;
    }
    serde_json::from_str(raw.get())
        .map_err(|_| errors.push(FieldError::new(pointer, "must be a string")))
        .ok()
}

/// When an event occurred: not before 1970, since dialects write the seconds since then.
pub(crate) struct OccurredAt(pub(crate) Timestamp);

impl std::str::FromStr for OccurredAt {
    type Err = TimestampError;

    fn from_str(text: &str) -> Result<Self, TimestampError> {
        let at: Timestamp = text.parse()?;
        if at < Timestamp::EPOCH {
            return Err(TimestampError::BeforeEpoch);
        }
        Ok(Self(at))
    }
}

/// Products are free texts of at most this many bytes.
const PRODUCT_BYTES_MAX: usize = 256;

pub(crate) fn product(raw: Option<&RawValue>, errors: &mut Vec<FieldError>) -> Option<String> {
    let product = text(raw?, "/product", errors)?;
    errors.extend(check_product(&product).err());
    Some(product)
}

/// Whether a text can be an event's product.
pub fn check_product(product: &str) -> Result<(), FieldError> {
    let fits = !product.is_empty() && product.len() <= PRODUCT_BYTES_MAX;
    if fits && !product.chars().any(char::is_control) {
        return Ok(());
    }
    let detail = "must be 1 to 256 bytes without control characters";
    Err(FieldError::new("/product", detail))
}

/// `data`, which must be an object.
pub(crate) fn object(
    raw: Option<&RawValue>,
    pointer: &str,
    errors: &mut Vec<FieldError>,
) -> Option<Arc<RawValue>> {
    match raw {
        Some(raw) if raw.get().starts_with('{') => Some(Arc::from(raw.to_owned())),
        Some(_) => {
            errors.push(FieldError::new(pointer, "must be an object"));
            None
        }
        None => {
            errors.push(FieldError::new(pointer, "is required"));
            None
        }
    }
}

/// The license an event belongs to: `license.id` within `data`, if `data` has it.
pub(crate) fn license(
    data: Option<&RawValue>,
    pointer: &str,
    errors: &mut Vec<FieldError>,
) -> Option<LicenseId> {
    #[derive(Deserialize)]
    struct Data<'a> {
        #[serde(borrow)]
        license: Option<&'a RawValue>,
    }
    #[derive(Deserialize)]
    struct License<'a> {
        #[serde(borrow)]
        id: Option<&'a RawValue>,
    }
    let data: Data<'_> = serde_json::from_str(data?.get()).ok()?;
    let license = data.license.filter(|license| license.get() != "null")?;
    let Ok(license) = serde_json::from_str::<License<'_>>(license.get()) else {
        errors.push(FieldError::new(
            format!("{pointer}/license"),
            "must be an object",
        ));
        return None;
    };
    optional(license.id, &format!("{pointer}/license/id"), errors)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn invalid(body: &str, at: &str) {
        match Submission::parse(body.as_bytes()) {
            Err(SubmissionError::Invalid(errors)) => {
                assert!(
                    errors.iter().any(|error| error.pointer == at),
                    "{body}: {errors:?}"
                );
            }
            other => panic!("{body}: {other:?}"),
        }
    }

    #[test]
    fn each_wrong_member_is_named() {
        invalid(r#"{"data":{}}"#, "/type");
        invalid(r#"{"type":null,"data":{}}"#, "/type");
        invalid(r#"{"type":"license.created"}"#, "/data");
        invalid(r#"{"type":7,"data":{}}"#, "/type");
        invalid(r#"{"type":"created","data":{}}"#, "/type");
        invalid(r#"{"type":"license.created","data":[]}"#, "/data");
        invalid(r#"{"type":"license.created","data":{},"id":"a b"}"#, "/id");
        invalid(
            r#"{"type":"license.created","data":{},"occurred_at":"soon"}"#,
            "/occurred_at",
        );
        invalid(
            r#"{"type":"license.created","data":{},"environment":"moon"}"#,
            "/environment",
        );
        invalid(
            r#"{"type":"license.created","data":{},"product":{}}"#,
            "/product",
        );
        invalid(
            r#"{"type":"license.created","data":{},"product":"a\u0000"}"#,
            "/product",
        );
        invalid(
            r#"{"type":"license.created","data":{"license":"x"}}"#,
            "/data/license",
        );
        invalid(
            r#"{"type":"license.created","data":{"license":{"id":1}}}"#,
            "/data/license/id",
        );
    }

    #[test]
    fn events_occurred_in_1970_or_later() {
        let at = |at: &str| format!(r#"{{"type":"a.b","data":{{}},"occurred_at":"{at}"}}"#);
        for refused in [
            "-005000-01-01T00:00:00Z",
            "0001-01-01T00:00:00Z",
            "1969-12-31T23:59:59.999Z",
            "10000-01-01T00:00:00Z",
        ] {
            invalid(&at(refused), "/occurred_at");
        }
        for taken in ["1970-01-01T00:00:00Z", "9999-12-30T00:00:00Z"] {
            assert!(Submission::parse(at(taken).as_bytes()).is_ok(), "{taken}");
        }
    }

    #[test]
    fn unknown_members_are_named_instead_of_dropped() {
        let error = Submission::parse(br#"{"type":"license.created","data":{},"occured_at":1}"#)
            .unwrap_err();
        assert!(error.to_string().contains("occured_at"), "{error}");
    }

    #[test]
    fn data_keeps_its_bytes() {
        let data = r#"{ "b": 1.0, "a": "é\u00e9<>&", "license": {"id":"lic_1"} }"#;
        let body = format!(r#"{{"type":"license.created","data":{data}}}"#);
        let submission = Submission::parse(body.as_bytes()).unwrap();
        assert_eq!(submission.data.get(), data);
        assert_eq!(submission.license.as_deref(), Some("lic_1"));
    }

    #[test]
    fn size_is_bounded_at_256_kib() {
        let event = |bytes: usize| {
            let frame = r#"{"type":"license.created","data":{"pad":""}}"#.len();
            let pad = "x".repeat(bytes - frame);
            format!(r#"{{"type":"license.created","data":{{"pad":"{pad}"}}}}"#)
        };
        assert!(Submission::parse(event(EVENT_BYTES_MAX).as_bytes()).is_ok());
        assert!(matches!(
            Submission::parse(event(EVENT_BYTES_MAX + 1).as_bytes()),
            Err(SubmissionError::TooLarge)
        ));
    }
}
