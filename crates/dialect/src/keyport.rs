//! KeyPort, as its guide "Webhook-Based License Events" shows it.

use model::Event;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::compact::{self, Object};
use crate::data::{Members, id_text, write_member, write_part};
use crate::formats::Format;
use crate::names::{Name, Names, When, same, when};
use crate::request::{
    ParseError, Received, RenderError, Rendered, Submissions, Taker, Verified, VerifyError,
};
use crate::submitted::{Submitted, any_time};
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

const BAD_LICENSE: RenderError = RenderError::BadData("license is not an object");

/// Maps canonical `data`; what is absent or null is left out, never invented, and members that
/// KeyPort does not map go as they came. What is in KeyPort's shape already does so whole.
fn write_data(out: &mut Vec<u8>, event: &Event) -> Result<(), RenderError> {
    let data: Members<'_> = serde_json::from_str(event.data.get())
        .map_err(|_| RenderError::BadData("data is not an object"))?;
    if is_keyports(event, &data) {
        compact::value(out, &event.data);
        return Ok(());
    }
    let licenses: Option<Vec<&RawValue>> = match data.get("licenses") {
        Some(list) => serde_json::from_str(list.get())
            .map_err(|_| RenderError::BadData("licenses is not an array"))?,
        None => None,
    };
    let first = licenses.iter().flatten().next().copied();
    let mut members = Object::begin(out);
    if let Some(license) = data.get("license").or(first) {
        write_license(members.member("license"), license, &data, event)?;
    }
    if let Some(licenses) = licenses {
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
    for (name, value) in [
        ("ip_address", inside(&data, "activation", "ip_address")),
        ("reason", None),
        (PREVIOUS_EMAIL, inside(&data, "previous_customer", "email")),
    ] {
        if let Some(value) = data.get(name).or(value) {
            members.value(name, value);
        }
    }
    for (name, value) in data.0.iter().filter(|(name, _)| !is_mapped(name)) {
        members.value(name, value);
    }
    members.end();
    Ok(())
}

const PREVIOUS_EMAIL: &str = "previous_customer_email";

/// Whether it is a member of `data`, in its canonical form or KeyPort's, that has its place.
fn is_mapped(name: &str) -> bool {
    matches!(
        name,
        "license"
            | "licenses"
            | "customer"
            | "previous_customer"
            | "activation"
            | "ip_address"
            | "reason"
            | PREVIOUS_EMAIL
    )
}

/// Whether `data` is in KeyPort's shape already: its license has members that only KeyPort has,
/// and nothing beside it waits to be mapped.
fn is_keyports(event: &Event, data: &Members<'_>) -> bool {
    let has_keyports_members = |license: Members<'_>| {
        license.get("customer_email").is_some() || license.get("product_id").is_some()
    };
    event.event_type.as_str() == TEST
        || (data.get("customer").is_none()
            && data.get("activation").is_none()
            && part(data, "license").is_some_and(has_keyports_members))
}

fn write_license(
    out: &mut Vec<u8>,
    license: &RawValue,
    data: &Members<'_>,
    event: &Event,
) -> Result<(), RenderError> {
    let license: Members<'_> = serde_json::from_str(license.get()).map_err(|_| BAD_LICENSE)?;
    let customer_email = license
        .get("customer_email")
        .or_else(|| inside(&license, "customer", "email"))
        .or_else(|| inside(data, "customer", "email"));
    let mut members = Object::begin(out);
    for (name, value) in [
        ("id", license.get("id")),
        ("key", license.get("key")),
        ("status", license.get("status")),
        ("customer_email", customer_email),
        ("product_id", license.get("product_id")),
        ("expires_at", license.get("expires_at")),
    ] {
        match (value, event.product.as_deref()) {
            (Some(value), _) => members.value(name, value),
            (None, Some(product)) if name == "product_id" => members.text(name, product),
            (None, _) => {}
        }
    }
    members.end();
    Ok(())
}

/// An object that may be absent, or something else altogether.
fn part<'a>(data: &Members<'a>, name: &str) -> Option<Members<'a>> {
    serde_json::from_str(data.get(name)?.get()).ok()
}

fn inside<'a>(data: &Members<'a>, name: &str, member: &str) -> Option<&'a RawValue> {
    part(data, name)?.get(member)
}

fn verify(received: &Received<'_>, secret: &str) -> Result<(), VerifyError> {
    whole_secret::verify(received, SIGNATURE, PREFIX, secret, &[received.body])
}

#[derive(Deserialize)]
struct Body<'a> {
    id: String,
    #[serde(rename = "type")]
    event_type: String,
    #[serde(borrow)]
    created: Option<&'a RawValue>,
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

fn parse(received: &Received<'_>, _: &Taker<'_>) -> Result<Submissions, ParseError> {
    let bad = |_| ParseError::BadBody(EXPECTED);
    let body: Body<'_> = serde_json::from_slice(received.body).map_err(bad)?;
    let data = body.data.map_or(Ok(Members::default()), |data| {
        serde_json::from_str(data.get()).map_err(bad)
    })?;
    let license: Option<Members<'_>> = part(&data, "license");
    let product = license.as_ref().and_then(|it| it.get("product_id"));
    let product = product.and_then(id_text);
    let canonical = match (body.event_type.as_str(), body.data) {
        (TEST, Some(data)) => data.get().as_bytes().to_vec(),
        _ => canonical(&data, license.as_ref()),
    };
    let occurred_at = any_time(body.created);
    let submitted = Submitted {
        id: Some(&body.id),
        name: &body.event_type,
        occurred_at: occurred_at.as_deref(),
        product: product.as_deref(),
        data: &canonical,
        ..Submitted::default()
    };
    Ok(vec![submitted.submit(&FORMAT.names)])
}

/// Canonical `data`: what KeyPort keeps in the license goes to the customer, the address to the
/// activation.
fn canonical(data: &Members<'_>, license: Option<&Members<'_>>) -> Vec<u8> {
    let mut out = Vec::new();
    let mut members = Object::begin(&mut out);
    let elsewhere = |name: &str| matches!(name, "customer_email" | "product_id");
    if let Some(license) = license {
        let mut object = Object::begin(members.member("license"));
        for (name, value) in license.0.iter().filter(|(name, _)| !elsewhere(name)) {
            write_member(&mut object, name, value);
        }
        object.end();
    } else {
        write_part(&mut members, "license", &[], data.get("license"));
    }
    let of_license = |name: &str| license.and_then(|license| license.get(name));
    for (part, name, value) in [
        ("customer", "email", of_license("customer_email")),
        ("activation", "ip_address", data.get("ip_address")),
        ("previous_customer", "email", data.get(PREVIOUS_EMAIL)),
    ] {
        let mapped = value.map(|value| (name, value));
        write_part(&mut members, part, mapped.as_slice(), data.get(part));
    }
    // What KeyPort's form keeps elsewhere is not taken from the other as well.
    let is_written = |name: &str| match name {
        "licenses" | "reason" => false,
        name => is_mapped(name),
    };
    for (name, value) in data.0.iter().filter(|(name, _)| !is_written(name)) {
        members.value(name, value);
    }
    members.end();
    out
}
