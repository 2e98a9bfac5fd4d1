use std::collections::BTreeMap;

use broker::{Destination, Incoming, Publication};
use dialect::{Dialect, Received};
use model::{EventForm, EventId, EventLimits, EventType, Source, Submission, TenantId, is_test};
use store::Snapshot;

use super::rejected::tenant_of;

/// What a publisher would have sent, had it known better: several events, where a request to a
/// source had them.
pub(super) fn again(message: &Incoming, snapshot: &Snapshot) -> Result<Vec<Publication>, String> {
    let tenant = tenant_of(&message.headers).ok_or("it names no tenant")?;
    let tenant = TenantId::new(tenant)
        .ok()
        .filter(|tenant| snapshot.tenant(tenant).is_some())
        .ok_or("it names a tenant that does not exist")?;
    if let Some(source) = &message.headers.source {
        return from_source(message, &tenant, find(source, &tenant, snapshot)?);
    }
    let content_type = message.headers.content_type.as_deref().unwrap_or_default();
    let body = match EventForm::of(content_type) {
        // It is sent again as a canonical event: so it needs no content type of its own.
        form @ EventForm::CloudEvent => {
            let known = |name: &str| snapshot.knows_event_type(&tenant, name);
            let event = Submission::read(form, &message.body, EventLimits::PASSED_ON, known);
            event.map_err(|error| error.to_string())?.to_json().into()
        }
        EventForm::Canonical | EventForm::CloudEventBatch => message.body.clone(),
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
    let to = Destination::Events {
        tenant,
        event_type,
        id,
        trace: None,
    };
    Ok(vec![Publication { to, body }])
}

fn find<'s>(
    source: &str,
    tenant: &TenantId,
    snapshot: &'s Snapshot,
) -> Result<&'s Source, &'static str> {
    let source = source.parse().ok().and_then(|id| snapshot.source(id));
    source
        .filter(|source| source.tenant == *tenant)
        .map(|source| &**source)
        .ok_or("its source does not exist any more")
}

/// Reads a request once more as its source would. It was verified when it came.
fn from_source(
    message: &Incoming,
    tenant: &TenantId,
    source: &Source,
) -> Result<Vec<Publication>, String> {
    let dialect = Dialect::from_name(&source.dialect)
        .ok_or("this version does not know its source's dialect")?;
    let kept = message.headers.source_headers.as_deref().unwrap_or("{}");
    let kept: BTreeMap<String, String> =
        serde_json::from_str(kept).map_err(|_| "its headers cannot be read")?;
    let now = ambient::now();
    let find = |name: &str| kept.get(name).map(String::as_str);
    let received = Received {
        target: "/",
        headers: &find,
        body: &message.body,
        now,
    };
    let submissions = dialect
        .parse(&received)
        .map_err(|error| error.to_string())?;
    let events = submissions
        .into_iter()
        .filter(|submission| !is_test(&submission.event_type))
        .map(|submission| {
            let mut submission = source.complete(submission);
            let given = submission.id.take();
            let id = given.unwrap_or_else(|| EventId::generate(now, ambient::random_id()));
            submission.id = Some(id.clone());
            let to = Destination::Events {
                tenant: tenant.clone(),
                event_type: submission.event_type.clone(),
                id,
                trace: None,
            };
            let body = submission.to_json().into();
            Publication { to, body }
        });
    Ok(events.collect())
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
