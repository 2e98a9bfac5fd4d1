//! An event in words, for dialects whose receivers are people.

use std::borrow::Cow;

use model::{Environment, Event, Timestamp};
use serde_json::value::RawValue;

use crate::data::{Data, Members, text};
use crate::formats::{Format, Render};
use crate::mask::mask;
use crate::names::Names;
use crate::request::{
    ParseError, Received, RenderError, Submissions, Taker, Verified, VerifyError,
};
use crate::{options, subject};

/// A chat's dialect: it only sends, and chats differ in how they render alone.
pub(crate) const fn format(render: Render) -> Format {
    Format {
        names: Names::Canonical,
        render,
        render_batch: None,
        verify,
        identify,
        parse,
        check_secret,
        check_options: options::check::<options::None>,
    }
}

/// How a chat wants its text.
pub(crate) struct Style {
    /// Stands on both sides of what is bold.
    pub(crate) bold: &'static str,
    /// Makes of any text one that nobody is called by and nothing is formatted by.
    pub(crate) escape: fn(&str) -> String,
}

/// Characters of one value at most.
const VALUE_CHARACTERS_MAX: usize = 120;

/// Bytes of a license key at least, to be looked for within other values: what is shorter is part
/// of many words.
const KEY_BYTES_MIN: usize = 6;

/// The event's title and a line for each thing known about it.
pub(crate) fn compose(event: &Event, name: &str, style: &Style) -> Result<String, RenderError> {
    let data = Data::read(&event.data)?;
    let bold = style.bold;
    let mut message = format!("{bold}{}{bold}", title(name));
    let key = data.text(&["license", "key"]).unwrap_or_default();
    for (label, values) in lines(event, name, &data) {
        let shown: Vec<_> = values
            .into_iter()
            .flatten()
            .filter_map(|value| clean(&value, &key))
            .map(|value| (style.escape)(&value))
            .collect();
        match shown.as_slice() {
            [] => {}
            [alone] => message.push_str(&format!("\n{label}: {alone}")),
            [first, more @ ..] => {
                message.push_str(&format!("\n{label}: {first} ({})", more.join(", ")));
            }
        }
    }
    Ok(message)
}

/// A type's name in words: `license.expiring_soon` is "License expiring soon".
fn title(name: &str) -> String {
    let words = name.split(['.', '_']).enumerate();
    let words = words.map(|(index, word)| match word {
        "ip" => "IP".to_owned(),
        "ips" => "IPs".to_owned(),
        word if index == 0 => {
            let (initial, rest) = word.split_at(word.len().min(1));
            initial.to_ascii_uppercase() + rest
        }
        word => word.to_owned(),
    });
    words.collect::<Vec<_>>().join(" ")
}

type Line<'a> = (&'a str, Vec<Option<Cow<'a, str>>>);

fn lines<'a>(event: &'a Event, name: &'a str, data: &'a Data<'a>) -> Vec<Line<'a>> {
    let scalar = |path: &[&str]| scalar(data.get(path)?);
    let time = |path: &[&str]| data.text(path).map(|text| date(&text));
    let license = scalar(&["license", "name"]);
    let license_id = scalar(&["license", "id"]).filter(|_| license.is_none());
    let license_key = scalar(&["license", "key"]).map(|key| Cow::Owned(mask(&key).into_owned()));
    let device = scalar(&["activation", "device_name"]);
    let fingerprint = scalar(&["activation", "fingerprint"]).filter(|_| device.is_none());
    let environment = match event.environment {
        Environment::Production => None,
        other @ (Environment::Staging | Environment::Development) => Some(other.as_str().into()),
    };
    let product = named(data, "product");
    let has_product = product.iter().any(Option::is_some);
    let product_id = event.product.as_deref().filter(|_| !has_product);
    vec![
        ("About", about(name, data)),
        ("License", vec![license, license_id, license_key]),
        ("Licenses", vec![count(data.get(&["licenses"]))]),
        (
            "Customer",
            vec![
                scalar(&["customer", "name"]),
                scalar(&["customer", "email"]),
            ],
        ),
        ("Before", named(data, "previous_customer")),
        (
            "Product",
            [product, vec![product_id.map(Cow::Borrowed)]].concat(),
        ),
        ("Plan", vec![scalar(&["license", "plan"])]),
        (
            "Device",
            vec![device, fingerprint, scalar(&["activation", "ip_address"])],
        ),
        (
            "Domain",
            vec![scalar(&["activation", "domain"]), scalar(&["domain"])],
        ),
        ("Activations", vec![activations(data)]),
        ("Expires", vec![time(&["license", "expires_at"])]),
        ("Reason", vec![scalar(&["reason"])]),
        (
            "By",
            vec![scalar(&["actor", "id"]), scalar(&["actor", "type"])],
        ),
        ("Environment", vec![environment]),
        ("Message", vec![scalar(&["message"])]),
    ]
}

/// What the event is about, where that is nothing with a line of its own.
fn about<'a>(name: &'a str, data: &'a Data<'a>) -> Vec<Option<Cow<'a, str>>> {
    match subject::of(name) {
        "license" | "product" | "activation" => Vec::new(),
        subject => named(data, subject),
    }
}

/// The name and address of a part of `data`, or else its id.
fn named<'a>(data: &'a Data<'a>, part: &str) -> Vec<Option<Cow<'a, str>>> {
    let Some(part) = subject::part(&data.members, part) else {
        return Vec::new();
    };
    let shown = |part: &Members<'a>, name: &str| scalar(part.get(name)?);
    let [name, email, version] = ["name", "email", "version"].map(|name| shown(&part, name));
    let is_named = name.is_some() || email.is_some();
    let id = shown(&part, "id").filter(|_| !is_named);
    vec![name, email, version, id]
}

fn activations<'a>(data: &Data<'a>) -> Option<Cow<'a, str>> {
    let current = scalar(data.get(&["license", "current_activations"])?)?;
    let max = data.get(&["license", "max_activations"]).and_then(scalar);
    Some(match max {
        Some(max) => format!("{current} of {max}").into(),
        None => current,
    })
}

fn count<'a>(list: Option<&RawValue>) -> Option<Cow<'a, str>> {
    let items: Vec<&RawValue> = serde_json::from_str(list?.get()).ok()?;
    Some(items.len().to_string().into())
}

/// A text or a number; other values are not for reading.
fn scalar(raw: &RawValue) -> Option<Cow<'_, str>> {
    match raw.get().as_bytes()[0] {
        b'"' => text(raw),
        b'-' | b'0'..=b'9' => Some(Cow::Borrowed(raw.get())),
        _ => None,
    }
}

/// A time to the minute, as people write it.
fn date(text: &str) -> Cow<'static, str> {
    match text.parse::<Timestamp>() {
        Ok(time) => format!("{} UTC", time.rfc3339(0)[..16].replace('T', " ")).into(),
        Err(_) => text.to_owned().into(),
    }
}

/// One line of bounded length, without the license key that it may repeat.
fn clean(value: &str, key: &str) -> Option<String> {
    let hidden = match key.len() {
        0..KEY_BYTES_MIN => Cow::Borrowed(value),
        _ => Cow::Owned(value.replace(key, &mask(key))),
    };
    let one_line: String = hidden
        .chars()
        .map(|character| {
            if character.is_control() {
                ' '
            } else {
                character
            }
        })
        .collect();
    let trimmed = one_line.trim();
    let mut shown: String = trimmed.chars().take(VALUE_CHARACTERS_MAX).collect();
    if shown.len() < trimmed.len() {
        shown.push('…');
    }
    (!shown.is_empty()).then_some(shown)
}

/// Messages are not signed: the URL is the secret.
fn verify(_: &Received<'_>, _: &str) -> Result<(), VerifyError> {
    Err(VerifyError::Unsigned)
}

fn identify(_: &Received<'_>) -> Result<Verified, VerifyError> {
    Err(VerifyError::Unsigned)
}

fn parse(_: &Received<'_>, _: &Taker<'_>) -> Result<Submissions, ParseError> {
    Err(ParseError::BadBody("a message for people is no event"))
}

/// Nothing is signed with it.
fn check_secret(_: &str) -> Result<(), &'static str> {
    Ok(())
}
