//! CloudEvents 1.0 over HTTP (cloudevents/spec: http-protocol-binding, json-format, http-webhook),
//! signed as Standard Webhooks are, because the specification has no signature.

use std::borrow::Cow;

use model::{Event, FieldError};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::compact::Object;
use crate::formats::Format;
use crate::names::Names;
use crate::percent::encode;
use crate::profile::{BATCH_OPTION, OptionDoc, option};
use crate::request::{RenderError, Rendered};
use crate::{Delivered, cloudevents_reading, options, standard};

pub(crate) const FORMAT: Format = Format {
    names: Names::Canonical,
    render,
    render_batch: Some(render_batch),
    verify: cloudevents_reading::verify,
    identify: cloudevents_reading::identify,
    parse: cloudevents_reading::parse,
    check_secret: standard::check_secret,
    check_options,
};

/// What `dialect_options` may hold.
pub(crate) const OPTIONS: &[OptionDoc] = &[
    option(
        "mode",
        "structured, binary, batch",
        "the HTTP binding's content mode",
    ),
    option(
        "type_prefix",
        "empty, or such as com.example.",
        "before the canonical event type",
    ),
    option(
        "source",
        "/tenants/{tenant}/products/{product}, or any URI reference",
        "the attribute source",
    ),
    option(
        "origin",
        "absent, or a DNS name",
        "sent as WebHook-Request-Origin; where the receiver is asked, the host of this API if absent",
    ),
    option(
        "handshake",
        "false, true",
        "the receiver is asked first (OPTIONS) and held events wait until it agrees",
    ),
    option(
        "rate_per_minute",
        "absent, or a number",
        "the rate that it is asked for",
    ),
    BATCH_OPTION,
];

const STRUCTURED: &str = "application/cloudevents+json; charset=utf-8";
const BATCH: &str = "application/cloudevents-batch+json; charset=utf-8";
const BINARY: &str = "application/json; charset=utf-8";

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Options {
    mode: Mode,
    /// Before the canonical name, with its dot: `com.example.`.
    type_prefix: String,
    /// Instead of `/tenants/{tenant}/products/{product}`.
    source: Option<String>,
    /// The sender's DNS name, for receivers that have agreed to be sent to.
    origin: Option<String>,
    /// Whether the receiver is asked before anything is sent to it.
    handshake: bool,
    /// Requests a minute that it is asked for.
    rate_per_minute: Option<u32>,
}

fn check_options(given: &Map<String, Value>) -> Vec<FieldError> {
    let mut errors = options::check::<Options>(given);
    let Ok(options) = options::read::<Options>(given) else {
        return errors;
    };
    let batches = given.get("batch").is_some_and(|batch| !batch.is_null());
    let mistakes = [
        (
            !options.origin.as_deref().is_none_or(is_origin),
            "origin",
            "must be a DNS name such as hooks.example.net",
        ),
        (
            options.handshake && options.origin.is_none(),
            "handshake",
            "needs an origin to ask for",
        ),
        (
            options.rate_per_minute == Some(0),
            "rate_per_minute",
            "must be at least 1",
        ),
        (
            !options.source.as_deref().is_none_or(is_uri_reference),
            "source",
            "must be a URI reference of 1 to 1024 characters",
        ),
        (
            !is_prefix(&options.type_prefix),
            "type_prefix",
            "must be small letters, digits, hyphens and dots, and end with a dot",
        ),
        (
            batches && options.mode != Mode::Batch,
            "batch",
            "needs the mode batch",
        ),
    ];
    let made = mistakes.into_iter().filter(|(is_made, _, _)| *is_made);
    errors.extend(made.map(|(_, name, detail)| options::error(name, detail)));
    errors
}

/// Bytes of an origin or a prefix at most, as of any DNS name.
const NAME_BYTES_MAX: usize = 255;
const SOURCE_BYTES_MAX: usize = 1024;

fn is_origin(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b':');
    (1..=NAME_BYTES_MAX).contains(&text.len()) && text.bytes().all(allowed)
}

/// Whether these are the characters of a URI reference (RFC 3986, section 4.1).
fn is_uri_reference(text: &str) -> bool {
    const MARKS: &[u8] = b"-._~:/?#[]@!$&'()*+,;=";
    let mut parts = text.split('%');
    let allowed = |part: &str| {
        part.bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || MARKS.contains(&byte))
    };
    let is_escaped = |part: &str| {
        let digits = part.as_bytes().get(..2);
        digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    };
    (1..=SOURCE_BYTES_MAX).contains(&text.len())
        && parts.next().is_some_and(allowed)
        && parts.all(|part| is_escaped(part) && allowed(part))
}

/// Whether this is nothing or words, each with a dot behind it.
fn is_prefix(text: &str) -> bool {
    let is_word = |word: &str| {
        let allowed = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
        !word.is_empty() && word.bytes().all(allowed)
    };
    let words = text.strip_suffix('.').map(|words| words.split('.'));
    text.is_empty()
        || (text.len() <= NAME_BYTES_MAX && words.is_some_and(|mut words| words.all(is_word)))
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Mode {
    #[default]
    Structured,
    Binary,
    Batch,
}

/// The context attributes of an event.
struct Context<'a> {
    event: &'a Event,
    source: String,
    event_type: String,
    /// Where `source` does not tell the product.
    product: Option<&'a str>,
}

impl<'a> Context<'a> {
    fn new(event: &'a Event, name: &str, options: &Options) -> Self {
        let product = event.product.as_deref();
        let source = options.source.clone().unwrap_or_else(|| {
            let tenant = format!("{TENANTS}{}", event.tenant);
            match product {
                Some(product) => format!("{tenant}{PRODUCTS}{}", encode(product)),
                None => tenant,
            }
        });
        Self {
            event,
            source,
            event_type: format!("{}{name}", options.type_prefix),
            product: product.filter(|_| options.source.is_some()),
        }
    }

    /// The extension attributes, in either mode.
    fn extensions(&self) -> impl Iterator<Item = (&'static str, &'static str, Cow<'a, str>)> {
        let environment = self.event.environment;
        let environment = (environment != model::Environment::default()).then(|| {
            let value = Cow::Borrowed(environment.as_str());
            ("environment", "ce-environment", value)
        });
        let sequence = self.event.sequence.map(|sequence| {
            let value = Cow::Owned(sequence.to_string());
            ("sequence", "ce-sequence", value)
        });
        let product = self.product.map(|product| {
            let value = Cow::Borrowed(product);
            ("product", "ce-product", value)
        });
        [environment, sequence, product].into_iter().flatten()
    }

    fn write(&self, out: &mut Vec<u8>) {
        let event = self.event;
        let mut members = Object::begin(out);
        members.text("specversion", "1.0");
        members.text("id", event.id.as_str());
        members.text("source", &self.source);
        members.text("type", &self.event_type);
        if let Some(license) = &event.license {
            members.text("subject", license);
        }
        members.text("time", &event.occurred_at.rfc3339(3));
        members.text("datacontenttype", "application/json");
        for (name, _, value) in self.extensions() {
            members.text(name, &value);
        }
        members
            .member("data")
            .extend_from_slice(event.data.get().as_bytes());
        members.end();
    }

    fn headers(&self) -> Vec<(&'static str, String)> {
        let event = self.event;
        let mut headers = vec![
            ("content-type", BINARY.to_owned()),
            ("ce-specversion", "1.0".to_owned()),
            ("ce-id", event.id.to_string()),
            ("ce-source", encode(&self.source).into_owned()),
            ("ce-type", encode(&self.event_type).into_owned()),
            ("ce-time", event.occurred_at.rfc3339(3)),
        ];
        if let Some(license) = &event.license {
            headers.push(("ce-subject", encode(license).into_owned()));
        }
        let extensions = self.extensions();
        headers.extend(extensions.map(|(_, name, value)| (name, encode(&value).into_owned())));
        headers
    }
}

pub(crate) const TENANTS: &str = "/tenants/";
pub(crate) const PRODUCTS: &str = "/products/";

fn render(delivered: &Delivered<'_>, name: &str) -> Result<Rendered, RenderError> {
    let options: Options = options::own(delivered.endpoint)?;
    let context = Context::new(delivered.event, name, &options);
    let mut body = Vec::with_capacity(delivered.event.data.get().len() + 384);
    let headers = match options.mode {
        Mode::Structured => {
            context.write(&mut body);
            vec![("content-type", STRUCTURED.to_owned())]
        }
        Mode::Binary => {
            body.extend_from_slice(delivered.event.data.get().as_bytes());
            context.headers()
        }
        Mode::Batch => return render_batch(&[(*delivered, Cow::Borrowed(name))]),
    };
    sign(delivered, &options, headers, body)
}

/// Signed under the id of its first event. Receivers tell events apart by their own ids and sources.
fn render_batch(batch: &[(Delivered<'_>, Cow<'_, str>)]) -> Result<Rendered, RenderError> {
    let first = &batch[0].0;
    let options: Options = options::own(first.endpoint)?;
    let mut body = vec![b'['];
    for (index, (delivered, name)) in batch.iter().enumerate() {
        if index > 0 {
            body.push(b',');
        }
        Context::new(delivered.event, name, &options).write(&mut body);
    }
    body.push(b']');
    let headers = vec![("content-type", BATCH.to_owned())];
    sign(first, &options, headers, body)
}

fn sign(
    delivered: &Delivered<'_>,
    options: &Options,
    mut headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
) -> Result<Rendered, RenderError> {
    if let Some(origin) = &options.origin {
        headers.push(("webhook-request-origin", origin.clone()));
    }
    headers.extend(standard::signed_headers(delivered, &body)?);
    Ok(Rendered {
        headers,
        body: body.into(),
    })
}
