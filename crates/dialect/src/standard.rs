//! Standard Webhooks 1.0.0 (standard-webhooks/spec/standard-webhooks.md).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use model::{EndpointSecret, Timestamp};
use secrecy::ExposeSecret as _;
use serde::Deserialize;

use crate::formats::{Format, Names, Received, SECRET_PREFIX};
use crate::hmac_sha256::{code, same};
use crate::{Delivered, RenderError, Rendered, Verified, VerifyError};

pub(crate) const FORMAT: Format = Format {
    names: Names::Canonical,
    render,
    verify,
    check_secret,
};

/// How far a request's timestamp may lie from the receiver's clock, in seconds.
pub(crate) const TOLERANCE_S: u64 = 5 * 60;

/// Signatures in one request at most; of more secrets the newest sign.
const SIGNATURES_MAX: usize = 8;

/// A key's length in bytes, from the specification's "Signature scheme".
const KEY_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

fn render(delivered: &Delivered<'_>, name: &str) -> Result<Rendered, RenderError> {
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

    let timestamp = delivered.now.as_seconds().to_string();
    let secrets = delivered.endpoint.signing_secrets(delivered.now);
    let signature = signatures(secrets, event.id.as_str(), &timestamp, &body)?;
    Ok(Rendered {
        headers: vec![
            ("content-type", "application/json".to_owned()),
            ("webhook-id", event.id.to_string()),
            ("webhook-timestamp", timestamp),
            ("webhook-signature", signature),
        ],
        body: body.into(),
    })
}

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

const SECRET_EXPECTED: &str = "must be whsec_ and the base64 of 24 to 64 bytes";

fn check_secret(secret: &str) -> Result<(), &'static str> {
    if secret.starts_with(SECRET_PREFIX) {
        key(secret).map(drop)
    } else {
        Err(SECRET_EXPECTED)
    }
}

/// The key within a secret: what its base64 says. Receivers may hold it without the prefix.
fn key(secret: &str) -> Result<Vec<u8>, &'static str> {
    let key = BASE64.decode(secret.strip_prefix(SECRET_PREFIX).unwrap_or(secret));
    key.ok()
        .filter(|key| KEY_BYTES.contains(&key.len()))
        .ok_or(SECRET_EXPECTED)
}

fn verify(received: &Received<'_, '_>) -> Result<Verified, VerifyError> {
    let id = received.header("webhook-id")?;
    let timestamp = received.header("webhook-timestamp")?;
    let given = received.header("webhook-signature")?;
    check_age(timestamp, received.now)?;
    let key = key(received.secret.expose_secret()).map_err(VerifyError::BadSecret)?;
    if !given
        .split(' ')
        .any(|signature| signature.starts_with(VERSION))
    {
        return Err(VerifyError::BadHeader {
            header: "webhook-signature",
            expected: "a list of v1,<base64>",
        });
    }
    let mut expected = String::new();
    sign_into(&mut expected, &key, [id, timestamp], received.body);
    if !given.split(' ').any(|signature| same(&expected, signature)) {
        return Err(VerifyError::SignatureMismatch);
    }
    #[derive(Deserialize)]
    struct Body {
        #[serde(rename = "type")]
        event_type: String,
    }
    let body: Body = serde_json::from_slice(received.body)
        .map_err(|_| VerifyError::BadBody("expected a JSON object with the member type"))?;
    Ok(Verified {
        id: id.to_owned(),
        event_type: body.event_type,
    })
}

fn check_age(timestamp: &str, now: Timestamp) -> Result<(), VerifyError> {
    let seconds: i64 = timestamp.parse().map_err(|_| VerifyError::BadHeader {
        header: "webhook-timestamp",
        expected: "a time in whole seconds since 1970",
    })?;
    let sent_at = Timestamp::from_seconds(seconds);
    let (behind, ahead) = (now.since(sent_at).as_secs(), sent_at.since(now).as_secs());
    if behind > TOLERANCE_S {
        Err(VerifyError::TooOld(behind - TOLERANCE_S))
    } else if ahead > TOLERANCE_S {
        Err(VerifyError::TooNew(ahead - TOLERANCE_S))
    } else {
        Ok(())
    }
}
