use std::sync::{Arc, LazyLock};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use dialect::{
    Delivered, Dialect, Received, RenderError, Rendered, SigningKeys, Submissions, Taker, Verified,
    VerifyError,
};
use model::{
    DeliveryId, Endpoint, EndpointId, EndpointSecret, Environment, Event, EventId, KeyAlgorithm,
    SigningKey, Submission, TenantId, Timestamp,
};
use secrecy::SecretString;
use serde_json::value::RawValue;

/// 2026-04-15T12:00:00Z, the attempt time of all vectors.
pub(crate) const NOW: Timestamp = Timestamp::from_seconds(1_776_254_400);
pub(crate) const SECRET: &str = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
pub(crate) const OLD_SECRET: &str = "whsec_ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8=";

pub(crate) fn event(event_type: &str, data: &str) -> Event {
    Event {
        tenant: TenantId::new("acme").unwrap(),
        id: EventId::new("evt_01JRX5K9Q8ZV3T7Y2M4N6P8R0S").unwrap(),
        event_type: event_type.parse().unwrap(),
        occurred_at: NOW,
        accepted_at: NOW,
        environment: Environment::Production,
        product: None,
        license: None,
        sequence: None,
        data: Arc::from(RawValue::from_string(data.to_owned()).unwrap()),
    }
}

pub(crate) fn endpoint(dialect: Dialect, secrets: &[(&str, Option<Timestamp>)]) -> Endpoint {
    let tenant = TenantId::new("acme").unwrap();
    let url = "https://receiver.example/hooks".parse().unwrap();
    Endpoint {
        secrets: secrets
            .iter()
            .map(|(value, signs_until)| secret(value, *signs_until))
            .collect(),
        ..Endpoint::new(
            EndpointId::new(NOW, 1),
            tenant,
            url,
            dialect.name(),
            "".into(),
        )
    }
}

fn secret(value: &str, signs_until: Option<Timestamp>) -> EndpointSecret {
    EndpointSecret {
        value: value.into(),
        created_at: NOW,
        signs_until,
    }
}

pub(crate) fn render(
    dialect: Dialect,
    event: &Event,
    endpoint: &Endpoint,
) -> Result<Rendered, RenderError> {
    dialect.render(&Delivered {
        event,
        endpoint,
        delivery: DeliveryId::new(NOW, 2),
        keys: keys(),
        now: NOW,
    })
}

/// The tenant's key pair of this algorithm.
pub(crate) fn signing_key(algorithm: KeyAlgorithm) -> SigningKey {
    let private_key = match algorithm {
        KeyAlgorithm::Ed25519 => SigningKeys::generate(
            algorithm,
            std::array::from_fn(|at| u8::try_from(at).unwrap()),
        ),
        KeyAlgorithm::EcdsaP256 => SigningKeys::generate(algorithm, [7; 32]),
        // Making one takes long.
        KeyAlgorithm::Rsa => {
            let pem = include_str!("rsa.pem").lines();
            let base64: String = pem.filter(|line| !line.starts_with('-')).collect();
            BASE64.decode(base64).unwrap().into()
        }
    };
    SigningKey {
        tenant: TenantId::new("acme").unwrap(),
        algorithm,
        created_at: NOW,
        private_key,
    }
}

pub(crate) fn keys() -> &'static SigningKeys {
    static KEYS: LazyLock<SigningKeys> = LazyLock::new(|| {
        let keys: Vec<_> = KeyAlgorithm::ALL.iter().copied().map(signing_key).collect();
        SigningKeys::read(&keys).unwrap()
    });
    &KEYS
}

pub(crate) fn header<'r>(rendered: &'r Rendered, name: &str) -> Option<&'r str> {
    let found = rendered.headers.iter().find(|(known, _)| *known == name);
    found.map(|(_, value)| value.as_str())
}

pub(crate) fn verify(
    dialect: Dialect,
    secret: &str,
    rendered: &Rendered,
    now: Timestamp,
) -> Result<Verified, VerifyError> {
    let headers = |name: &str| match name {
        "host" => Some("receiver.example"),
        name => header(rendered, name),
    };
    let received = received(&headers, &rendered.body, now);
    dialect.verify(&SecretString::from(secret), &received)
}

pub(crate) fn received<'a>(
    headers: &'a dyn Fn(&str) -> Option<&'a str>,
    body: &'a [u8],
    now: Timestamp,
) -> Received<'a> {
    Received {
        target: "/hooks",
        url: None,
        headers,
        body,
        now,
    }
}

/// What a tenant without event types of its own makes of a request.
pub(crate) fn parse(dialect: Dialect, received: &Received<'_>) -> Submissions {
    let taker = Taker {
        knows: &model::is_catalogued,
        environment: None,
    };
    dialect.parse(received, &taker).unwrap()
}

/// The same of a request with one event.
#[track_caller]
pub(crate) fn parse_one(dialect: Dialect, received: &Received<'_>) -> Submission {
    let [read] = parse(dialect, received).try_into().unwrap();
    read.unwrap()
}

pub(crate) fn body(rendered: &Rendered) -> &str {
    std::str::from_utf8(&rendered.body).unwrap()
}

/// What the endpoint's receiver verifies with.
pub(crate) fn key(endpoint: &Endpoint, secret: &str) -> String {
    let dialect = Dialect::of(endpoint).unwrap();
    match dialect.signed_with(endpoint).first() {
        Some(algorithm) if !dialect.profile().secret_verifies => {
            let published = SigningKeys::publish(&signing_key(*algorithm)).unwrap();
            match algorithm {
                KeyAlgorithm::Ed25519 => published.public_key,
                KeyAlgorithm::Rsa | KeyAlgorithm::EcdsaP256 => published.pem,
            }
        }
        _ => secret.to_owned(),
    }
}

/// Lower-case hexadecimal of the HMAC-SHA256 of a body.
pub(crate) fn hex_code(secret: &str, body: &str) -> String {
    use hmac::{Hmac, KeyInit as _, Mac as _};
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(body.as_bytes());
    let code = mac.finalize().into_bytes();
    code.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Whether a header is the signature, or covered by it: then no other value verifies.
pub(crate) fn is_signed_or_signature(_dialect: Dialect, name: &str) -> bool {
    matches!(
        name,
        "webhook-id"
            | "webhook-timestamp"
            | "webhook-signature"
            | "x-keyport-signature"
            | "x-keyport-timestamp"
            | "x-webhook-signature"
            | "x-signature-sha256"
            | "stripe-signature"
            | "x-hub-signature-256"
            | "keygen-signature"
    )
}
