use std::sync::Arc;

use broker::{Destination, Incoming, Publication};
use bytes::Bytes;
use model::{CLOUD_EVENT_TYPE, Environment, EventId, EventType, Submission, TenantId, Timestamp};
use serde::Serialize;
use serde_json::value::RawValue;
use store::Snapshot;

use super::rejected::tenant_of;

/// What a publisher would have sent, had it known better.
pub(super) fn again(message: &Incoming, snapshot: &Snapshot) -> Result<Publication, String> {
    let tenant = tenant_of(&message.headers).ok_or("it names no tenant")?;
    let tenant = TenantId::new(tenant)
        .ok()
        .filter(|tenant| snapshot.tenant(tenant).is_some())
        .ok_or("it names a tenant that does not exist")?;
    let content_type = message.headers.content_type.as_deref().unwrap_or_default();
    let body = if content_type.starts_with(CLOUD_EVENT_TYPE) {
        let known = |name: &str| snapshot.knows_event_type(&tenant, name);
        let event = Submission::from_cloud_event(&message.body, known);
        canonical(&event.map_err(|error| error.to_string())?)
    } else {
        message.body.clone()
    };
    let hints = Hints::of(&body);
    let event_type = message
        .headers
        .routing_key
        .parse()
        .ok()
        .or(hints.event_type);
    let given = message
        .headers
        .message_id
        .as_deref()
        .and_then(|id| EventId::new(id).ok());
    let id = given.or(hints.id);
    let id = id.unwrap_or_else(|| EventId::generate(ambient::now(), ambient::random_id()));
    let event_type = event_type.ok_or("neither its routing key nor its body names a type")?;
    Ok(Publication {
        to: Destination::Events {
            tenant,
            event_type,
            id,
        },
        body,
    })
}

/// What of the envelope the body shows, if it can be read so far.
#[derive(Debug, Default)]
struct Hints {
    id: Option<EventId>,
    event_type: Option<EventType>,
}

impl Hints {
    fn of(body: &[u8]) -> Self {
        let body: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
        let text = |name: &str| body.get(name).and_then(serde_json::Value::as_str);
        Self {
            id: text("id").and_then(|id| EventId::new(id).ok()),
            event_type: text("type").and_then(|name| name.parse().ok()),
        }
    }
}

/// A canonical event, as a body.
#[derive(Serialize)]
struct Canonical<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a EventId>,
    #[serde(rename = "type")]
    event_type: &'a EventType,
    #[serde(skip_serializing_if = "Option::is_none")]
    occurred_at: Option<Timestamp>,
    environment: Environment,
    #[serde(skip_serializing_if = "Option::is_none")]
    product: Option<&'a str>,
    data: &'a Arc<RawValue>,
}

/// A CloudEvent is sent again as a canonical event: so it needs no content type of its own.
fn canonical(submission: &Submission) -> Bytes {
    let event = Canonical {
        id: submission.id.as_ref(),
        event_type: &submission.event_type,
        occurred_at: submission.occurred_at,
        environment: submission.environment,
        product: submission.product.as_deref(),
        data: &submission.data,
    };
    serde_json::to_vec(&event)
        .expect("an event is plain data")
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cloud_event_becomes_the_canonical_event_it_stands_for() {
        let body = br#"{"specversion":"1.0","id":"e1","source":"/s","type":"com.x.license.created",
            "time":"2026-04-15T12:00:00Z","data":{"n":1.0,"license":{"id":"l"}}}"#;
        let known = |name: &str| name == "license.created";
        let body = canonical(&Submission::from_cloud_event(body, known).unwrap());
        let read = Submission::parse(&body).unwrap();
        assert_eq!(read.id.as_deref(), Some("e1"));
        assert_eq!(read.event_type.as_str(), "license.created");
        assert_eq!(read.data.get(), r#"{"n":1.0,"license":{"id":"l"}}"#);
    }
}
