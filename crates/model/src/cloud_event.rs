//! CloudEvents 1.0 as a way in: the JSON format, and the binary mode of the HTTP binding.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::submission::{
    OccurredAt, check, license, object, optional, product, read_members, required,
};
use crate::{EventLimits, EventType, FieldError, Submission, SubmissionError, check_product};

/// Media type of one event in structured mode.
pub const CLOUD_EVENT_TYPE: &str = "application/cloudevents+json";
/// Media type of a batch.
pub const CLOUD_EVENT_BATCH_TYPE: &str = "application/cloudevents-batch+json";

/// The context attributes of binary mode, from the headers `ce-specversion`, `ce-id` and so on.
#[derive(Clone, Debug, Default)]
pub struct BinaryAttributes<'a> {
    pub specversion: Option<&'a str>,
    pub id: Option<&'a str>,
    pub event_type: Option<&'a str>,
    pub time: Option<&'a str>,
    pub environment: Option<&'a str>,
    pub product: Option<&'a str>,
}

#[derive(Deserialize)]
struct StructuredMembers<'a> {
    #[serde(borrow)]
    specversion: Option<&'a RawValue>,
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    source: Option<&'a RawValue>,
    #[serde(borrow, rename = "type")]
    event_type: Option<&'a RawValue>,
    #[serde(borrow)]
    time: Option<&'a RawValue>,
    #[serde(borrow)]
    environment: Option<&'a RawValue>,
    #[serde(borrow)]
    product: Option<&'a RawValue>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    data_base64: Option<serde::de::IgnoredAny>,
}

impl Submission {
    /// Reads a CloudEvent in the JSON format. A `type` may carry a reverse-DNS prefix: the longest
    /// suffix that `known` accepts is the event type.
    pub fn from_cloud_event(
        body: &[u8],
        known: impl Fn(&str) -> bool,
    ) -> Result<Self, SubmissionError> {
        Self::from_cloud_event_within(body, EventLimits::SUBMITTED, known)
    }

    pub(crate) fn from_cloud_event_within(
        body: &[u8],
        limits: EventLimits,
        known: impl Fn(&str) -> bool,
    ) -> Result<Self, SubmissionError> {
        let members: StructuredMembers<'_> = read_members(body, limits)?;
        let mut errors = Vec::new();
        let version: Option<String> = required(members.specversion, "/specversion", &mut errors);
        check_version(version.as_deref(), "/specversion", &mut errors);
        let _: Option<String> = required(members.source, "/source", &mut errors);
        if members.data_base64.is_some() {
            errors.push(FieldError::new("/data_base64", "send JSON in data instead"));
        }
        let id = required(members.id, "/id", &mut errors);
        let event_type: Option<String> = required(members.event_type, "/type", &mut errors);
        let event_type = event_type.and_then(|name| canonical(&name, known, "/type", &mut errors));
        let occurred_at = optional(members.time, "/time", &mut errors);
        let occurred_at = occurred_at.map(|OccurredAt(at)| at);
        let environment = optional(members.environment, "/environment", &mut errors);
        let product = product(members.product, &mut errors);
        let license = license(members.data, "/data", &mut errors);
        let data = object(members.data, "/data", &mut errors);
        match (event_type, data) {
            (Some(event_type), Some(data)) if errors.is_empty() => Ok(Self {
                id,
                event_type,
                occurred_at,
                environment,
                product,
                license,
                trace: None,
                data,
            }),
            _ => Err(SubmissionError::Invalid(errors)),
        }
    }

    /// Reads a CloudEvent in binary mode: attributes from headers, `data` as the body.
    pub fn from_binary_cloud_event(
        attributes: &BinaryAttributes<'_>,
        body: &[u8],
        known: impl Fn(&str) -> bool,
    ) -> Result<Self, SubmissionError> {
        check(body, EventLimits::SUBMITTED)?;
        let raw: &RawValue = serde_json::from_slice(body).map_err(|_| {
            SubmissionError::Malformed(FieldError::new("", "must be a JSON object"))
        })?;
        let mut errors = Vec::new();
        check_version(attributes.specversion, "ce-specversion", &mut errors);
        let id = header(attributes.id, "ce-id", &mut errors);
        if attributes.id.is_none() {
            errors.push(FieldError::new("ce-id", "is required"));
        }
        let event_type = attributes
            .event_type
            .and_then(|name| canonical(name, known, "ce-type", &mut errors));
        if attributes.event_type.is_none() {
            errors.push(FieldError::new("ce-type", "is required"));
        }
        let occurred_at = header(attributes.time, "ce-time", &mut errors);
        let occurred_at = occurred_at.map(|OccurredAt(at)| at);
        let environment = header(attributes.environment, "ce-environment", &mut errors);
        let product = attributes.product;
        if let Some(Err(error)) = product.map(check_product) {
            errors.push(FieldError::new("ce-product", error.detail));
        }
        let license = license(Some(raw), "", &mut errors);
        let data: Option<Arc<RawValue>> = object(Some(raw), "", &mut errors);
        match (event_type, data) {
            (Some(event_type), Some(data)) if errors.is_empty() => Ok(Self {
                id,
                event_type,
                occurred_at,
                environment,
                product: product.map(str::to_owned),
                license,
                trace: None,
                data,
            }),
            _ => Err(SubmissionError::Invalid(errors)),
        }
    }
}

fn check_version(version: Option<&str>, at: &str, errors: &mut Vec<FieldError>) {
    if version.is_none_or(|version| version != "1.0") && !errors.iter().any(|e| e.pointer == at) {
        errors.push(FieldError::new(at, "must be \"1.0\""));
    }
}

fn header<T: std::str::FromStr<Err: std::fmt::Display>>(
    value: Option<&str>,
    name: &str,
    errors: &mut Vec<FieldError>,
) -> Option<T> {
    value?
        .parse()
        .map_err(|error: T::Err| errors.push(FieldError::new(name, error.to_string())))
        .ok()
}

fn canonical(
    name: &str,
    known: impl Fn(&str) -> bool,
    at: &str,
    errors: &mut Vec<FieldError>,
) -> Option<EventType> {
    let mut suffix = name;
    while !known(suffix) {
        match suffix.split_once('.') {
            Some((_, rest)) => suffix = rest,
            None => {
                suffix = name;
                break;
            }
        }
    }
    suffix
        .parse()
        .map_err(|error: crate::IdError| {
            errors.push(FieldError::new(at, error.to_string()));
        })
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::is_catalogued;

    #[test]
    fn structured_mode_strips_the_prefix_of_a_known_type() {
        let body = br#"{"specversion":"1.0","id":"e1","source":"/s","type":"dev.x.license.created",
            "time":"2026-04-15T12:00:00Z","environment":"staging","data":{"license":{"id":"l"}}}"#;
        let submission = Submission::from_cloud_event(body, is_catalogued).unwrap();
        assert_eq!(submission.event_type.as_str(), "license.created");
        assert_eq!(submission.id.as_deref(), Some("e1"));
        assert_eq!(submission.environment, Some(Environment::Staging));
        assert_eq!(submission.license.as_deref(), Some("l"));
    }

    #[test]
    fn missing_attributes_are_named() {
        let error = Submission::from_cloud_event(br#"{"specversion":"0.3"}"#, is_catalogued);
        let message = error.unwrap_err().to_string();
        for member in ["/specversion", "/source", "/id", "/type", "/data"] {
            assert!(message.contains(member), "{member} in {message}");
        }
    }

    #[test]
    fn binary_mode_takes_the_body_as_data() {
        let attributes = BinaryAttributes {
            specversion: Some("1.0"),
            id: Some("e1"),
            event_type: Some("license.revoked"),
            ..BinaryAttributes::default()
        };
        let submission =
            Submission::from_binary_cloud_event(&attributes, br#"{"a":1}"#, is_catalogued).unwrap();
        assert_eq!(submission.data.get(), r#"{"a":1}"#);
    }

    #[test]
    fn attributes_of_binary_mode_are_checked_like_members() {
        let refused = |change: fn(&mut BinaryAttributes<'static>)| {
            let mut attributes = BinaryAttributes {
                specversion: Some("1.0"),
                id: Some("e1"),
                event_type: Some("license.revoked"),
                ..BinaryAttributes::default()
            };
            change(&mut attributes);
            let read = Submission::from_binary_cloud_event(&attributes, b"{}", is_catalogued);
            read.unwrap_err().to_string()
        };
        let error = refused(|attributes| attributes.product = Some("a\u{7}"));
        assert!(error.contains("ce-product"), "{error}");
        let error = refused(|attributes| attributes.time = Some("1969-12-31T23:59:59Z"));
        assert!(error.contains("ce-time: before 1970"), "{error}");
    }

    use crate::Environment;
}
