//! GitHub's format for license events: the event in a header, its action in the body.

use std::borrow::Cow;

use hmac::{Hmac, KeyInit as _, Mac as _};
use model::{Endpoint, FieldError};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use sha1::Sha1;

use crate::compact::Object;
use crate::data::{Members, another_name, is_null, text};
use crate::formats::Format;
use crate::guid::guid;
use crate::hmac_sha256::hex;
use crate::names::Names;
use crate::profile::{OptionDoc, option};
use crate::request::{
    ParseError, Received, RenderError, Rendered, Submissions, Taker, Verified, VerifyError,
};
use crate::submitted::Submitted;
use crate::{Delivered, options, whole_secret};

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
    "hook_id",
    "absent, or a number",
    "instead of one made of the endpoint's id",
)];

const EVENT: &str = "x-github-event";
const DELIVERY: &str = "x-github-delivery";
const SIGNATURE: &str = "x-hub-signature-256";
const PREFIX: &str = "sha256=";

/// What a test is called here.
const PING: &str = "ping";
const TEST: &str = "webhook.test";
const ZEN: &str = "Say it once, and again until it is heard.";

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Options {
    /// Instead of a number made of the endpoint's id.
    hook_id: Option<u64>,
}

/// The largest hook id: JavaScript counts no further.
const HOOK_ID_MAX: u64 = (1 << 53) - 1;

fn check_options(given: &Map<String, Value>) -> Vec<FieldError> {
    let mut errors = options::check::<Options>(given);
    let id = given.get("hook_id").and_then(Value::as_u64);
    if id.is_some_and(|id| !(1..=HOOK_ID_MAX).contains(&id)) {
        let detail = format!("must be 1 to {HOOK_ID_MAX}");
        errors.push(options::error("hook_id", detail));
    }
    errors
}

fn hook_id(endpoint: &Endpoint, options: &Options) -> u64 {
    /// The bits of an endpoint's id that make its hook's.
    const BITS: u128 = (1 << 48) - 1;
    let made = u64::try_from(endpoint.id.as_u128() & BITS).expect("48 bits fit into 64");
    options.hook_id.unwrap_or(made)
}

fn render(delivered: &Delivered<'_>, name: &str) -> Result<Rendered, RenderError> {
    let secret = whole_secret::signing(delivered)?;
    let options: Options = options::own(delivered.endpoint)?;
    let hook_id = hook_id(delivered.endpoint, &options);
    let raw = &delivered.event.data;
    let data: Members<'_> = serde_json::from_str(raw.get())
        .map_err(|_| RenderError::BadData("data is not an object"))?;

    let mut body = Vec::with_capacity(raw.get().len() + 64);
    let event = match name.split_once('.') {
        _ if name == TEST => {
            write_ping(&mut body, delivered.endpoint, hook_id, &data);
            PING
        }
        Some((event, action)) => {
            write_body(&mut body, action, &data);
            event
        }
        None => return Err(RenderError::NotExpressible),
    };
    let signature = whole_secret::signature(secret, &[&body]);
    Ok(Rendered {
        headers: vec![
            ("content-type", "application/json".to_owned()),
            (EVENT, event.to_owned()),
            (DELIVERY, guid(delivered.delivery.as_u128())),
            ("x-github-hook-id", hook_id.to_string()),
            ("x-hub-signature", sha1_signature(secret, &body)),
            (SIGNATURE, format!("{PREFIX}{signature}")),
        ],
        body: body.into(),
    })
}

fn sha1_signature(secret: &str, body: &[u8]) -> String {
    let mut mac =
        Hmac::<Sha1>::new_from_slice(secret.as_bytes()).expect("HMAC takes keys of any length");
    mac.update(body);
    format!("sha1={}", hex(&mac.finalize().into_bytes()))
}

/// The action and then `data` as it came, but for the actor, who is the sender here, and an action
/// of its own.
fn write_body(out: &mut Vec<u8>, action: &str, data: &Members<'_>) {
    let mut members = Object::begin(out);
    members.text("action", action);
    for (name, value) in &data.0 {
        match name.as_ref() {
            "action" if text(value).is_some_and(|same| same == action) => {}
            "action" => members.value(&own_name(name, data), value),
            "actor" => match sender(data, value) {
                Some(sender) => members.member("sender").extend_from_slice(&sender),
                None => members.value(name, value),
            },
            _ => members.value(name, value),
        }
    }
    members.end();
}

/// What a member of `data` is called whose name GitHub's format needs.
fn own_name(name: &str, data: &Members<'_>) -> String {
    another_name(name, |another| data.has(another))
}

/// `data`'s own `action`, in a body.
const OWN_ACTION: &str = "data_action";

/// The actor as GitHub shows the sender of an event, with whatever else is known of him.
fn sender(data: &Members<'_>, actor: &RawValue) -> Option<Vec<u8>> {
    let actor: Members<'_> = serde_json::from_str(actor.get()).ok()?;
    let kind = text(actor.get("type")?)?;
    if data.has("sender") || actor.has("login") || actor.has(ACTOR_TYPE) {
        return None;
    }
    let known = [USER, BOT].into_iter().find(|(_, ours)| *ours == kind);
    let mut out = Vec::new();
    let mut members = Object::begin(&mut out);
    if let Some(id) = actor.get("id") {
        members.value("login", id);
    }
    members.text("type", known.map_or(BOT.0, |(theirs, _)| theirs));
    if known.is_none() {
        members.text(ACTOR_TYPE, &kind);
    }
    for (name, value) in actor.0.iter().filter(|(name, _)| !is_named(name)) {
        members.value(name, value);
    }
    members.end();
    Some(out)
}

/// Whether GitHub has a name of its own for this member of an actor.
fn is_named(member: &str) -> bool {
    matches!(member, "type" | "id")
}

/// GitHub's kinds of senders, and the types of actors.
const USER: (&str, &str) = ("User", "user");
const BOT: (&str, &str) = ("Bot", "system");
/// The type of an actor who is neither, beside GitHub's.
const ACTOR_TYPE: &str = "actor_type";

/// The actor behind a sender, if the sender is one of ours.
fn actor(sender: &RawValue) -> Option<Vec<u8>> {
    let sender: Members<'_> = serde_json::from_str(sender.get()).ok()?;
    let (login, rest) = match sender.0.as_slice() {
        [(name, id), rest @ ..] if name == "login" && !is_null(id) => (Some(*id), rest),
        rest => (None, rest),
    };
    let [(name, kind), rest @ ..] = rest else {
        return None;
    };
    let kind = text(kind).filter(|_| name == "type")?;
    let (kind, rest) = match rest {
        [(name, own), rest @ ..] if name == ACTOR_TYPE && kind == BOT.0 => {
            let is_other = |own: &Cow<'_, str>| ![USER.1, BOT.1].contains(&own.as_ref());
            (text(own).filter(is_other)?, rest)
        }
        rest => {
            let mut known = [USER, BOT].into_iter();
            let (_, ours) = known.find(|(theirs, _)| *theirs == kind)?;
            (Cow::Borrowed(ours), rest)
        }
    };
    let is_taken = |name: &str| is_named(name) || matches!(name, "login" | ACTOR_TYPE);
    if rest.iter().any(|(name, _)| is_taken(name)) {
        return None;
    }
    let mut out = Vec::new();
    let mut members = Object::begin(&mut out);
    members.text("type", &kind);
    if let Some(id) = login {
        members.value("id", id);
    }
    for (name, value) in rest {
        members.value(name, value);
    }
    members.end();
    Some(out)
}

/// What a new hook is greeted with; a ping's own data goes as it came.
fn write_ping(out: &mut Vec<u8>, endpoint: &Endpoint, hook_id: u64, data: &Members<'_>) {
    let mut members = Object::begin(out);
    let is_ping = data.has("zen");
    if !is_ping {
        members.text("zen", ZEN);
        let hook_id = hook_id.to_string();
        members
            .member("hook_id")
            .extend_from_slice(hook_id.as_bytes());
        write_hook(members.member("hook"), endpoint, &hook_id);
    }
    for (name, value) in &data.0 {
        let is_written = !is_ping && matches!(name.as_ref(), "hook_id" | "hook");
        if is_written || name == "action" {
            members.value(&own_name(name, data), value);
        } else {
            members.value(name, value);
        }
    }
    members.end();
}

fn write_hook(out: &mut Vec<u8>, endpoint: &Endpoint, hook_id: &str) {
    let mut hook = Object::begin(out);
    hook.text("type", "Repository");
    hook.member("id").extend_from_slice(hook_id.as_bytes());
    hook.text("name", "web");
    hook.member("active").extend_from_slice(b"true");
    serde_json::to_writer(hook.member("events"), &endpoint.event_types)
        .expect("a list of strings always serializes into memory");
    let mut config = Object::begin(hook.member("config"));
    config.text("content_type", "json");
    config.text("url", endpoint.url.as_str());
    config.end();
    hook.end();
}

fn verify(received: &Received<'_>, secret: &str) -> Result<(), VerifyError> {
    whole_secret::verify(received, SIGNATURE, PREFIX, secret, &[received.body])
}

/// The event's name in full: what the header says, and the body's action.
fn name(event: &str, body: &Members<'_>) -> String {
    match (event, body.get("action").and_then(text)) {
        (PING, None) => TEST.to_owned(),
        (event, Some(action)) => format!("{event}.{action}"),
        (event, None) => event.to_owned(),
    }
}

/// Hooks send forms unless they are told otherwise.
fn expected(received: &Received<'_>) -> &'static str {
    match (received.headers)("content-type") {
        Some(media_type) if media_type.starts_with("application/x-www-form-urlencoded") => {
            "set the hook's content type to application/json, not to a form"
        }
        Some(_) | None => "expected a JSON object",
    }
}

fn identify(received: &Received<'_>) -> Result<Verified, VerifyError> {
    let body: Members<'_> = serde_json::from_slice(received.body)
        .map_err(|_| VerifyError::BadBody(expected(received)))?;
    Ok(Verified {
        id: received.header(DELIVERY)?.to_owned(),
        event_type: name(received.header(EVENT)?, &body),
    })
}

fn parse(received: &Received<'_>, _: &Taker<'_>) -> Result<Submissions, ParseError> {
    let body: Members<'_> = serde_json::from_slice(received.body)
        .map_err(|_| ParseError::BadBody(expected(received)))?;
    let event = (received.headers)(EVENT)
        .ok_or(ParseError::BadBody("the header x-github-event is missing"))?;
    let mut data = Vec::with_capacity(received.body.len());
    let mut members = Object::begin(&mut data);
    let has_actor = body.0.iter().any(|(name, _)| name == "actor");
    for (name, value) in &body.0 {
        match name.as_ref() {
            "action" => {}
            OWN_ACTION => members.value("action", value),
            "sender" if !has_actor => match actor(value) {
                Some(actor) => members.member("actor").extend_from_slice(&actor),
                None => members.value(name, value),
            },
            _ => members.value(name, value),
        }
    }
    members.end();
    let submitted = Submitted {
        id: (received.headers)(DELIVERY),
        name: &name(event, &body),
        data: &data,
        ..Submitted::default()
    };
    Ok(vec![submitted.submit(&FORMAT.names)])
}
