use std::sync::Arc;

use dialect::{Delivered, Dialect, RenderError, Rendered, Verified, VerifyError};
use model::{
    DeliveryId, Endpoint, EndpointId, EndpointSecret, EndpointState, Environment, Event, EventId,
    TenantId, Timestamp,
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
    Endpoint {
        id: EndpointId::new(NOW, 1),
        tenant: TenantId::new("acme").unwrap(),
        url: "https://receiver.example/hooks".parse().unwrap(),
        dialect: dialect.name().to_owned(),
        event_types: vec!["*".to_owned()],
        name: None,
        description: None,
        environment: None,
        product: None,
        retry: None,
        timeout_s: None,
        rate_limit: None,
        max_in_flight: None,
        circuit: None,
        on_exhausted: None,
        headers: std::collections::BTreeMap::new(),
        dialect_options: serde_json::Map::new(),
        state: EndpointState::Active,
        created_at: NOW,
        updated_at: NOW,
        revision: 1,
        secrets: secrets
            .iter()
            .map(|(value, signs_until)| secret(value, *signs_until))
            .collect(),
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
        now: NOW,
    })
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
    let headers = |name: &str| header(rendered, name);
    dialect.verify(&SecretString::from(secret), &headers, &rendered.body, now)
}

pub(crate) fn body(rendered: &Rendered) -> &str {
    std::str::from_utf8(&rendered.body).unwrap()
}
