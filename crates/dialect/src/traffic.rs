//! Traffic Orchestrator, as its guide "Webhooks for License Events" shows it.

use std::borrow::Cow;

use model::{Event, Submission, Timestamp};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::batch_id::batch_id;
use crate::compact::Object;
use crate::data::{Data, Field, Form, Members, field, read_fields, write_fields};
use crate::formats::Format;
use crate::names::{Name, Names, named, same};
use crate::profile::{BATCH_OPTION, OptionDoc, option};
use crate::request::{
    ParseError, Received, RenderError, Rendered, Submissions, Taker, Verified, VerifyError,
};
use crate::submitted::{Submitted, any_time};
use crate::{Delivered, options, whole_secret};

pub(crate) const FORMAT: Format = Format {
    names: Names::Own(NAMES),
    render,
    render_batch: Some(render_batch),
    verify,
    identify,
    parse,
    check_secret: whole_secret::check,
    check_options: options::check::<Options>,
};

/// What `dialect_options` may hold.
pub(crate) const OPTIONS: &[OptionDoc] = &[
    option(
        "timestamp",
        "attempt_field, restamp_created, off",
        "where the time of the attempt is: in timestamp, in created (the event's is in \
             occurredAt), nowhere",
    ),
    BATCH_OPTION,
];

const SIGNATURE: &str = "x-signature-sha256";
/// What a batch calls itself.
const BATCH: &str = "events.batch";

const NAMES: &[Name] = &[
    same("license.created"),
    same("license.activated"),
    named("license.expiring_soon", "license.expiring"),
    same("license.expired"),
    same("license.renewed"),
    same("license.revoked"),
    same("license.upgraded"),
    same("domain.added"),
    same("domain.removed"),
    same("payment.failed"),
    same("webhook.test"),
];

const FIELDS: &[Field] = &[
    field("licenseKey", &["license", "key"]).form(Form::Masked),
    field("plan", &["license", "plan"]),
    field("domain", &["activation", "domain"]),
    field("activationsUsed", &["license", "current_activations"]),
    field("activationLimit", &["license", "max_activations"]),
    field("expiresAt", &["license", "expires_at"]).form(Form::Seconds),
    field("features", &["license", "features"]),
];

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Options {
    timestamp: Stamp,
}

/// Where receivers find the time of the attempt, to reject what is too old: retries come hours
/// after the event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Stamp {
    /// In a member of its own, `timestamp`.
    #[default]
    AttemptField,
    /// In `created`; the event's time is in `occurredAt`.
    RestampCreated,
    /// Nowhere.
    Off,
}

fn render(delivered: &Delivered<'_>, name: &str) -> Result<Rendered, RenderError> {
    let (event, now) = (delivered.event, delivered.now);
    let options: Options = options::own(delivered.endpoint)?;
    let mut body = Vec::with_capacity(event.data.get().len() + 192);
    let mut members = Object::begin(&mut body);
    members.text("id", event.id.as_str());
    members.text("type", name);
    match options.timestamp {
        Stamp::AttemptField => {
            members.text("created", &event.occurred_at.rfc3339(0));
            write_seconds(members.member("timestamp"), now);
        }
        Stamp::RestampCreated => {
            members.text("created", &now.rfc3339(0));
            members.text("occurredAt", &event.occurred_at.rfc3339(0));
        }
        Stamp::Off => members.text("created", &event.occurred_at.rfc3339(0)),
    }
    write_fields(members.member("data"), FIELDS, &Data::read(&event.data)?);
    members.end();
    sign(delivered, body)
}

fn render_batch(batch: &[(Delivered<'_>, Cow<'_, str>)]) -> Result<Rendered, RenderError> {
    let first = &batch[0].0;
    let options: Options = options::own(first.endpoint)?;
    let mut body = Vec::new();
    let mut members = Object::begin(&mut body);
    members.text("id", &batch_id(batch));
    members.text("type", BATCH);
    members.text("created", &first.now.rfc3339(0));
    if options.timestamp == Stamp::AttemptField {
        write_seconds(members.member("timestamp"), first.now);
    }
    let mut data = Object::begin(members.member("data"));
    let events = data.member("events");
    events.push(b'[');
    for (index, (delivered, name)) in batch.iter().enumerate() {
        if index > 0 {
            events.push(b',');
        }
        write_event(events, delivered.event, name)?;
    }
    events.push(b']');
    data.end();
    members.end();
    sign(first, body)
}

/// An event as it stands in a batch, which has the attempt's time.
fn write_event(out: &mut Vec<u8>, event: &Event, name: &str) -> Result<(), RenderError> {
    let mut members = Object::begin(out);
    members.text("id", event.id.as_str());
    members.text("type", name);
    members.text("created", &event.occurred_at.rfc3339(0));
    write_fields(members.member("data"), FIELDS, &Data::read(&event.data)?);
    members.end();
    Ok(())
}

fn write_seconds(out: &mut Vec<u8>, time: Timestamp) {
    out.extend_from_slice(time.as_seconds().to_string().as_bytes());
}

fn sign(delivered: &Delivered<'_>, body: Vec<u8>) -> Result<Rendered, RenderError> {
    let secret = whole_secret::signing(delivered)?;
    let signature = whole_secret::signature(secret, &[&body]);
    Ok(Rendered {
        headers: vec![
            ("content-type", "application/json".to_owned()),
            (SIGNATURE, signature),
        ],
        body: body.into(),
    })
}

#[derive(Deserialize)]
struct Body<'a> {
    id: String,
    #[serde(rename = "type")]
    event_type: String,
    created: Option<String>,
    #[serde(rename = "occurredAt")]
    occurred_at: Option<String>,
    #[serde(borrow)]
    timestamp: Option<&'a RawValue>,
    #[serde(borrow)]
    data: &'a RawValue,
}

const EXPECTED: &str = "expected a JSON object with the members id, type, created and data";

fn verify(received: &Received<'_>, secret: &str) -> Result<(), VerifyError> {
    whole_secret::verify(received, SIGNATURE, "", secret, &[received.body])?;
    // What cannot be read is no event, however old.
    let body: Option<Body<'_>> = serde_json::from_slice(received.body).ok();
    match body.as_ref().and_then(sent_at) {
        Some(sent_at) => received.check_age(sent_at),
        None => Ok(()),
    }
}

/// The time of the attempt, if the body tells it: the system itself tells none.
fn sent_at(body: &Body<'_>) -> Option<Timestamp> {
    match (body.timestamp, &body.occurred_at, &body.created) {
        (Some(raw), _, _) => any_time(Some(raw))?.parse().ok(),
        (None, Some(_), Some(created)) => created.parse().ok(),
        (None, _, _) => None,
    }
}

fn identify(received: &Received<'_>) -> Result<Verified, VerifyError> {
    let body: Body<'_> =
        serde_json::from_slice(received.body).map_err(|_| VerifyError::BadBody(EXPECTED))?;
    Ok(Verified {
        id: body.id,
        event_type: body.event_type,
    })
}

fn parse(received: &Received<'_>, _: &Taker<'_>) -> Result<Submissions, ParseError> {
    #[derive(Deserialize)]
    struct Batch<'a> {
        #[serde(borrow)]
        events: Vec<&'a RawValue>,
    }
    let bad = |_| ParseError::BadBody(EXPECTED);
    let body: Body<'_> = serde_json::from_slice(received.body).map_err(bad)?;
    if body.event_type != BATCH {
        return Ok(vec![submission(&body)]);
    }
    let batch: Batch<'_> = serde_json::from_str(body.data.get()).map_err(bad)?;
    let read = |event: &RawValue| submission(&serde_json::from_str(event.get()).map_err(bad)?);
    Ok(batch.events.into_iter().map(read).collect())
}

fn submission(body: &Body<'_>) -> Result<Submission, ParseError> {
    let data: Members<'_> =
        serde_json::from_str(body.data.get()).map_err(|_| ParseError::BadBody(EXPECTED))?;
    let submitted = Submitted {
        id: Some(&body.id),
        name: &body.event_type,
        occurred_at: body.occurred_at.as_deref().or(body.created.as_deref()),
        data: &read_fields(&data, FIELDS),
        ..Submitted::default()
    };
    submitted.submit(&FORMAT.names)
}
