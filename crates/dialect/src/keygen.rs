//! Keygen: JSON:API webhook events, signed with a key pair of the account.

use model::{Endpoint, EventId, FieldError, KeyAlgorithm};
use serde::Deserialize;
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use crate::compact::{self, Object};
use crate::formats::Format;
use crate::guid::{guid, is_guid};
use crate::hmac_sha256::hex;
use crate::keygen_document::{self, Rendering, write_account};
use crate::keygen_names::NAMES;
use crate::keygen_reading;
use crate::keygen_signature::{self, Algorithm, Signing};
use crate::keygen_versions::ApiVersion;
use crate::names::Names;
use crate::profile::{OptionDoc, option};
use crate::request::{
    ParseError, Received, RenderError, Rendered, Submissions, Taker, Verified, VerifyError,
};
use crate::rsa_sha256::Padding;
use crate::submitted::Submitted;
use crate::{Delivered, SigningKeys, options, whole_secret};

pub(crate) const FORMAT: Format = Format {
    names: Names::Own(NAMES),
    render,
    render_batch: None,
    verify,
    identify,
    parse,
    check_secret: whole_secret::check,
    check_options,
};

/// What `dialect_options` may hold.
pub(crate) const OPTIONS: &[OptionDoc] = &[
    option(
        "algorithm",
        "ed25519, rsa-pss-sha256, rsa-sha256, ecdsa-p256",
        "how requests are signed",
    ),
    option(
        "api_version",
        "1.8, or 1.3 to 1.7",
        "up to 1.6 policies have a leasingStrategy, up to 1.5 the relationship owner is called \
             user, up to 1.4 names within metadata are in snake_case, up to 1.3 policies have \
             strategies of fingerprints",
    ),
    option(
        "account_id",
        "one that follows from the tenant, or a UUID",
        "the account in links, relationships and keyid",
    ),
    option(
        "user_relationship",
        "true, false",
        "the owner also as user, from 1.6 on",
    ),
    option(
        "host_strip_port",
        "false, true",
        "the host is signed without its port, as Keygen does",
    ),
    option(
        "legacy_signature",
        "false, true",
        "x-signature: base64 RSA-SHA256 of the body",
    ),
];

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Options {
    algorithm: Algorithm,
    api_version: ApiVersion,
    /// The account's UUID; without, one that follows from the tenant's id.
    account_id: Option<String>,
    /// Whether what belongs to an `owner` also has him as `user`, from version 1.6 on.
    user_relationship: bool,
    /// Whether the host is signed without its port, as Keygen does.
    host_strip_port: bool,
    /// Whether `x-signature` is there too, as for accounts from before June 2021.
    legacy_signature: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            algorithm: Algorithm::default(),
            api_version: ApiVersion::default(),
            account_id: None,
            user_relationship: true,
            host_strip_port: false,
            legacy_signature: false,
        }
    }
}

impl Options {
    const fn owners(&self) -> &'static [&'static str] {
        match (
            self.api_version.calls_owners_users(),
            self.user_relationship,
        ) {
            (true, _) => &["user"],
            (false, true) => &["owner", "user"],
            (false, false) => &["owner"],
        }
    }
}

fn check_options(given: &Map<String, Value>) -> Vec<FieldError> {
    let mut errors = options::check::<Options>(given);
    let account = given.get("account_id").and_then(Value::as_str);
    if !account.is_none_or(is_guid) {
        let detail = "must be a UUID in small letters";
        errors.push(options::error("account_id", detail));
    }
    errors
}

/// The tenant's keys that sign for this endpoint.
pub(crate) fn signed_with(endpoint: &Endpoint) -> Vec<KeyAlgorithm> {
    let options: Options = options::own(endpoint).unwrap_or_default();
    let mut keys = vec![options.algorithm.key()];
    if options.legacy_signature && !keys.contains(&KeyAlgorithm::Rsa) {
        keys.push(KeyAlgorithm::Rsa);
    }
    keys
}

fn render(delivered: &Delivered<'_>, name: &str) -> Result<Rendered, RenderError> {
    let (event, endpoint) = (delivered.event, delivered.endpoint);
    let options: Options = options::own(endpoint)?;
    let account = options.account_id.as_deref();
    let account = account.map_or_else(|| SigningKeys::id(&event.tenant), str::to_owned);

    let mut payload = Vec::with_capacity(event.data.get().len() + 1024);
    let rendering = Rendering {
        name,
        account: &account,
        owners: options.owners(),
        version: options.api_version,
    };
    keygen_document::write(&mut payload, &rendering, event)?;
    let payload = String::from_utf8(payload).expect("what is made of texts is text");
    let body = envelope(delivered, &rendering, &payload);

    let signing = Signing {
        keys: delivered.keys,
        algorithm: options.algorithm,
        account: &account,
        url: &endpoint.url,
        strips_port: options.host_strip_port,
        now: delivered.now,
    };
    let mut headers = vec![("content-type", "application/json".to_owned())];
    headers.extend(signing.headers(&body)?);
    headers.push(("keygen-version", options.api_version.to_string()));
    if options.legacy_signature {
        headers.push(("x-signature", legacy_signature(delivered.keys, &body)?));
    }
    Ok(Rendered {
        headers,
        body: body.into(),
    })
}

fn legacy_signature(keys: &SigningKeys, body: &[u8]) -> Result<String, RenderError> {
    use base64::Engine as _;
    let signature = keys.rsa()?.sign(Padding::Pkcs1, body);
    Ok(base64::engine::general_purpose::STANDARD.encode(signature))
}

/// The resource `webhook-events` that the document travels in.
fn envelope(delivered: &Delivered<'_>, rendering: &Rendering<'_>, payload: &str) -> Vec<u8> {
    let (event, account) = (delivered.event, rendering.account);
    let id = guid(delivered.delivery.as_u128());
    let created = event.occurred_at.rfc3339(3);
    let mut body = Vec::with_capacity(payload.len() * 5 / 4 + 1024);
    let mut document = Object::begin(&mut body);
    let mut data = Object::begin(document.member("data"));
    data.text("id", &id);
    data.text("type", "webhook-events");

    let mut attributes = Object::begin(data.member("attributes"));
    attributes.text("endpoint", delivered.endpoint.url.as_str());
    attributes.text("apiVersion", &rendering.version.to_string());
    compact::string(attributes.member("payload"), payload);
    attributes.text("event", rendering.name);
    attributes.text("status", "DELIVERING");
    for name in ["lastResponseCode", "lastResponseBody"] {
        attributes.member(name).extend_from_slice(b"null");
    }
    attributes.text("created", &created);
    attributes.text("updated", &created);
    attributes.end();

    let mut relationships = Object::begin(data.member("relationships"));
    write_account(relationships.member("account"), account);
    relationships.end();
    let mut links = Object::begin(data.member("links"));
    links.text(
        "self",
        &format!("/v1/accounts/{account}/webhook-events/{id}"),
    );
    links.end();
    let mut meta = Object::begin(data.member("meta"));
    meta.text("idempotencyToken", &idempotency_token(delivered));
    meta.end();
    data.end();
    document.end();
    body
}

/// The same for every attempt, another for every endpoint: 62 hexadecimal digits and `v3`. An event
/// that Keygen sent us keeps its token.
fn idempotency_token(delivered: &Delivered<'_>) -> String {
    let event = &delivered.event;
    if is_token(&event.id) {
        return event.id.to_string();
    }
    let mut hash = Sha256::new();
    for part in [event.tenant.as_bytes(), event.id.as_bytes()] {
        hash.update(part);
        hash.update([0]);
    }
    hash.update(delivered.endpoint.id.as_u128().to_be_bytes());
    let digits = hex(&hash.finalize());
    format!("{}{TOKEN_ENDS}", &digits[..TOKEN_DIGITS])
}

const TOKEN_DIGITS: usize = 62;
const TOKEN_ENDS: &str = "v3";

fn is_token(id: &EventId) -> bool {
    let digits = id.strip_suffix(TOKEN_ENDS);
    digits.is_some_and(|digits| {
        digits.len() == TOKEN_DIGITS
            && digits
                .bytes()
                .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    })
}

fn verify(received: &Received<'_>, key: &str) -> Result<(), VerifyError> {
    let signed_by = keygen_signature::verify(received, key)?;
    // The name of the key is not signed, but a body that can be read has it too.
    match Body::read(received.body) {
        Some(body) if body.data.relationships.account.data.id != signed_by => {
            Err(VerifyError::BadHeader {
                header: keygen_signature::SIGNATURE,
                expected: "by the account in the body",
            })
        }
        Some(_) | None => Ok(()),
    }
}

#[derive(Deserialize)]
struct Body {
    data: Data,
}

#[derive(Deserialize)]
struct Data {
    attributes: Attributes,
    relationships: Relationships,
    meta: Meta,
}

#[derive(Deserialize)]
struct Attributes {
    payload: String,
    event: String,
    created: Option<String>,
}

#[derive(Deserialize)]
struct Relationships {
    account: Relationship,
}

#[derive(Deserialize)]
struct Relationship {
    data: Linkage,
}

#[derive(Deserialize)]
struct Linkage {
    id: String,
}

#[derive(Deserialize)]
struct Meta {
    #[serde(rename = "idempotencyToken")]
    idempotency_token: String,
}

const EXPECTED: &str = "expected a JSON:API document of a webhook event";

impl Body {
    fn read(body: &[u8]) -> Option<Self> {
        serde_json::from_slice(body).ok()
    }
}

fn identify(received: &Received<'_>) -> Result<Verified, VerifyError> {
    let body = Body::read(received.body).ok_or(VerifyError::BadBody(EXPECTED))?;
    Ok(Verified {
        id: body.data.meta.idempotency_token,
        event_type: body.data.attributes.event,
    })
}

fn parse(received: &Received<'_>, _: &Taker<'_>) -> Result<Submissions, ParseError> {
    let body = Body::read(received.body).ok_or(ParseError::BadBody(EXPECTED))?;
    let attributes = body.data.attributes;
    let read = keygen_reading::read(&attributes.event, &attributes.payload)?;
    let submitted = Submitted {
        id: Some(&body.data.meta.idempotency_token),
        name: &attributes.event,
        occurred_at: attributes.created.as_deref(),
        product: read.product.as_deref(),
        data: &read.data,
        ..Submitted::default()
    };
    Ok(vec![submitted.submit(&FORMAT.names)])
}
