//! Stripe's format for license events: a snapshot event, signed with its time.

use model::{Environment, FieldError, Timestamp};
use secrecy::ExposeSecret as _;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::compact::{self, Object};
use crate::data::{Members, text};
use crate::formats::Format;
use crate::hmac_sha256::same;
use crate::names::Names;
use crate::profile::{OptionDoc, option};
use crate::request::{
    ParseError, Received, RenderError, Rendered, Submissions, Taker, Verified, VerifyError,
};
use crate::submitted::{Submitted, rfc3339};
use crate::{Delivered, options, subject, whole_secret};

pub(crate) const FORMAT: Format = Format {
    names: Names::Canonical,
    render,
    render_batch: None,
    verify,
    identify,
    parse,
    check_secret: whole_secret::check,
    check_options,
};

/// What `dialect_options` may hold.
pub(crate) const OPTIONS: &[OptionDoc] = &[option(
    "api_version",
    "2026-04-15, or any other",
    "what api_version says",
)];

const SIGNATURE: &str = "stripe-signature";

/// Signatures in one request at most; of more secrets the newest sign.
const SIGNATURES_MAX: usize = 8;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Options {
    api_version: String,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            api_version: "2026-04-15".to_owned(),
        }
    }
}

/// Characters of an API version at most.
const API_VERSION_MAX: usize = 64;

fn check_options(given: &Map<String, Value>) -> Vec<FieldError> {
    let mut errors = options::check::<Options>(given);
    let version = given.get("api_version").and_then(Value::as_str);
    let fits = |version: &str| {
        let visible = version.bytes().all(|byte| byte.is_ascii_graphic());
        visible && (1..=API_VERSION_MAX).contains(&version.len())
    };
    if !version.is_none_or(fits) {
        let detail = format!("must be 1 to {API_VERSION_MAX} visible ASCII characters");
        errors.push(options::error("api_version", detail));
    }
    errors
}

fn render(delivered: &Delivered<'_>, name: &str) -> Result<Rendered, RenderError> {
    let event = delivered.event;
    let options: Options = options::own(delivered.endpoint)?;
    let mut body = Vec::with_capacity(event.data.get().len() + 320);
    let mut members = Object::begin(&mut body);
    members.text("id", event.id.as_str());
    members.text("object", "event");
    members.text("api_version", &options.api_version);
    let created = event.occurred_at.as_seconds().to_string();
    members
        .member("created")
        .extend_from_slice(created.as_bytes());
    write_data(members.member("data"), &event.data, subject::of(name))?;
    let livemode = event.environment == Environment::Production;
    let livemode = if livemode { "true" } else { "false" };
    members
        .member("livemode")
        .extend_from_slice(livemode.as_bytes());
    members.member("pending_webhooks").push(b'1');
    members
        .member("request")
        .extend_from_slice(br#"{"id":null,"idempotency_key":null}"#);
    members.text("type", name);
    members.end();

    Ok(Rendered {
        headers: vec![
            ("content-type", "application/json; charset=utf-8".to_owned()),
            (SIGNATURE, signatures(delivered, &body)?),
        ],
        body: body.into(),
    })
}

/// `{"object": …}`; what is in that shape already goes as it came.
fn write_data(out: &mut Vec<u8>, raw: &RawValue, subject: &str) -> Result<(), RenderError> {
    let data: Members<'_> = serde_json::from_str(raw.get())
        .map_err(|_| RenderError::BadData("data is not an object"))?;
    if object(&data).is_some() {
        compact::value(out, raw);
    } else {
        let mut members = Object::begin(out);
        write_object(members.member("object"), &data, subject);
        members.end();
    }
    Ok(())
}

fn write_object(out: &mut Vec<u8>, data: &Members<'_>, subject: &str) {
    let part = subject::part(data, subject);
    let id = part.and_then(|part| part.get("id"));
    let mut members = Object::begin(out);
    if let Some(id) = id {
        members.value("id", id);
    }
    members.text("object", subject);
    let kind = format!("\"{subject}\"");
    let kind = ("object", kind.as_str());
    match id {
        Some(id) => subject::write_flat(&mut members, data, subject, &[("id", id.get()), kind]),
        None => subject::write_flat(&mut members, data, subject, &[kind]),
    }
    members.end();
}

/// The member `object` of `data`, if it says what it is.
fn object<'a>(data: &Members<'a>) -> Option<(Members<'a>, String)> {
    let object: Members<'a> = serde_json::from_str(data.get("object")?.get()).ok()?;
    let kind = text(object.get("object")?)?.into_owned();
    Some((object, kind))
}

fn signatures(delivered: &Delivered<'_>, body: &[u8]) -> Result<String, RenderError> {
    let timestamp = delivered.now.as_seconds().to_string();
    let secrets = delivered.endpoint.signing_secrets(delivered.now);
    let mut header = format!("t={timestamp}");
    let mut signed = false;
    for secret in secrets.take(SIGNATURES_MAX) {
        header.push_str(",v1=");
        header.push_str(&signature(secret.value.expose_secret(), &timestamp, body));
        signed = true;
    }
    if signed {
        Ok(header)
    } else {
        Err(RenderError::NoSecret)
    }
}

fn signature(secret: &str, timestamp: &str, body: &[u8]) -> String {
    whole_secret::signature(secret, &[timestamp.as_bytes(), b".", body])
}

fn verify(received: &Received<'_>, secret: &str) -> Result<(), VerifyError> {
    let bad = VerifyError::BadHeader {
        header: SIGNATURE,
        expected: "t=<seconds since 1970>,v1=<64 lower-case hexadecimal digits>",
    };
    let given = received.header(SIGNATURE)?;
    let values = |scheme: &'static str| {
        let parts = given.split(',').filter_map(|part| part.split_once('='));
        parts
            .filter(move |(name, _)| *name == scheme)
            .map(|(_, value)| value)
    };
    let mut times = values("t");
    let (Some(timestamp), None) = (times.next(), times.next()) else {
        return Err(bad);
    };
    if values("v1").next().is_none() {
        return Err(bad);
    }
    let sent_at = timestamp.parse().map_err(|_| bad)?;
    received.check_not_old(Timestamp::from_seconds(sent_at))?;
    let expected = signature(secret, timestamp, received.body);
    if values("v1").any(|signature| same(&expected, signature)) {
        Ok(())
    } else {
        Err(VerifyError::SignatureMismatch)
    }
}

#[derive(Deserialize)]
struct Body<'a> {
    id: String,
    #[serde(rename = "type")]
    event_type: String,
    created: Option<i64>,
    livemode: Option<bool>,
    #[serde(borrow)]
    data: &'a RawValue,
}

const EXPECTED: &str = "expected a JSON object with the members id, type and data";

fn identify(received: &Received<'_>) -> Result<Verified, VerifyError> {
    let body: Body<'_> =
        serde_json::from_slice(received.body).map_err(|_| VerifyError::BadBody(EXPECTED))?;
    Ok(Verified {
        id: body.id,
        event_type: body.event_type,
    })
}

fn parse(received: &Received<'_>, taker: &Taker<'_>) -> Result<Submissions, ParseError> {
    let bad = |_| ParseError::BadBody(EXPECTED);
    let body: Body<'_> = serde_json::from_slice(received.body).map_err(bad)?;
    let data: Members<'_> = serde_json::from_str(body.data.get()).map_err(bad)?;
    let canonical = canonical(&data, subject::of(&body.event_type));
    let environment = body.livemode.map(|is_live| environment(is_live, taker));
    let created = body.created.map(rfc3339);
    let submitted = Submitted {
        id: Some(&body.id),
        name: &body.event_type,
        occurred_at: created.as_deref(),
        environment: environment.map(Environment::as_str),
        data: canonical.as_deref().unwrap_or(body.data.get().as_bytes()),
        ..Submitted::default()
    };
    Ok(vec![submitted.submit(&FORMAT.names)])
}

/// What is not live is one of the others: whichever is expected.
fn environment(is_live: bool, taker: &Taker<'_>) -> Environment {
    let production = Environment::Production;
    match taker.environment.filter(|expected| *expected != production) {
        _ if is_live => production,
        Some(expected) => expected,
        None => Environment::Staging,
    }
}

/// Canonical `data`, if it is the same object when it is sent again.
fn canonical(data: &Members<'_>, subject: &str) -> Option<Vec<u8>> {
    let (object, kind) = object(data)?;
    if kind != subject || data.0.len() > 1 {
        return None;
    }
    let canonical = subject::read_flat(&object, subject, &["object"]);
    let (mut again, mut given) = (Vec::new(), Vec::new());
    write_object(
        &mut again,
        &serde_json::from_slice(&canonical).ok()?,
        subject,
    );
    compact::value(&mut given, data.get("object")?);
    (again == given).then_some(canonical)
}
