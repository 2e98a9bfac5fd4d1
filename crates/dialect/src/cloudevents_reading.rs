//! From CloudEvents over HTTP to canonical events: the reverse of `cloudevents`.

use std::borrow::Cow;

use model::{
    BinaryAttributes, EVENT_BYTES_MAX, EventForm, EventId, EventLimits, Submission,
    SubmissionError, check_product,
};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::cloudevents::{PRODUCTS, TENANTS};
use crate::compact::Object;
use crate::data::Members;
use crate::hmac_sha256::same;
use crate::percent::decode;
use crate::request::{ParseError, Received, Submissions, Taker, Verified, VerifyError};
use crate::standard;
use crate::submitted::digest_id;

/// What a body holds, as its media type says.
enum Content<'a> {
    One,
    Binary { event_type: &'a str },
    Several(Vec<&'a RawValue>),
}

const EXPECTED: &str = "expected a CloudEvent, or an array of them";

impl<'a> Content<'a> {
    fn of(received: &Received<'a>) -> Option<Self> {
        let media_type = (received.headers)("content-type").unwrap_or_default();
        let media_type = media_type.split(';').next().unwrap_or_default().trim();
        if media_type.eq_ignore_ascii_case(model::CLOUD_EVENT_BATCH_TYPE) {
            return serde_json::from_slice(received.body)
                .ok()
                .map(Self::Several);
        }
        if media_type.eq_ignore_ascii_case(model::CLOUD_EVENT_TYPE) {
            return Some(Self::One);
        }
        let event_type = (received.headers)("ce-type")?;
        Some(Self::Binary { event_type })
    }
}

/// The attributes that tell an event apart.
#[derive(Default, Deserialize)]
struct Attributes<'a> {
    #[serde(borrow)]
    id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    source: Option<Cow<'a, str>>,
    #[serde(borrow, rename = "type")]
    event_type: Option<Cow<'a, str>>,
}

impl<'a> Attributes<'a> {
    fn read(json: &'a [u8]) -> Self {
        serde_json::from_slice(json).unwrap_or_default()
    }

    /// The event's id among all that a tenant has: ids are the sources' own, and ours the same for
    /// all of ours. An id that is missing is not made up.
    fn event_id(&self) -> Option<Cow<'_, str>> {
        let id = self.id.as_deref().filter(|id| !id.is_empty())?;
        let source = self.source.as_deref().unwrap_or_default();
        if source.starts_with(TENANTS) && EventId::new(id).is_ok() {
            Some(Cow::Borrowed(id))
        } else {
            Some(Cow::Owned(digest_id(&[source.as_bytes(), id.as_bytes()])))
        }
    }

    /// The product that a source of ours names.
    fn product(&self) -> Option<String> {
        let source = self.source.as_deref()?;
        let (tenant, product) = source.strip_prefix(TENANTS)?.split_once(PRODUCTS)?;
        let product = decode(product);
        (!tenant.contains('/') && check_product(&product).is_ok()).then_some(product)
    }
}

/// The signature is that of Standard Webhooks. Senders that know only what CloudEvents specifies
/// show the secret instead (http-webhook, section 3).
pub(crate) fn verify(received: &Received<'_>, secret: &str) -> Result<(), VerifyError> {
    match token(received).filter(|_| !standard::is_signed(received)) {
        Some(token) if same(secret, &token) => Ok(()),
        Some(_) => Err(VerifyError::SignatureMismatch),
        None => standard::verify_signature(received, secret),
    }
}

/// The secret in the header `authorization`, or in the query.
fn token<'a>(received: &Received<'a>) -> Option<Cow<'a, str>> {
    if let Some(authorization) = (received.headers)("authorization") {
        let (scheme, token) = authorization.split_once(' ')?;
        let is_bearer = scheme.eq_ignore_ascii_case("bearer");
        return is_bearer.then_some(Cow::Borrowed(token.trim()));
    }
    let (_, query) = received.target.split_once('?')?;
    let mut parameters = url::form_urlencoded::parse(query.as_bytes());
    parameters
        .find(|(name, _)| name == "access_token")
        .map(|(_, token)| token)
}

pub(crate) fn identify(received: &Received<'_>) -> Result<Verified, VerifyError> {
    let bad = || VerifyError::BadBody(EXPECTED);
    let content = Content::of(received).ok_or_else(bad)?;
    let read = match &content {
        Content::One => Attributes::read(received.body),
        Content::Binary { event_type } => Attributes {
            id: (received.headers)("ce-id").map(|id| decode(id).into()),
            event_type: Some(decode(event_type).into()),
            source: None,
        },
        Content::Several(events) => {
            let first = events.first();
            first.map_or_else(Attributes::default, |first| {
                Attributes::read(first.get().as_bytes())
            })
        }
    };
    let event_type = match &content {
        Content::Several(events) if events.len() != 1 => format!("{} events", events.len()),
        Content::One | Content::Binary { .. } | Content::Several(_) => {
            read.event_type.ok_or_else(bad)?.into_owned()
        }
    };
    let id = standard::id(received).map(Cow::Borrowed);
    Ok(Verified {
        id: id.or(read.id).ok_or_else(bad)?.into_owned(),
        event_type,
    })
}

pub(crate) fn parse(received: &Received<'_>, taker: &Taker<'_>) -> Result<Submissions, ParseError> {
    let content = Content::of(received).ok_or(ParseError::BadBody(EXPECTED))?;
    Ok(match content {
        Content::One => vec![parse_json(received.body, taker)],
        Content::Several(events) => events
            .into_iter()
            .map(|event| parse_json(event.get().as_bytes(), taker))
            .collect(),
        Content::Binary { .. } => vec![parse_binary(received, taker)],
    })
}

fn parse_binary(received: &Received<'_>, taker: &Taker<'_>) -> Result<Submission, ParseError> {
    let decoded = |name: &str| (received.headers)(name).map(decode);
    let [specversion, event_type, time, environment] =
        ["ce-specversion", "ce-type", "ce-time", "ce-environment"].map(decoded);
    let told = Attributes {
        id: decoded("ce-id").map(Cow::Owned),
        source: decoded("ce-source").map(Cow::Owned),
        event_type: None,
    };
    let given = decoded("ce-product");
    given
        .as_deref()
        .map_or(Ok(()), check_product)
        .map_err(|error| SubmissionError::Invalid(vec![error]))?;
    let product = given.or_else(|| told.product());
    let id = told.event_id();
    let attributes = BinaryAttributes {
        specversion: specversion.as_deref(),
        id: id.as_deref(),
        event_type: event_type.as_deref(),
        time: time.as_deref(),
        environment: environment.as_deref(),
        product: product.as_deref(),
    };
    let read = Submission::from_binary_cloud_event(&attributes, received.body, taker.knows);
    Ok(read?)
}

fn parse_json(json: &[u8], taker: &Taker<'_>) -> Result<Submission, ParseError> {
    let told = Attributes::read(json);
    let identified = told.event_id().and_then(|id| with_id(json, &id));
    // The id that it gets here may be longer than its own.
    let (json, limits) = match &identified {
        Some(identified) if json.len() <= EVENT_BYTES_MAX => {
            (&**identified, EventLimits::PASSED_ON)
        }
        Some(_) | None => (json, EventLimits::SUBMITTED),
    };
    let form = EventForm::CloudEvent;
    let mut submission = Submission::read(form, json, limits, taker.knows)?;
    submission.product = submission.product.or_else(|| told.product());
    Ok(submission)
}

/// The event under another id, all else to the byte.
fn with_id(json: &[u8], id: &str) -> Option<Vec<u8>> {
    let event: Members<'_> = serde_json::from_slice(json).ok()?;
    let mut out = Vec::with_capacity(json.len() + id.len());
    let mut members = Object::begin(&mut out);
    for (name, value) in &event.0 {
        match name.as_ref() {
            "id" => members.text(name, id),
            _ => {
                let out = members.member(name);
                out.extend_from_slice(value.get().as_bytes());
            }
        }
    }
    members.end();
    Some(out)
}
