//! Standard Webhooks 1.0.0 (standard-webhooks/spec/standard-webhooks.md).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use model::{Endpoint, EndpointSecret, KeyAlgorithm};
use secrecy::ExposeSecret as _;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::formats::{Format, SECRET_PREFIX};
use crate::hmac_sha256::{code, same};
use crate::names::Names;
use crate::profile::{OptionDoc, option};
use crate::public_key::{PublicKey, WHPK};
use crate::request::{
    ParseError, Received, RenderError, Rendered, Submissions, Taker, Verified, VerifyError,
};
use crate::rsa_sha256::Padding;
use crate::submitted::Submitted;
use crate::{Delivered, options};

pub(crate) const FORMAT: Format = Format {
    names: Names::Canonical,
    render,
    render_batch: None,
    verify: verify_signature,
    identify,
    parse,
    check_secret,
    check_options: options::check::<Options>,
};

/// What `dialect_options` may hold.
pub(crate) const OPTIONS: &[OptionDoc] = &[
    option(
        "svix_headers",
        "false, true",
        "the three headers under Svix's names too",
    ),
    option(
        "ed25519",
        "false, true",
        "a further signature v1a,<base64>, made with the tenant's Ed25519 key",
    ),
];

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Options {
    /// Whether the three headers are there under Svix's names too, for receivers of its libraries.
    svix_headers: bool,
    /// Whether the tenant's Ed25519 key signs too.
    ed25519: bool,
}

/// Signatures in one request at most; of more secrets the newest sign.
const SIGNATURES_MAX: usize = 8;

/// A key's length in bytes, from the specification's "Signature scheme".
const KEY_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

fn render(delivered: &Delivered<'_>, name: &str) -> Result<Rendered, RenderError> {
    let options: Options = options::own(delivered.endpoint)?;
    let event = delivered.event;
    let data = event.data.get();
    let mut body = Vec::with_capacity(data.len() + name.len() + 96);
    body.extend_from_slice(br#"{"type":""#);
    body.extend_from_slice(name.as_bytes());
    body.extend_from_slice(br#"","timestamp":""#);
    body.extend_from_slice(event.occurred_at.rfc3339(6).as_bytes());
    body.extend_from_slice(br#"","data":"#);
    body.extend_from_slice(data.as_bytes());
    if let Some(sequence) = event.sequence {
        body.extend_from_slice(br#","sequence":"#);
        body.extend_from_slice(sequence.to_string().as_bytes());
    }
    body.push(b'}');

    let mut signed = signed_headers(delivered, &body)?;
    if options.ed25519 {
        let [(_, id), (_, timestamp), (_, signatures)] = &mut signed;
        let message = [id.as_bytes(), b".", timestamp.as_bytes(), b".", &body].concat();
        signatures.push(' ');
        signatures.push_str(ASYMMETRIC_VERSION);
        BASE64.encode_string(delivered.keys.ed25519(&message)?, signatures);
    }
    let mut headers = vec![("content-type", "application/json".to_owned())];
    if options.svix_headers {
        let values = signed.iter().map(|(_, value)| value.clone());
        headers.extend(SVIX.into_iter().zip(values));
    }
    headers.extend(signed);
    Ok(Rendered {
        headers,
        body: body.into(),
    })
}

/// The three headers that identify, date and sign a body.
pub(crate) fn signed_headers(
    delivered: &Delivered<'_>,
    body: &[u8],
) -> Result<[(&'static str, String); 3], RenderError> {
    let id = delivered.event.id.as_str();
    let timestamp = delivered.now.as_seconds().to_string();
    let secrets = delivered.endpoint.signing_secrets(delivered.now);
    let signature = signatures(secrets, id, &timestamp, body)?;
    Ok([
        (ID, id.to_owned()),
        (TIMESTAMP, timestamp),
        (SIGNATURE, signature),
    ])
}

const ID: &str = "webhook-id";
const TIMESTAMP: &str = "webhook-timestamp";
const SIGNATURE: &str = "webhook-signature";
const OWN: [&str; 3] = [ID, TIMESTAMP, SIGNATURE];
const SVIX: [&str; 3] = ["svix-id", "svix-timestamp", "svix-signature"];

fn signatures<'a>(
    secrets: impl Iterator<Item = &'a EndpointSecret>,
    id: &str,
    timestamp: &str,
    body: &[u8],
) -> Result<String, RenderError> {
    let mut list = String::new();
    for secret in secrets.take(SIGNATURES_MAX) {
        let key = key(secret.value.expose_secret()).map_err(RenderError::BadSecret)?;
        if !list.is_empty() {
            list.push(' ');
        }
        sign_into(&mut list, &key, [id, timestamp], body);
    }
    if list.is_empty() {
        Err(RenderError::NoSecret)
    } else {
        Ok(list)
    }
}

fn sign_into(list: &mut String, key: &[u8], [id, timestamp]: [&str; 2], body: &[u8]) {
    let code = code(
        key,
        &[id.as_bytes(), b".", timestamp.as_bytes(), b".", body],
    );
    list.push_str(VERSION);
    BASE64.encode_string(code, list);
}

const VERSION: &str = "v1,";
const ASYMMETRIC_VERSION: &str = "v1a,";

/// The tenant's keys that sign for this endpoint.
pub(crate) fn signed_with(endpoint: &Endpoint) -> Vec<KeyAlgorithm> {
    let options: Options = options::own(endpoint).unwrap_or_default();
    let key = options.ed25519.then_some(KeyAlgorithm::Ed25519);
    key.into_iter().collect()
}

const SECRET_EXPECTED: &str =
    "must be the base64 of 24 to 64 bytes, with or without whsec_ before it";

pub(crate) fn check_secret(secret: &str) -> Result<(), &'static str> {
    key(secret).map(drop)
}

/// The key within a secret: what its base64 says, with or without the prefix.
fn key(secret: &str) -> Result<Vec<u8>, &'static str> {
    let key = BASE64.decode(secret.strip_prefix(SECRET_PREFIX).unwrap_or(secret));
    key.ok()
        .filter(|key| KEY_BYTES.contains(&key.len()))
        .ok_or(SECRET_EXPECTED)
}

/// The three headers as the request names them: Svix's senders may set theirs alone.
fn names(received: &Received<'_>) -> [&'static str; 3] {
    let has = |name: &&str| (received.headers)(name).is_some();
    if !OWN.iter().any(has) && SVIX.iter().any(has) {
        SVIX
    } else {
        OWN
    }
}

/// Whether the request carries a signature, right or wrong.
pub(crate) fn is_signed(received: &Received<'_>) -> bool {
    let [_, _, signature] = names(received);
    (received.headers)(signature).is_some()
}

/// What the request says identifies it.
pub(crate) fn id<'a>(received: &Received<'a>) -> Option<&'a str> {
    let [id, _, _] = names(received);
    (received.headers)(id)
}

pub(crate) fn verify_signature(received: &Received<'_>, secret: &str) -> Result<(), VerifyError> {
    let [id_name, timestamp_name, signature_name] = names(received);
    let id = received.header(id_name)?;
    let timestamp = received.header(timestamp_name)?;
    let given = received.header(signature_name)?;
    received.check_unix_age(timestamp_name, timestamp)?;
    if secret.starts_with(WHPK) {
        return verify_asymmetric(received, [id, timestamp, given], secret);
    }
    let key = key(secret).map_err(VerifyError::BadSecret)?;
    let mut signatures = given.split(' ');
    if !signatures.clone().any(|it| it.starts_with(VERSION)) {
        return Err(VerifyError::BadHeader {
            header: SIGNATURE,
            expected: "a list of v1,<base64>",
        });
    }
    let mut expected = String::new();
    sign_into(&mut expected, &key, [id, timestamp], received.body);
    if signatures.any(|signature| same(&expected, signature)) {
        Ok(())
    } else {
        Err(VerifyError::SignatureMismatch)
    }
}

fn verify_asymmetric(
    received: &Received<'_>,
    [id, timestamp, given]: [&str; 3],
    key: &str,
) -> Result<(), VerifyError> {
    let key = PublicKey::read(key).map_err(VerifyError::BadSecret)?;
    let message = [
        id.as_bytes(),
        b".",
        timestamp.as_bytes(),
        b".",
        received.body,
    ];
    let message = message.concat();
    let mut signatures = given
        .split(' ')
        .filter_map(|it| it.strip_prefix(ASYMMETRIC_VERSION))
        .peekable();
    if signatures.peek().is_none() {
        return Err(VerifyError::BadHeader {
            header: SIGNATURE,
            expected: "a list with a v1a,<base64>",
        });
    }
    let is_signature = |encoded: &str| {
        let signature = BASE64.decode(encoded);
        signature.is_ok_and(|signature| key.verifies(Padding::Pss, &message, &signature))
    };
    if signatures.take(SIGNATURES_MAX).any(is_signature) {
        Ok(())
    } else {
        Err(VerifyError::SignatureMismatch)
    }
}

#[derive(Deserialize)]
struct Body<'a> {
    #[serde(rename = "type")]
    event_type: String,
    timestamp: Option<String>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

fn identify(received: &Received<'_>) -> Result<Verified, VerifyError> {
    let body: Body<'_> = serde_json::from_slice(received.body)
        .map_err(|_| VerifyError::BadBody("expected a JSON object with the member type"))?;
    Ok(Verified {
        id: id(received).unwrap_or_default().to_owned(),
        event_type: body.event_type,
    })
}

fn parse(received: &Received<'_>, _: &Taker<'_>) -> Result<Submissions, ParseError> {
    let expected = "expected a JSON object with the members type, timestamp and data";
    let body: Body<'_> =
        serde_json::from_slice(received.body).map_err(|_| ParseError::BadBody(expected))?;
    let submitted = Submitted {
        id: id(received),
        name: &body.event_type,
        occurred_at: body.timestamp.as_deref(),
        data: body.data.map_or(b"{}", |data| data.get().as_bytes()),
        ..Submitted::default()
    };
    Ok(vec![submitted.submit(&FORMAT.names)])
}
