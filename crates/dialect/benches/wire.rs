//! What it costs to put one event on the wire, and to check it on arrival, dialect by dialect.

#![expect(clippy::unwrap_used, reason = "what a bench needs and lacks fails it")]

use std::sync::Arc;

use criterion::{Criterion, criterion_group, criterion_main};
use dialect::{Delivered, Dialect, Received, SigningKeys};
use model::{
    DeliveryId, Endpoint, EndpointId, Environment, Event, EventId, KeyAlgorithm, SigningKey,
    TenantId, Timestamp,
};
use secrecy::SecretString;
use serde_json::value::RawValue;

const NOW: Timestamp = Timestamp::from_seconds(1_776_254_400);
const SECRET: &str = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
const DATA: &str = r#"{
    "license":  {"id": "lic_7f3a", "key": "KP-ABCD-EFGH-IJKL", "name": "Production License", "status": "active",
                 "plan": "professional", "expires_at": "2027-04-15T00:00:00.000Z", "features": ["analytics"],
                 "current_activations": 3, "max_activations": 10, "metadata": {}},
    "customer": {"id": "cus_9", "name": "Acme", "email": "zoë@example.com"},
    "activation": {"id": "act_1", "fingerprint": "device-abc-123", "device_name": "MacBook Pro",
                   "device_type": "desktop", "ip_address": "203.0.113.9", "domain": "app.customer.com"},
    "reason": "chargeback", "actor": {"type": "user", "id": "usr_1"}
}"#;

fn event() -> Event {
    Event {
        tenant: TenantId::new("acme").unwrap(),
        id: EventId::new("evt_01JRX5K9Q8ZV3T7Y2M4N6P8R0S").unwrap(),
        // Every dialect has a name for it.
        event_type: "license.expired".parse().unwrap(),
        occurred_at: NOW,
        accepted_at: NOW,
        environment: Environment::Production,
        product: Some("prod_42".to_owned()),
        license: Some("lic_7f3a".parse().unwrap()),
        sequence: Some(7),
        data: Arc::from(RawValue::from_string(DATA.to_owned()).unwrap()),
    }
}

fn endpoint(dialect: Dialect) -> Endpoint {
    Endpoint::new(
        EndpointId::new(NOW, 1),
        TenantId::new("acme").unwrap(),
        "https://receiver.example/hooks".parse().unwrap(),
        dialect.name(),
        SECRET.into(),
    )
}

/// What dialects with a key pair sign with unless told otherwise.
fn signing_key() -> SigningKey {
    SigningKey {
        tenant: TenantId::new("acme").unwrap(),
        algorithm: KeyAlgorithm::Ed25519,
        created_at: NOW,
        private_key: SigningKeys::generate(KeyAlgorithm::Ed25519, [7; 32]),
    }
}

fn wire(criterion: &mut Criterion) {
    let (event, signing_key) = (event(), signing_key());
    let public_key = SigningKeys::publish(&signing_key).unwrap().public_key;
    let keys = SigningKeys::read(&[signing_key]).unwrap();
    for dialect in Dialect::ALL.iter().copied() {
        let endpoint = endpoint(dialect);
        let delivered = Delivered {
            event: &event,
            endpoint: &endpoint,
            delivery: DeliveryId::new(NOW, 2),
            keys: &keys,
            now: NOW,
        };
        let name = dialect.name();
        criterion.bench_function(&format!("{name}/render"), |bencher| {
            bencher.iter(|| dialect.render(&delivered).unwrap());
        });
        let rendered = dialect.render(&delivered).unwrap();
        let header = |wanted: &str| {
            let found = rendered.headers.iter().find(|(name, _)| *name == wanted);
            let sent = found.map(|(_, value)| value.as_str());
            sent.or((wanted == "host").then_some("receiver.example"))
        };
        let received = Received {
            target: "/hooks",
            url: None,
            headers: &header,
            body: &rendered.body,
            now: NOW,
        };
        let key = match dialect.profile().secret_verifies {
            true => SecretString::from(SECRET),
            false => SecretString::from(public_key.as_str()),
        };
        if dialect.verify(&key, &received).is_ok() {
            criterion.bench_function(&format!("{name}/verify"), |bencher| {
                bencher.iter(|| dialect.verify(&key, &received).unwrap());
            });
        }
    }
}

criterion_group!(benches, wire);
criterion_main!(benches);
