//! Verifies deliveries as a receiver would that knows nothing but the Standard Webhooks
//! specification, version 1.0.0; signs webhooks as other systems do.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use testkit::Received;

/// Whether a delivery in the dialect `standard` is signed with a secret.
pub fn verifies(received: &Received, secret: &str) -> bool {
    let (Some(id), Some(timestamp)) = (
        received.header("webhook-id"),
        received.header("webhook-timestamp"),
    ) else {
        return false;
    };
    let Some(key) = secret
        .strip_prefix("whsec_")
        .and_then(|key| STANDARD.decode(key).ok())
    else {
        return false;
    };
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).expect("a key of any length");
    mac.update(format!("{id}.{timestamp}.").as_bytes());
    mac.update(&received.body);
    let expected = format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()));
    signatures(received).contains(&expected.as_str())
}

/// The signatures that a delivery carries.
pub fn signatures(received: &Received) -> Vec<&str> {
    received
        .header("webhook-signature")
        .unwrap_or_default()
        .split(' ')
        .collect()
}

/// The headers that sign a body in the dialect `standard`, now.
pub fn signed(secret: &str, id: &str, body: &str) -> [(&'static str, String); 3] {
    let timestamp = ambient::now().as_seconds().to_string();
    let key = secret.trim_start_matches("whsec_");
    let key = STANDARD.decode(key).expect("a secret of the dialect");
    let signature = code(&key, &format!("{id}.{timestamp}.{body}"));
    [
        ("webhook-id", id.to_owned()),
        ("webhook-timestamp", timestamp),
        (
            "webhook-signature",
            format!("v1,{}", STANDARD.encode(signature)),
        ),
    ]
}

/// The code of a body, keyed with the secret as it stands, in hexadecimal digits.
pub fn hex_code(secret: &str, body: &str) -> String {
    let code = code(secret.as_bytes(), body);
    code.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn code(key: &[u8], message: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("a key of any length");
    mac.update(message.as_bytes());
    mac.finalize().into_bytes().to_vec()
}
