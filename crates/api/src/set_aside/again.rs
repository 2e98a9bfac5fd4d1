use std::collections::BTreeMap;

use broker::{Destination, Incoming, Publication};
use dialect::{Dialect, Received, Taker};
use model::{EventForm, EventId, EventLimits, EventType, Source, Submission, TenantId, is_test};
use store::Snapshot;

use super::rejected::tenant_of;

/// What a publisher would have sent, had it known better.
#[derive(Debug)]
pub(super) struct Again {
    /// Several, where a request to a source had them.
    pub(super) events: Vec<Publication>,
    /// Why something in the request is still no event, if so: it has to stay.
    pub(super) unread: Option<String>,
}

pub(super) fn again(message: &Incoming, snapshot: &Snapshot) -> Result<Again, String> {
    let tenant = tenant_of(&message.headers).ok_or("it names no tenant")?;
    let tenant = TenantId::new(tenant)
        .ok()
        .filter(|tenant| snapshot.tenant(tenant).is_some())
        .ok_or("it names a tenant that does not exist")?;
    if let Some(source) = &message.headers.source {
        return from_source(message, find(source, &tenant, snapshot)?, snapshot);
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
    Ok(Again {
        events: vec![Publication { to, body }],
        unread: None,
    })
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
fn from_source(message: &Incoming, source: &Source, snapshot: &Snapshot) -> Result<Again, String> {
    let dialect = Dialect::from_name(&source.dialect)
        .ok_or("this version does not know its source's dialect")?;
    let kept = message.headers.source_headers.as_deref().unwrap_or("{}");
    let kept: BTreeMap<String, String> =
        serde_json::from_str(kept).map_err(|_| "its headers cannot be read")?;
    let came_at = message.headers.rejected_at.as_deref();
    let came_at = came_at.and_then(|time| time.parse().ok());
    let find = |name: &str| kept.get(name).map(String::as_str);
    let received = Received {
        target: "/",
        url: None,
        headers: &find,
        body: &message.body,
        now: came_at.unwrap_or_else(ambient::now),
    };
    let taker = Taker {
        knows: &|name| snapshot.knows_event_type(&source.tenant, name),
        environment: source.environment,
    };
    let submissions = dialect
        .parse(&received, &taker)
        .map_err(|error| error.to_string())?;
    let mut events = Vec::with_capacity(submissions.len());
    let mut unread = None;
    for submission in submissions {
        match submission {
            Ok(event) if is_test(&event.event_type) => {}
            Ok(event) => events.push(source.complete(event)),
            Err(error) => unread = unread.or(Some(error.to_string())),
        }
    }
    if unread.is_some() {
        // What is refused again comes back by itself, each time that the request is sent again.
        events.retain(|event| (taker.knows)(event.event_type.as_str()));
    }
    let publish = |event| publication(event, &source.tenant);
    Ok(Again {
        events: events.into_iter().map(publish).collect(),
        unread,
    })
}

fn publication(mut event: Submission, tenant: &TenantId) -> Publication {
    let generated = || EventId::generate(ambient::now(), ambient::random_id());
    let id = event.id.take().unwrap_or_else(generated);
    event.id = Some(id.clone());
    let to = Destination::Events {
        tenant: tenant.clone(),
        event_type: event.event_type.clone(),
        id,
        trace: None,
    };
    let body = event.to_json().into();
    Publication { to, body }
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
