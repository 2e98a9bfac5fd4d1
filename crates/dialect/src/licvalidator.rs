//! License Validator.

use model::EndpointId;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::compact::{self, Object};
use crate::data::{Data, Field, Members, field, read_fields, write_fields};
use crate::formats::Format;
use crate::names::{Name, Names, When, same, when};
use crate::profile::{OptionDoc, option};
use crate::request::{
    ParseError, Received, RenderError, Rendered, Submissions, Taker, Verified, VerifyError,
};
use crate::submitted::{Submitted, body_id};
use crate::{Delivered, options, webhook_api, whole_secret};

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
pub(crate) const OPTIONS: &[OptionDoc] = &[option(
    "delivery_id",
    "true, false",
    "deliveryId in the body, x-webhook-delivery-id and x-webhook-event",
)];

const SIGNATURE: &str = "x-webhook-signature";

const TEST: &str = "webhook.test";
const WEBHOOK_ID: &str = "webhookId";
const MESSAGE: &str = "message";

const NAMES: &[Name] = &[
    same("license.activated"),
    same("license.expired"),
    same("license.validated"),
    when("license.suspended", "license.disabled", When::Actor("user")),
    same(TEST),
];

const FIELDS: &[Field] = &[
    field("licenseId", &["license", "id"]),
    field("licenseKey", &["license", "key"]),
    field("licenseName", &["license", "name"]),
    field("customerName", &["customer", "name"]),
    field("customerEmail", &["customer", "email"]),
    field("fingerprint", &["activation", "fingerprint"]),
    field("deviceName", &["activation", "device_name"]),
    field("deviceType", &["activation", "device_type"]),
    field("ipAddress", &["activation", "ip_address"]),
    field("currentActivations", &["license", "current_activations"]),
    field("maxActivations", &["license", "max_activations"]),
    field("expiresAt", &["license", "expires_at"]),
    field("reason", &["reason"]),
];

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Options {
    /// Whether body and headers carry the delivery's id; without, they are those of the vendor's
    /// example, to the byte.
    delivery_id: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { delivery_id: true }
    }
}

fn render(delivered: &Delivered<'_>, name: &str) -> Result<Rendered, RenderError> {
    let event = delivered.event;
    let secret = whole_secret::signing(delivered)?;
    let options: Options = options::own(delivered.endpoint)?;
    let data = Data::read(&event.data)?;
    let id = match name {
        TEST => webhook_api::test_id(delivered.delivery),
        _ => webhook_api::delivery_id(delivered.delivery),
    };

    let mut body = Vec::with_capacity(event.data.get().len() + 256);
    let mut members = Object::begin(&mut body);
    members.text("event", name);
    members.text("timestamp", &event.occurred_at.rfc3339(3));
    if options.delivery_id {
        members.text("deliveryId", &id);
    }
    let out = members.member("data");
    match name {
        TEST => write_test(out, delivered.endpoint.id, &data.members),
        _ => write_fields(out, FIELDS, &data),
    }
    members.end();

    let signature = whole_secret::signature(secret, &[&body]);
    let mut headers = vec![
        ("content-type", "application/json".to_owned()),
        (SIGNATURE, signature),
    ];
    if options.delivery_id {
        headers.push(("x-webhook-delivery-id", id));
        headers.push(("x-webhook-event", name.to_owned()));
    }
    Ok(Rendered {
        headers,
        body: body.into(),
    })
}

/// What the vendor's test says: which webhook it is of. Whatever else the event has comes behind.
fn write_test(out: &mut Vec<u8>, endpoint: EndpointId, data: &Members<'_>) {
    let mut members = Object::begin(out);
    match data.get(WEBHOOK_ID) {
        Some(id) => members.value(WEBHOOK_ID, id),
        None => members.text(WEBHOOK_ID, &webhook_api::webhook_id(endpoint)),
    }
    match data.get(MESSAGE) {
        Some(message) => members.value(MESSAGE, message),
        None => members.text(MESSAGE, "Test event"),
    }
    let is_written = |name: &str| matches!(name, WEBHOOK_ID | MESSAGE | "endpoint");
    for (name, value) in data.0.iter().filter(|(name, _)| !is_written(name)) {
        members.value(name, value);
    }
    members.end();
}

fn verify(received: &Received<'_>, secret: &str) -> Result<(), VerifyError> {
    whole_secret::verify(received, SIGNATURE, "", secret, &[received.body])
}

#[derive(Deserialize)]
struct Body<'a> {
    event: String,
    timestamp: Option<String>,
    #[serde(rename = "deliveryId")]
    delivery_id: Option<String>,
    #[serde(borrow)]
    data: &'a RawValue,
}

const EXPECTED: &str = "expected a JSON object with the members event, timestamp and data";

impl Body<'_> {
    fn id(&self, received: &Received<'_>) -> String {
        let own = self.delivery_id.clone();
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
    let bad = |_| ParseError::BadBody(EXPECTED);
    let body: Body<'_> = serde_json::from_slice(received.body).map_err(bad)?;
    let data: Members<'_> = serde_json::from_str(body.data.get()).map_err(bad)?;
    let has_actor = data.get("actor").is_some();
    let mut data = match body.event.as_str() {
        TEST => body.data.get().as_bytes().to_vec(),
        _ => read_fields(&data, FIELDS),
    };
    if body.event == "license.disabled" && !has_actor {
        compact::insert(&mut data, "actor", br#"{"type":"user"}"#);
    }
    let submitted = Submitted {
        id: Some(&body.id(received)),
        name: &body.event,
        occurred_at: body.timestamp.as_deref(),
        data: &data,
        ..Submitted::default()
    };
    Ok(vec![submitted.submit(&FORMAT.names)])
}
