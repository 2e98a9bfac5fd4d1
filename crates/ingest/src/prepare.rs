use ambient::{ordered_id, random_id};
use dialect::Dialect;
use model::{
    DeliveryId, Endpoint, Event, FieldError, HoldReason, Submission, SubmissionError, TenantId,
    Timestamp,
};
use sha2::{Digest, Sha256};
use store::{Acceptance, NewDelivery, Snapshot};
use telemetry::{Span, Traces};

use crate::split::parts;

/// An event ready to be committed.
#[derive(Clone, Debug)]
pub(crate) struct Prepared {
    pub(crate) whole: Acceptance,
    /// The events that some endpoints get instead of it: those whose dialect has no name for an
    /// event about many licenses.
    pub(crate) parts: Vec<Acceptance>,
}

impl Prepared {
    /// Begins the span of its acceptance, from which its deliveries follow; none while traces are
    /// off.
    pub(crate) fn begin(&mut self, traces: &Traces) -> Option<Span> {
        let span = traces.accept(self.whole.trace, &self.whole.event);
        let trace = span.as_ref().map(Span::trace_parent);
        for acceptance in std::iter::once(&mut self.whole).chain(&mut self.parts) {
            acceptance.trace = trace;
        }
        span
    }
}

/// Gives a submission its id and times and finds the endpoints it goes to.
pub(crate) fn prepare(
    submission: Submission,
    tenant: &TenantId,
    directory: &Snapshot,
    now: Timestamp,
) -> Result<Prepared, SubmissionError> {
    let name = submission.event_type.as_str();
    if !directory.knows_event_type(tenant, name) {
        let detail = format!(
            "unknown event type {name}; GET /v1/event-types lists them, POST registers another"
        );
        return Err(SubmissionError::Invalid(vec![FieldError::new(
            "/type", detail,
        )]));
    }
    let digest = digest(&submission);
    let trace = submission.trace;
    let event = submission.into_event(tenant.clone(), now, random_id());
    let parts = parts(&event)
        .map_err(|error| SubmissionError::Invalid(vec![error]))?
        .into_iter()
        .map(|part| Acceptance {
            digest,
            deliveries: fan_out(&part, directory, now, &|dialect, endpoint| {
                dialect.event_name(endpoint, &event).is_none()
            }),
            event: part.into(),
            trace,
        })
        .filter(|part| !part.deliveries.is_empty())
        .collect();
    let deliveries = fan_out(&event, directory, now, &|_, _| true);
    let whole = Acceptance {
        event: event.into(),
        digest,
        deliveries,
        trace,
    };
    Ok(Prepared { whole, parts })
}

fn fan_out(
    event: &Event,
    directory: &Snapshot,
    now: Timestamp,
    may_have: &dyn Fn(Dialect, &Endpoint) -> bool,
) -> Vec<NewDelivery> {
    let Some(tenant) = directory.tenant(&event.tenant) else {
        return Vec::new();
    };
    let wanted = tenant.endpoints.iter().filter(|endpoint| {
        Dialect::of(endpoint)
            .is_some_and(|dialect| dialect.wants(endpoint, event) && may_have(dialect, endpoint))
    });
    wanted
        .map(|endpoint| NewDelivery {
            id: DeliveryId::new(now, ordered_id()),
            endpoint: endpoint.id,
            held: (!endpoint.is_active()).then_some(HoldReason::EndpointDisabled),
        })
        .collect()
}

/// Of what the producer says happened. `occurred_at` is left out: where the producer gives none,
/// a repetition has another.
fn digest(submission: &Submission) -> [u8; 16] {
    let mut hash = Sha256::new();
    for part in [
        submission.event_type.as_str(),
        submission.environment.unwrap_or_default().as_str(),
        submission.product.as_deref().unwrap_or_default(),
        submission.data.get(),
    ] {
        hash.update(part.len().to_le_bytes());
        hash.update(part);
    }
    let mut digest = [0; 16];
    digest.copy_from_slice(&hash.finalize()[..16]);
    digest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_tells_contents_apart_and_ignores_id_and_time() {
        let digest = |body: &str| digest(&Submission::parse(body.as_bytes()).unwrap());
        let first = digest(r#"{"type":"license.created","data":{"n":1}}"#);
        let again = r#"{"id":"a","occurred_at":"2026-04-15T12:00:00Z","type":"license.created","data":{"n":1}}"#;
        assert_eq!(digest(again), first);
        assert_ne!(
            digest(r#"{"type":"license.created","data":{"n":2}}"#),
            first
        );
        assert_ne!(
            digest(r#"{"type":"license.deleted","data":{"n":1}}"#),
            first
        );
        assert_ne!(
            digest(r#"{"type":"license.created","product":"p","data":{"n":1}}"#),
            first
        );
    }
}
