use std::collections::HashSet;

use ambient::{ordered_id, random_id};
use dialect::Dialect;
use model::{
    DeliveryId, Endpoint, Event, FieldError, HoldReason, Submission, SubmissionError, TenantId,
    Timestamp,
};
use sha2::{Digest, Sha256};
use store::{Acceptance, NewDelivery, Snapshot};
use telemetry::{Span, Traces};

use crate::split::Bulk;

/// An event ready to be committed.
#[derive(Clone, Debug)]
pub(crate) struct Prepared {
    pub(crate) whole: Acceptance,
    /// The events that some endpoints get instead of it: those whose dialect has no name for an
    /// event about many licenses.
    pub(crate) parts: Vec<Acceptance>,
}

impl Prepared {
    /// Begins the span of its acceptance, from which its deliveries follow. While traces are off
    /// there is none, and they follow from where the event came from.
    pub(crate) fn begin(&mut self, traces: &Traces) -> Option<Span> {
        let span = traces.accept(self.whole.trace, &self.whole.event)?;
        let trace = Some(span.trace_parent());
        for acceptance in std::iter::once(&mut self.whole).chain(&mut self.parts) {
            acceptance.trace = trace;
        }
        Some(span)
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
    let accept = |event: Event, deliveries| Acceptance {
        event: event.into(),
        digest,
        deliveries,
        trace,
    };
    let parts: Vec<_> = parts(&event, directory)
        .map_err(|error| SubmissionError::Invalid(vec![error]))?
        .into_iter()
        .map(|(part, deliveries)| accept(part, deliveries))
        .collect();
    let have_parts: HashSet<_> = parts
        .iter()
        .flat_map(|part| &part.deliveries)
        .map(|delivery| delivery.endpoint)
        .collect();
    let deliveries = fan_out(&event, directory, &|_, endpoint| {
        !have_parts.contains(&endpoint.id)
    });
    Ok(Prepared {
        whole: accept(event, deliveries),
        parts,
    })
}

/// The events that go in place of `whole` to the endpoints whose dialect has a name for them and
/// none for it.
fn parts(
    whole: &Event,
    directory: &Snapshot,
) -> Result<Vec<(Event, Vec<NewDelivery>)>, FieldError> {
    let lacks = |dialect: Dialect, endpoint: &Endpoint| !dialect.names(endpoint, whole);
    let Some(bulk) = Bulk::read(whole)? else {
        return Ok(Vec::new());
    };
    if !endpoints(&whole.tenant, directory).any(|(dialect, endpoint)| lacks(dialect, endpoint)) {
        return Ok(Vec::new());
    }
    let parts = bulk.parts().map(|part| {
        let deliveries = fan_out(&part, directory, &|dialect, endpoint| {
            lacks(dialect, endpoint) && dialect.names(endpoint, &part)
        });
        (part, deliveries)
    });
    Ok(parts
        .filter(|(_, deliveries)| !deliveries.is_empty())
        .collect())
}

/// A delivery to each endpoint that wants the event and may have it.
fn fan_out(
    event: &Event,
    directory: &Snapshot,
    may_have: &dyn Fn(Dialect, &Endpoint) -> bool,
) -> Vec<NewDelivery> {
    endpoints(&event.tenant, directory)
        .filter(|(dialect, endpoint)| {
            dialect.wants(endpoint, event) && may_have(*dialect, endpoint)
        })
        .map(|(_, endpoint)| NewDelivery {
            id: DeliveryId::new(event.accepted_at, ordered_id()),
            endpoint: endpoint.id,
            held: (!endpoint.is_active()).then_some(HoldReason::EndpointDisabled),
        })
        .collect()
}

/// The tenant's endpoints whose dialect is known.
fn endpoints<'s>(
    tenant: &TenantId,
    directory: &'s Snapshot,
) -> impl Iterator<Item = (Dialect, &'s Endpoint)> + use<'s> {
    let endpoints = directory.tenant(tenant).into_iter();
    endpoints
        .flat_map(|tenant| &tenant.endpoints)
        .filter_map(|endpoint| Some((Dialect::of(endpoint)?, &**endpoint)))
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
    use std::sync::Arc;

    use model::{EndpointId, Plan, Tenant};
    use store::{Directory, MasterKey};

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

    /// A tenant with an endpoint for each dialect, with its options.
    async fn directory(endpoints: &[(&str, &str)]) -> Arc<Snapshot> {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}/fanfare.db", folder.path().display());
        let store = store::open(&url).await.unwrap();
        store.migrate().await.unwrap();
        let key = MasterKey::from_bytes([7; 32]);
        let directory = Directory::load(store, key).await.unwrap();
        let tenant = Tenant {
            id: acme(),
            name: "Acme".to_owned(),
            plan: Plan::Free,
            created_at: Timestamp::EPOCH,
        };
        directory.put_tenant(tenant, true).await.unwrap();
        for (dialect, options) in endpoints {
            let id = EndpointId::new(Timestamp::EPOCH, ordered_id());
            let url = "https://example.com/hook".parse().unwrap();
            let mut endpoint = Endpoint::new(id, acme(), url, dialect, "secret".into());
            endpoint.dialect_options = serde_json::from_str(options).unwrap();
            directory.put_endpoint(endpoint).await.unwrap();
        }
        directory.snapshot()
    }

    fn acme() -> TenantId {
        TenantId::new("acme").unwrap()
    }

    #[tokio::test]
    async fn an_endpoint_gets_either_the_parts_of_a_bulk_event_or_the_whole() {
        let passthrough = r#"{"unmapped":"passthrough"}"#;
        let directory = directory(&[
            ("standard", "{}"),
            ("keyport", passthrough),
            ("traffic", "{}"),
            ("traffic", passthrough),
            ("keygen", passthrough),
        ])
        .await;
        let prepared = |licenses: &str| {
            let body =
                format!(r#"{{"type":"license.bulk_revoked","data":{{"licenses":[{licenses}]}}}}"#);
            let submission = Submission::parse(body.as_bytes()).unwrap();
            prepare(submission, &acme(), &directory, Timestamp::EPOCH).unwrap()
        };
        let dialects = |acceptance: &Acceptance| -> Vec<_> {
            let endpoints = acceptance.deliveries.iter();
            endpoints
                .map(|delivery| directory.endpoint(delivery.endpoint).unwrap())
                .map(|endpoint| endpoint.dialect.clone())
                .collect()
        };
        let bulk = prepared(r#"{"id":"a"},{"id":"b"}"#);
        assert_eq!(dialects(&bulk.whole), ["standard", "keyport"]);
        assert_eq!(bulk.parts.len(), 2);
        for part in &bulk.parts {
            assert_eq!(dialects(part), ["traffic", "traffic", "keygen"]);
        }
    }

    #[tokio::test]
    async fn a_bulk_event_that_nobody_needs_in_parts_has_none() {
        let directory = directory(&[("standard", "{}")]).await;
        let body = br#"{"type":"license.bulk_revoked","data":{"licenses":[{"id":"a"}]}}"#;
        let submission = Submission::parse(body).unwrap();
        let prepared = prepare(submission, &acme(), &directory, Timestamp::EPOCH).unwrap();
        assert_eq!(prepared.whole.deliveries.len(), 1);
        assert!(prepared.parts.is_empty());
    }
}
