//! GetKeyManager.

use std::borrow::Cow;

use model::Environment;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::compact::{self, Object};
use crate::data::{Data, Field, Members, field, id_text, read_fields, write_fields};
use crate::formats::Format;
use crate::guid::guid;
use crate::names::{Name, Names, When, named, same, when};
use crate::profile::{OptionDoc, option};
use crate::request::{
    ParseError, Received, RenderError, Rendered, Submissions, Taker, Verified, VerifyError,
};
use crate::submitted::{Submitted, any_environment, any_time, body_id};
use crate::{Delivered, options, subject, whole_secret};

pub(crate) const FORMAT: Format = Format {
    names: Names::Own(NAMES),
    render,
    render_batch: None,
    verify,
    identify,
    parse,
    check_secret: whole_secret::check,
    check_options: options::check::<Options>,
};

/// What `dialect_options` may hold.
pub(crate) const OPTIONS: &[OptionDoc] = &[
    option(
        "signature_prefix",
        "empty, or sha256=",
        "before the signature",
    ),
    option(
        "extras",
        "false, true",
        "the event names that only the system's settings page lists",
    ),
];

const SIGNATURE: &str = "x-webhook-signature";
const PREFIX: &str = "sha256=";

const NAMES: &[Name] = &[
    same("license.created"),
    same("license.updated"),
    same("license.deleted"),
    same("license.assigned"),
    same("license.activated"),
    same("license.deactivated"),
    same("license.suspended"),
    same("license.expired"),
    same("license.revoked"),
    same("activation.created"),
    same("activation.deleted"),
    same("activation.failed"),
    same("product.created"),
    same("product.updated"),
    same("product.deleted"),
    same("contract.created"),
    same("contract.updated"),
    same("contract.deleted"),
    same("contract.suspended"),
    same("telemetry.received"),
    same("telemetry.flagged"),
    same("webhook.test"),
    extra("license.validated", "validation.success"),
    extra("license.validation_failed", "validation.failed"),
    extra("license.renewed", "license.renewed"),
    extra("license.reinstated", "license.unsuspended"),
    extra("abuse.detected", "abuse.detected"),
    extra("limit.exceeded", "limit.exceeded"),
    extra("license.ip_blocked", "limit.exceeded"),
    named("license.ip_blocked", "activation.failed"),
    named("license.transferred", "license.assigned"),
    named("license.upgraded", "license.updated"),
    named("license.check_in_required_soon", "license.updated"),
    named("license.check_in_overdue", "license.updated"),
    named("license.checked_in", "license.updated"),
    named("license.checked_out", "license.updated"),
    named("license.entitlements.attached", "license.updated"),
    named("license.entitlements.detached", "license.updated"),
    named("license.group.updated", "license.updated"),
    named("license.owner.updated", "license.updated"),
    named("license.policy.updated", "license.updated"),
    named("license.usage.incremented", "license.updated"),
    named("license.usage.decremented", "license.updated"),
    named("license.usage.reset", "license.updated"),
    named("license.user.updated", "license.updated"),
    named("license.users.attached", "license.updated"),
    named("license.users.detached", "license.updated"),
];

const fn extra(canonical: &'static str, own: &'static str) -> Name {
    when(canonical, own, When::Extra)
}

const LICENSE: &[Field] = &[
    field("id", &["license", "id"]),
    field("license_key", &["license", "key"]),
    field("name", &["license", "name"]),
    field("status", &["license", "status"]),
    field("plan", &["license", "plan"]),
    field("expires_at", &["license", "expires_at"]),
    field("features", &["license", "features"]),
    field("current_activations", &["license", "current_activations"]),
    field("max_activations", &["license", "max_activations"]),
    field("metadata", &["license", "metadata"]),
    field("customer_id", &["customer", "id"]),
    field("customer_name", &["customer", "name"]),
    field("customer_email", &["customer", "email"]),
    field("identifier", &["activation", "fingerprint"]),
    field("reason", &["reason"]),
];

const ACTIVATION: &[Field] = &[
    field("id", &["activation", "id"]),
    field("license_key", &["license", "key"]),
    field("identifier", &["activation", "fingerprint"]),
    field("reason", &["reason"]),
    field("license_id", &["license", "id"]),
    field("device_name", &["activation", "device_name"]),
    field("device_type", &["activation", "device_type"]),
    field("ip_address", &["activation", "ip_address"]),
    field("domain", &["activation", "domain"]),
    field("customer_email", &["customer", "email"]),
];

/// How the payload of an event is made.
enum Payload {
    /// A table says which member is called what.
    Table(&'static [Field]),
    /// The subject's members, under the names they have.
    Flat(&'static str),
    Whole,
}

impl Payload {
    fn of(name: &str) -> Self {
        match subject::of(name) {
            "activation" => Self::Table(ACTIVATION),
            "product" => Self::Flat("product"),
            "contract" => Self::Flat("contract"),
            "telemetry" => Self::Flat("telemetry"),
            "webhook" => Self::Whole,
            _ => Self::Table(LICENSE),
        }
    }

    fn write(&self, out: &mut Vec<u8>, data: &RawValue) -> Result<(), RenderError> {
        match self {
            Self::Table(fields) => write_fields(out, fields, &Data::read(data)?),
            Self::Flat(subject) => {
                let data: Members<'_> = serde_json::from_str(data.get())
                    .map_err(|_| RenderError::BadData("data is not an object"))?;
                let mut members = Object::begin(out);
                subject::write_flat(&mut members, &data, subject, &[]);
                members.end();
            }
            Self::Whole => compact::value(out, data),
        }
        Ok(())
    }

    fn read(&self, payload: &RawValue) -> Result<Vec<u8>, ParseError> {
        let members: Members<'_> =
            serde_json::from_str(payload.get()).map_err(|_| ParseError::BadBody(EXPECTED))?;
        Ok(match self {
            Self::Table(fields) => read_fields(&members, fields),
            Self::Flat(subject) => subject::read_flat(&members, subject, &[]),
            Self::Whole => payload.get().as_bytes().to_vec(),
        })
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Options {
    signature_prefix: SignaturePrefix,
}

/// No document of the system says how the signature is written.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
enum SignaturePrefix {
    #[default]
    #[serde(rename = "")]
    None,
    #[serde(rename = "sha256=")]
    Sha256,
}

fn render(delivered: &Delivered<'_>, name: &str) -> Result<Rendered, RenderError> {
    let event = delivered.event;
    let secret = whole_secret::signing(delivered)?;
    let options: Options = options::own(delivered.endpoint)?;

    let mut body = Vec::with_capacity(event.data.get().len() + 320);
    let mut members = Object::begin(&mut body);
    members.text("event", name);
    Payload::of(name).write(members.member("payload"), &event.data)?;
    members.text("webhook_id", &guid(delivered.endpoint.id.as_u128()));
    members.text("delivery_id", &delivered.delivery.to_string());
    members.text("environment", event.environment.as_str());
    members.text("timestamp", &event.occurred_at.rfc3339(3));
    members.end();

    let signature = whole_secret::signature(secret, &[&body]);
    let signature = match options.signature_prefix {
        SignaturePrefix::None => signature,
        SignaturePrefix::Sha256 => format!("{PREFIX}{signature}"),
    };
    Ok(Rendered {
        headers: vec![
            ("content-type", "application/json".to_owned()),
            (SIGNATURE, signature),
        ],
        body: body.into(),
    })
}

fn verify(received: &Received<'_>, secret: &str) -> Result<(), VerifyError> {
    let has_prefix = received.header(SIGNATURE)?.starts_with(PREFIX);
    let prefix = if has_prefix { PREFIX } else { "" };
    whole_secret::verify(received, SIGNATURE, prefix, secret, &[received.body])
}

#[derive(Deserialize)]
struct Body<'a> {
    event: String,
    #[serde(borrow)]
    payload: &'a RawValue,
    #[serde(borrow)]
    delivery_id: Option<&'a RawValue>,
    #[serde(borrow)]
    environment: Option<&'a RawValue>,
    #[serde(borrow)]
    timestamp: Option<&'a RawValue>,
}

const EXPECTED: &str = "expected a JSON object with the members event and payload";

impl Body<'_> {
    /// The system documents a body with neither id nor time.
    fn id(&self, received: &Received<'_>) -> String {
        let own = self.delivery_id.and_then(id_text);
        let own = own.filter(|id| !id.is_empty()).map(Cow::into_owned);
        own.unwrap_or_else(|| body_id(received, self.timestamp.is_some()))
    }
}

fn identify(received: &Received<'_>) -> Result<Verified, VerifyError> {
    let body: Body<'_> =
        serde_json::from_slice(received.body).map_err(|_| VerifyError::BadBody(EXPECTED))?;
    Ok(Verified {
        id: body.id(received),
        event_type: body.event,
    })
}

fn parse(received: &Received<'_>, _: &Taker<'_>) -> Result<Submissions, ParseError> {
    let body: Body<'_> =
        serde_json::from_slice(received.body).map_err(|_| ParseError::BadBody(EXPECTED))?;
    let environment = any_environment(body.environment);
    let occurred_at = any_time(body.timestamp);
    let submitted = Submitted {
        id: Some(&body.id(received)),
        name: &body.event,
        occurred_at: occurred_at.as_deref(),
        environment: environment.map(Environment::as_str),
        data: &Payload::of(&body.event).read(body.payload)?,
        ..Submitted::default()
    };
    Ok(vec![submitted.submit(&FORMAT.names)])
}
