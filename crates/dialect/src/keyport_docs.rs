//! KeyPort, as its reference pages show it: other headers, another signed text and another body
//! than its guide's.

use std::time::Duration;

use model::Timestamp;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::compact::Object;
use crate::data::{Members, text};
use crate::formats::Format;
use crate::names::Names;
use crate::profile::{OptionDoc, option};
use crate::request::{
    ParseError, Received, RenderError, Rendered, Submissions, Taker, Verified, VerifyError,
};
use crate::submitted::{Submitted, body_id};
use crate::{Delivered, keyport, options, whole_secret};

pub(crate) const FORMAT: Format = Format {
    names: Names::Own(keyport::NAMES),
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
    "include_data",
    "false, true",
    "the event's own data behind organization_id and product_id",
)];

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Options {
    include_data: bool,
}

const EVENT: &str = "x-keyport-event";
const TIMESTAMP: &str = "x-keyport-timestamp";
const SIGNATURE: &str = "x-keyport-signature";
const PREFIX: &str = "hmac-sha256=";

/// Whose event it is: all that KeyPort's pages show in `data`.
const ORGANIZATION: &str = "organization_id";
const PRODUCT: &str = "product_id";

fn render(delivered: &Delivered<'_>, name: &str) -> Result<Rendered, RenderError> {
    let event = delivered.event;
    let secret = whole_secret::signing(delivered)?;
    let options: Options = options::own(delivered.endpoint)?;
    let data: Members<'_> = serde_json::from_str(event.data.get())
        .map_err(|_| RenderError::BadData("data is not an object"))?;

    let mut body = Vec::with_capacity(event.data.get().len() + 192);
    let mut members = Object::begin(&mut body);
    members.text("event", name);
    members.text("timestamp", &event.occurred_at.rfc3339(3));
    let mut inner = Object::begin(members.member("data"));
    for (name, ours) in [
        (ORGANIZATION, Some(event.tenant.as_str())),
        (PRODUCT, event.product.as_deref()),
    ] {
        match (data.get(name), ours) {
            (Some(given), _) => inner.value(name, given),
            (None, Some(ours)) => inner.text(name, ours),
            (None, None) => {}
        }
    }
    let goes_along = |name: &str| options.include_data && name != ORGANIZATION && name != PRODUCT;
    for (name, value) in data.0.iter().filter(|(name, _)| goes_along(name)) {
        inner.value(name, value);
    }
    inner.end();
    members.end();

    let timestamp = delivered.now.as_seconds().to_string();
    let signature = whole_secret::signature(secret, &[timestamp.as_bytes(), b".", &body]);
    Ok(Rendered {
        headers: vec![
            ("content-type", "application/json".to_owned()),
            (EVENT, name.to_owned()),
            (TIMESTAMP, timestamp),
            (SIGNATURE, format!("{PREFIX}{signature}")),
        ],
        body: body.into(),
    })
}

/// KeyPort dates a request by its event, and its last retry comes this long after that.
const RETRIED_FOR: Duration = Duration::from_secs((1 + 5 + 30) * 60);

fn verify(received: &Received<'_>, secret: &str) -> Result<(), VerifyError> {
    let timestamp = received.header(TIMESTAMP)?;
    let signed = [timestamp.as_bytes(), b".", received.body];
    whole_secret::verify(received, SIGNATURE, PREFIX, secret, &signed)?;
    let seconds = timestamp.parse().map_err(|_| VerifyError::BadHeader {
        header: TIMESTAMP,
        expected: "a time in whole seconds since 1970",
    })?;
    let dated = Timestamp::from_seconds(seconds);
    let sent_at = dated.max(received.now.min(dated.plus(RETRIED_FOR)));
    received.check_age(sent_at)
}

#[derive(Deserialize)]
struct Body<'a> {
    event: String,
    timestamp: Option<String>,
    #[serde(borrow)]
    data: &'a RawValue,
}

const EXPECTED: &str = "expected a JSON object with the members event, timestamp and data";

fn identify(received: &Received<'_>) -> Result<Verified, VerifyError> {
    let body: Body<'_> =
        serde_json::from_slice(received.body).map_err(|_| VerifyError::BadBody(EXPECTED))?;
    Ok(Verified {
        id: body_id(received, body.timestamp.is_some()),
        event_type: body.event,
    })
}

fn parse(received: &Received<'_>, _: &Taker<'_>) -> Result<Submissions, ParseError> {
    let bad = |_| ParseError::BadBody(EXPECTED);
    let body: Body<'_> = serde_json::from_slice(received.body).map_err(bad)?;
    let data: Members<'_> = serde_json::from_str(body.data.get()).map_err(bad)?;
    let product = data.get(PRODUCT).and_then(text);
    let submitted = Submitted {
        id: Some(&body_id(received, body.timestamp.is_some())),
        name: &body.event,
        occurred_at: body.timestamp.as_deref(),
        product: product.as_deref(),
        data: body.data.get().as_bytes(),
        ..Submitted::default()
    };
    Ok(vec![submitted.submit(&FORMAT.names)])
}
