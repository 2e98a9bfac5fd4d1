//! KeyPort, as its guide "Webhook-Based License Events" shows it.

use std::borrow::Cow;

use model::Event;
use secrecy::ExposeSecret as _;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::compact::{self, Object};
use crate::formats::{Format, Names, Received};
use crate::hmac_sha256::{code, hex, same};
use crate::{Delivered, RenderError, Rendered, Verified, VerifyError};

pub(crate) const FORMAT: Format = Format {
    names: Names::Own {
        all: NAMES,
        of: name,
    },
    render,
    verify,
    check_secret,
};

const SIGNATURE: &str = "x-keyport-signature";

const NAMES: &[&str] = &[
    "license.bulk_revoked",
    "license.created",
    "license.expired",
    "license.ip_blocked",
    "license.ip_removed",
    "license.ips_reset",
    "license.revoked",
    "license.transfer_rejected",
    "license.transferred",
    "webhook.test",
];

fn name(event: &Event) -> Option<&'static str> {
    match event.event_type.as_str() {
        "license.validation_failed" | "activation.failed" => (Cause::of(event)?.reason.as_deref()
            == Some("ip_limit"))
        .then_some("license.ip_blocked"),
        "license.revoked" => {
            // Without the flag somebody revoked it: only other machinery has a reason to say no.
            (Cause::of(event)?.manual != Some(false)).then_some("license.revoked")
        }
        canonical => NAMES.iter().copied().find(|name| *name == canonical),
    }
}

/// The members of `data` that decide whether KeyPort knows the event.
struct Cause<'a> {
    reason: Option<Cow<'a, str>>,
    manual: Option<bool>,
}

impl<'a> Cause<'a> {
    fn of(event: &'a Event) -> Option<Self> {
        #[derive(Deserialize)]
        struct Members<'a> {
            #[serde(borrow)]
            reason: Option<&'a RawValue>,
            #[serde(borrow)]
            manual: Option<&'a RawValue>,
        }
        let members: Members<'a> = serde_json::from_str(event.data.get()).ok()?;
        Some(Self {
            reason: members.reason.and_then(text),
            manual: members
                .manual
                .and_then(|raw| serde_json::from_str(raw.get()).ok()),
        })
    }
}

fn render(delivered: &Delivered<'_>, name: &str) -> Result<Rendered, RenderError> {
    let event = delivered.event;
    // The signature is compared whole, so a rotated secret signs alone until its time is over.
    let secret = delivered.endpoint.signing_secrets(delivered.now).last();
    let secret = secret.ok_or(RenderError::NoSecret)?.value.expose_secret();

    let mut body = Vec::with_capacity(event.data.get().len() + 192);
    let mut members = Object::begin(&mut body);
    members.text("id", event.id.as_str());
    members.text("type", name);
    members.text("created", &event.occurred_at.rfc3339(3));
    write_data(members.member("data"), event)?;
    members.end();

    let signature = format!("sha256={}", hex(&code(secret.as_bytes(), &[&body])));
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
/// and nothing beside it waits to be mapped. What a test sends is nobody's to map.
fn is_keyports(event: &Event, data: &Data<'_>) -> bool {
    let has_keyports_members =
        |license: License<'_>| license.customer_email.is_some() || license.product_id.is_some();
    event.event_type.as_str() == "webhook.test"
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
    let license: License<'_> = parse(license).ok_or(BAD_LICENSE)?;
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
    value.filter(|value| value.get() != "null")
}

fn parse<'a, T: Deserialize<'a>>(raw: &'a RawValue) -> Option<T> {
    serde_json::from_str(raw.get()).ok()
}

/// An object that may be absent, or something else altogether.
fn member<'a, T: Deserialize<'a>>(raw: Option<&'a RawValue>) -> Option<T> {
    parse(raw?)
}

fn text(raw: &RawValue) -> Option<Cow<'_, str>> {
    parse(raw)
}

/// The length of a secret, in characters.
const SECRET_CHARACTERS: std::ops::RangeInclusive<usize> = 16..=256;

fn check_secret(secret: &str) -> Result<(), &'static str> {
    let visible = secret.bytes().all(|byte| byte.is_ascii_graphic());
    if visible && SECRET_CHARACTERS.contains(&secret.len()) {
        Ok(())
    } else {
        Err("must be 16 to 256 visible ASCII characters")
    }
}

fn verify(received: &Received<'_, '_>) -> Result<Verified, VerifyError> {
    let given = received.header(SIGNATURE)?;
    let given = given
        .strip_prefix("sha256=")
        .ok_or(VerifyError::BadHeader {
            header: SIGNATURE,
            expected: "sha256= and 64 lower-case hexadecimal digits",
        })?;
    let key = received.secret.expose_secret().as_bytes();
    if !same(&hex(&code(key, &[received.body])), given) {
        return Err(VerifyError::SignatureMismatch);
    }
    #[derive(Deserialize)]
    struct Body {
        id: String,
        #[serde(rename = "type")]
        event_type: String,
    }
    let body: Body = serde_json::from_slice(received.body)
        .map_err(|_| VerifyError::BadBody("expected a JSON object with the members id and type"))?;
    Ok(Verified {
        id: body.id,
        event_type: body.event_type,
    })
}
