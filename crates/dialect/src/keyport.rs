//! KeyPort, as its guide "Webhook-Based License Events" shows it.

use model::{Event, Submission};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::compact::{self, Object};
use crate::data::{Members, is_null};
use crate::formats::Format;
use crate::names::{Name, Names, When, same, when};
use crate::request::{ParseError, Received, RenderError, Rendered, Verified, VerifyError};
use crate::submitted::Submitted;
use crate::{Delivered, options, whole_secret};

pub(crate) const FORMAT: Format = Format {
    names: Names::Own(NAMES),
    render,
    render_batch: None,
    verify,
    identify,
    parse,
    check_secret: whole_secret::check,
    check_options: options::check::<options::None>,
};

const SIGNATURE: &str = "x-keyport-signature";
const PREFIX: &str = "sha256=";

pub(crate) const NAMES: &[Name] = &[
    same("license.created"),
    when("license.revoked", "license.revoked", When::Manual),
    same("license.expired"),
    same("license.ip_blocked"),
    same("license.ip_removed"),
    same("license.ips_reset"),
    same("license.transferred"),
    same("license.transfer_rejected"),
    same("license.bulk_revoked"),
    when("license.validation_failed", "license.ip_blocked", IP_LIMIT),
    when("activation.failed", "license.ip_blocked", IP_LIMIT),
    same(TEST),
];

/// What a test sends is nobody's to map.
const TEST: &str = "webhook.test";

const IP_LIMIT: When = When::Reason("ip_limit");

fn render(delivered: &Delivered<'_>, name: &str) -> Result<Rendered, RenderError> {
    let event = delivered.event;
    let secret = whole_secret::signing(delivered)?;

    let mut body = Vec::with_capacity(event.data.get().len() + 192);
    let mut members = Object::begin(&mut body);
    members.text("id", event.id.as_str());
    members.text("type", name);
    members.text("created", &event.occurred_at.rfc3339(3));
    write_data(members.member("data"), event)?;
    members.end();

    let signature = format!("{PREFIX}{}", whole_secret::signature(secret, &[&body]));
    Ok(Rendered {
        headers: vec![
            ("content-type", "application/json".to_owned()),
            (SIGNATURE, signature),
        ],
        body: body.into(),
    })
}

/// The members of a canonical `data` that KeyPort has a place for.
#[derive(Deserialize)]
struct Data<'a> {
    #[serde(borrow)]
    license: Option<&'a RawValue>,
    #[serde(borrow)]
    licenses: Option<&'a RawValue>,
    #[serde(borrow)]
    customer: Option<&'a RawValue>,
    #[serde(borrow)]
    previous_customer: Option<&'a RawValue>,
    #[serde(borrow)]
    previous_customer_email: Option<&'a RawValue>,
    #[serde(borrow)]
    activation: Option<&'a RawValue>,
    #[serde(borrow)]
    ip_address: Option<&'a RawValue>,
    #[serde(borrow)]
    reason: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct License<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    key: Option<&'a RawValue>,
    #[serde(borrow)]
    status: Option<&'a RawValue>,
    #[serde(borrow)]
    customer: Option<&'a RawValue>,
    #[serde(borrow)]
    customer_email: Option<&'a RawValue>,
    #[serde(borrow)]
    product_id: Option<&'a RawValue>,
    #[serde(borrow)]
    expires_at: Option<&'a RawValue>,
}

const BAD_LICENSE: RenderError = RenderError::BadData("license is not an object");

/// Maps canonical `data`; what is absent or null is left out, never invented. What is in KeyPort's
/// shape already goes as it came.
fn write_data(out: &mut Vec<u8>, event: &Event) -> Result<(), RenderError> {
    let data: Data<'_> = serde_json::from_str(event.data.get())
        .map_err(|_| RenderError::BadData("data is not an object"))?;
    if is_keyports(event, &data) {
        compact::value(out, &event.data);
        return Ok(());
    }
    let licenses: Vec<&RawValue> = match present(data.licenses) {
        Some(list) => serde_json::from_str(list.get())
            .map_err(|_| RenderError::BadData("licenses is not an array"))?,
        None => Vec::new(),
    };
    let license = present(data.license).or(licenses.first().copied());
    let mut members = Object::begin(out);
    if let Some(license) = license {
        write_license(members.member("license"), license, &data, event)?;
    }
    if present(data.licenses).is_some() {
        let list = members.member("licenses");
        list.push(b'[');
        for (index, license) in licenses.into_iter().enumerate() {
            if index > 0 {
                list.push(b',');
            }
            write_license(list, license, &data, event)?;
        }
        list.push(b']');
    }
    let member_email = |object| member::<Email<'_>>(object).and_then(|email| email.email);
    let activation = member::<Activation<'_>>(data.activation);
    for (name, value) in [
        (
            "ip_address",
            present(data.ip_address).or(activation.and_then(|it| it.ip_address)),
        ),
        ("reason", data.reason),
        (
            "previous_customer_email",
            present(data.previous_customer_email).or(member_email(data.previous_customer)),
        ),
    ] {
        if let Some(value) = present(value) {
            members.value(name, value);
        }
    }
    members.end();
    Ok(())
}

/// Whether `data` is in KeyPort's shape already: its license has members that only KeyPort has,
/// and nothing beside it waits to be mapped.
fn is_keyports(event: &Event, data: &Data<'_>) -> bool {
    let has_keyports_members =
        |license: License<'_>| license.customer_email.is_some() || license.product_id.is_some();
    event.event_type.as_str() == TEST
        || (data.customer.is_none()
            && data.activation.is_none()
            && member(data.license).is_some_and(has_keyports_members))
}

fn write_license(
    out: &mut Vec<u8>,
    license: &RawValue,
    data: &Data<'_>,
    event: &Event,
) -> Result<(), RenderError> {
    let license: License<'_> = parse_object(license).ok_or(BAD_LICENSE)?;
    let email = |customer| member::<Email<'_>>(customer).and_then(|it| present(it.email));
    let customer_email = present(license.customer_email)
        .or_else(|| email(license.customer))
        .or_else(|| email(data.customer));
    let mut members = Object::begin(out);
    for (name, value) in [
        ("id", license.id),
        ("key", license.key),
        ("status", license.status),
        ("customer_email", customer_email),
        ("product_id", license.product_id),
    ] {
        match (present(value), event.product.as_deref()) {
            (Some(value), _) => members.value(name, value),
            (None, Some(product)) if name == "product_id" => members.text(name, product),
            (None, _) => {}
        }
    }
    if let Some(expires_at) = present(license.expires_at) {
        members.value("expires_at", expires_at);
    }
    members.end();
    Ok(())
}

#[derive(Deserialize)]
struct Email<'a> {
    #[serde(borrow)]
    email: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Activation<'a> {
    #[serde(borrow)]
    ip_address: Option<&'a RawValue>,
}

fn present(value: Option<&RawValue>) -> Option<&RawValue> {
    value.filter(|value| !is_null(value))
}

fn parse_object<'a, T: Deserialize<'a>>(raw: &'a RawValue) -> Option<T> {
    serde_json::from_str(raw.get()).ok()
}

/// An object that may be absent, or something else altogether.
fn member<'a, T: Deserialize<'a>>(raw: Option<&'a RawValue>) -> Option<T> {
    parse_object(raw?)
}

fn verify(received: &Received<'_>, secret: &str) -> Result<(), VerifyError> {
    whole_secret::verify(received, SIGNATURE, PREFIX, secret, &[received.body])
}

#[derive(Deserialize)]
struct Body<'a> {
    id: String,
    #[serde(rename = "type")]
    event_type: String,
    created: Option<String>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

const EXPECTED: &str = "expected a JSON object with the members id and type";

fn identify(received: &Received<'_>) -> Result<Verified, VerifyError> {
    let body: Body<'_> =
        serde_json::from_slice(received.body).map_err(|_| VerifyError::BadBody(EXPECTED))?;
    Ok(Verified {
        id: body.id,
        event_type: body.event_type,
    })
}

fn parse(received: &Received<'_>) -> Result<Vec<Submission>, ParseError> {
    let bad = |_| ParseError::BadBody(EXPECTED);
    let body: Body<'_> = serde_json::from_slice(received.body).map_err(bad)?;
    let data = body.data.map_or(Ok(Members::default()), |data| {
        serde_json::from_str(data.get()).map_err(bad)
    })?;
    let license: Members<'_> = member(data.get("license")).unwrap_or_default();
    let product = license.get("product_id").and_then(crate::data::text);
    let canonical = match (body.event_type.as_str(), body.data) {
        (TEST, Some(data)) => data.get().as_bytes().to_vec(),
        _ => canonical(&data, &license),
    };
    let submitted = Submitted {
        id: Some(&body.id),
        name: &body.event_type,
        occurred_at: body.created.as_deref(),
        product: product.as_deref(),
        data: &canonical,
        ..Submitted::default()
    };
    Ok(vec![submitted.submit(&FORMAT.names)?])
}

/// Canonical `data`: what KeyPort keeps in the license goes to the customer, the address to the
/// activation.
fn canonical(data: &Members<'_>, license: &Members<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    let mut members = Object::begin(&mut out);
    let elsewhere = |name: &str| matches!(name, "customer_email" | "product_id");
    if data.get("license").is_some() {
        let mut object = Object::begin(members.member("license"));
        for (name, value) in license.0.iter().filter(|(name, _)| !elsewhere(name)) {
            object.value(name, value);
        }
        object.end();
    }
    for (part, name, value) in [
        ("customer", "email", license.get("customer_email")),
        ("activation", "ip_address", data.get("ip_address")),
        (
            "previous_customer",
            "email",
            data.get("previous_customer_email"),
        ),
    ] {
        if let Some(value) = value {
            let mut object = Object::begin(members.member(part));
            object.value(name, value);
            object.end();
        }
    }
    let is_mapped = |name: &str| {
        matches!(
            name,
            "license"
                | "customer"
                | "activation"
                | "previous_customer"
                | "ip_address"
                | "previous_customer_email"
        )
    };
    for (name, value) in data.0.iter().filter(|(name, _)| !is_mapped(name)) {
        members.value(name, value);
    }
    members.end();
    out
}
