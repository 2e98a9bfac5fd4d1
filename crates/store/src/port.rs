use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use model::{
    ApiKey, Attempt, Delivery, DeliveryId, DeliveryStatus, EndpointId, Environment, Event, EventId,
    EventType, HoldReason, KeyAlgorithm, KeyId, LicenseId, RegisteredEventType, SourceId, Tenant,
    TenantId, Timestamp, TraceParent, Work,
};
use serde::{Deserialize, Serialize};

use crate::observation::{Footprint, Observation};

/// What a store can say instead of an answer.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Away, full or read-only: the same call may succeed later. `reason` is fit for a user.
    #[error("the store is unavailable: {reason}")]
    Unavailable {
        reason: &'static str,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The row exists already, or was changed by somebody else in the meantime.
    #[error("changed or created by somebody else")]
    Conflict,
    #[error("the store holds what this version cannot read: {0}")]
    Corrupt(String),
}

/// The schema in the database against the one this binary was built for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SchemaState {
    Current,
    /// `fanfare migrate` has not run, or not all of it.
    Older {
        found: i64,
        wanted: i64,
    },
    /// A newer binary has migrated it.
    Newer {
        found: i64,
        wanted: i64,
    },
}

/// An event to accept, with the deliveries that it fans out to.
#[derive(Clone, Debug)]
pub struct Acceptance {
    /// `sequence` is `None`: the store gives it. Of `accepted_at` the milliseconds are kept.
    pub event: Arc<Event>,
    /// Of the submitted content, to tell a repetition from another event with the same id.
    pub digest: [u8; 16],
    pub deliveries: Vec<NewDelivery>,
    /// Goes along with its deliveries; it is not stored.
    pub trace: Option<TraceParent>,
}

#[derive(Clone, Copy, Debug)]
pub struct NewDelivery {
    /// Made at the event's `accepted_at`: an id leads to its partition and to its event.
    pub id: DeliveryId,
    pub endpoint: EndpointId,
    /// Held from the start, because the endpoint is disabled.
    pub held: Option<HoldReason>,
}

/// What became of an [`Acceptance`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accepted {
    New {
        sequence: Option<u64>,
    },
    /// The same event was accepted before; nothing was written.
    Duplicate {
        sequence: Option<u64>,
    },
    /// Another event has this id; nothing was written.
    Conflict,
}

/// A step of a delivery: an attempt, if one was made, and where the delivery stands after it.
///
/// Recording is idempotent: an attempt with a number that is recorded already changes nothing, a step
/// without an attempt applies only while no other attempt has been recorded, and a delivery in a final
/// status stays there unless requeued.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Record {
    pub delivery: DeliveryId,
    pub attempt: Option<Attempt>,
    /// Attempts that had been made before this step.
    #[serde(default)]
    pub attempts_made: u32,
    pub verdict: Verdict,
    pub at: Timestamp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    Delivered,
    Retrying { due_at: Timestamp },
    Failed,
    Held(HoldReason),
}

/// Where a delivery stands, for a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    pub status: DeliveryStatus,
    /// Attempts recorded.
    pub attempts: u32,
}

/// Deliveries to make due again, at somebody's wish.
#[derive(Clone, Debug)]
pub enum Requeue {
    /// Whatever its status: one that waits for its next attempt need not wait any longer.
    One {
        tenant: TenantId,
        delivery: DeliveryId,
    },
    /// At most `limit` of those that match, oldest first; statuses failed and discarded unless the
    /// filter names one.
    Matching {
        tenant: TenantId,
        filter: DeliveryFilter,
        limit: u32,
    },
}

/// What to do with held deliveries that shall not be delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeldFate {
    DiscardAll,
    /// Keeps the newest of each license, and every one without a license.
    KeepLatestPerLicense,
}

#[derive(Clone, Debug, Default)]
pub struct EventFilter {
    pub event_type: Option<EventType>,
    pub license: Option<LicenseId>,
    pub environment: Option<Environment>,
    pub since: Option<Timestamp>,
    pub until: Option<Timestamp>,
}

#[derive(Clone, Debug, Default)]
pub struct DeliveryFilter {
    pub endpoint: Option<EndpointId>,
    pub event: Option<EventId>,
    pub license: Option<LicenseId>,
    pub status: Option<DeliveryStatus>,
    pub since: Option<Timestamp>,
    pub until: Option<Timestamp>,
}

/// A position in a list ordered by time, newest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    pub at: Timestamp,
    pub id: String,
}

#[derive(Clone, Debug)]
pub struct PageRequest {
    pub limit: u32,
    pub after: Option<Cursor>,
}

#[derive(Clone, Debug)]
pub struct Page<T> {
    pub items: Vec<T>,
    pub next: Option<Cursor>,
}

#[derive(Clone, Debug, Default)]
pub struct EndpointStats {
    pub deliveries: BTreeMap<&'static str, u64>,
    pub attempts: u64,
    pub succeeded: u64,
    pub duration_ms_p50: Option<f64>,
    pub duration_ms_p99: Option<f64>,
}

/// An endpoint as the adapters keep it: `body` is its JSON without secrets, `sealed_secrets` the
/// encrypted rest. What the columns need stands beside.
#[derive(Clone, Debug)]
pub struct EndpointRow {
    pub id: EndpointId,
    pub tenant: TenantId,
    pub revision: u64,
    pub body: String,
    pub sealed_secrets: Vec<u8>,
    pub deleted: bool,
}

/// A source as the adapters keep it: `body` is its JSON without keys, `sealed_keys` the encrypted
/// rest.
#[derive(Clone, Debug)]
pub struct SourceRow {
    pub id: SourceId,
    pub tenant: TenantId,
    pub revision: u64,
    pub body: String,
    pub sealed_keys: Vec<u8>,
    pub deleted: bool,
}

/// A tenant's key pair as the adapters keep it, its private half encrypted.
#[derive(Clone, Debug)]
pub struct SigningKeyRow {
    pub tenant: TenantId,
    pub algorithm: KeyAlgorithm,
    pub created_at: Timestamp,
    pub sealed_key: Vec<u8>,
}

/// Everything of the directory that changed since a moment.
#[derive(Clone, Debug)]
pub struct DirectoryChanges {
    /// The store's own clock before it looked: where the next look starts, less an overlap.
    pub as_of: Timestamp,
    pub tenants: Vec<Tenant>,
    /// With the deleted ones, marked.
    pub endpoints: Vec<EndpointRow>,
    /// With the deleted ones, marked.
    pub sources: Vec<SourceRow>,
    pub signing_keys: Vec<SigningKeyRow>,
    pub keys: Vec<ApiKey>,
    pub deleted_keys: Vec<KeyId>,
    pub event_types: Vec<RegisteredEventType>,
}

type Result<T> = std::result::Result<T, StoreError>;

/// The port. Both adapters pass one contract suite (`tests/contract.rs`).
#[async_trait]
pub trait Store: Send + Sync + std::fmt::Debug + 'static {
    // --- schema -------------------------------------------------------------------------------

    async fn schema(&self) -> Result<SchemaState>;

    /// Brings the schema up to date; safe to run from several processes at once.
    async fn migrate(&self) -> Result<()>;

    /// Prepares what time makes necessary, such as the partitions of the coming weeks. Idempotent.
    async fn maintain(&self, now: Timestamp) -> Result<()>;

    /// Whether the store answers and takes writes.
    async fn ping(&self) -> Result<()>;

    // --- accepting and dispatching: the hot path ------------------------------------------------

    /// Accepts a batch in one transaction, answers in the same order. A repetition within the
    /// batch counts as a duplicate of the first.
    async fn accept(&self, batch: &[Acceptance]) -> Result<Vec<Accepted>>;

    /// Records a batch in one transaction.
    async fn record(&self, batch: &[Record]) -> Result<()>;

    /// Where deliveries stand, in the same order; `None` for unknown ones.
    async fn standings(&self, deliveries: &[DeliveryId]) -> Result<Vec<Option<Standing>>>;

    /// Deliveries that are queued or retrying, were due at `due_before` or earlier, and so should
    /// have been attempted: at most `limit`, longest overdue first. Each is made due `now`, so that
    /// the next call does not answer it again at once.
    async fn overdue(&self, due_before: Timestamp, now: Timestamp, limit: u32)
    -> Result<Vec<Work>>;

    // --- holding ---------------------------------------------------------------------------------

    /// Endpoints that have held deliveries, at most `limit`.
    async fn endpoints_with_held(&self, limit: u32) -> Result<Vec<EndpointId>>;

    /// Releases the oldest `limit` held deliveries of an endpoint: they are queued, due `now`.
    /// Urgent ones first. No delivery is released to two callers.
    async fn release(&self, endpoint: EndpointId, limit: u32, now: Timestamp) -> Result<Vec<Work>>;

    /// Discards held deliveries of an endpoint, some thousand at a time; answers how many.
    async fn discard_held(
        &self,
        endpoint: EndpointId,
        fate: HeldFate,
        now: Timestamp,
    ) -> Result<u64>;

    /// Discards what is unfinished of a deleted endpoint, answers how many; of any other, nothing.
    async fn discard_unfinished(&self, endpoint: EndpointId, now: Timestamp) -> Result<u64>;

    /// Makes deliveries due `now`, with a fresh run of their schedule.
    async fn requeue(&self, what: Requeue, now: Timestamp) -> Result<Vec<Work>>;

    // --- reads ------------------------------------------------------------------------------------

    async fn event(&self, tenant: &TenantId, id: &EventId) -> Result<Option<Event>>;

    async fn events(
        &self,
        tenant: &TenantId,
        filter: &EventFilter,
        page: &PageRequest,
    ) -> Result<Page<Event>>;

    /// A license's events with a sequence beyond `after_sequence`, in order.
    async fn timeline(
        &self,
        tenant: &TenantId,
        license: &LicenseId,
        after_sequence: u64,
        limit: u32,
    ) -> Result<Vec<Event>>;

    async fn delivery(&self, tenant: &TenantId, id: DeliveryId) -> Result<Option<Delivery>>;

    async fn deliveries(
        &self,
        tenant: &TenantId,
        filter: &DeliveryFilter,
        page: &PageRequest,
    ) -> Result<Page<Delivery>>;

    /// A delivery's attempts, by number.
    async fn attempts(&self, delivery: DeliveryId) -> Result<Vec<Attempt>>;

    async fn endpoint_stats(
        &self,
        endpoint: EndpointId,
        window: Duration,
        now: Timestamp,
    ) -> Result<EndpointStats>;

    // --- the whole ----------------------------------------------------------------------------------

    /// How all deliveries stand, in a few milliseconds however many there are; counts as overdue
    /// what was due before `overdue_before`.
    async fn observe(&self, overdue_before: Timestamp) -> Result<Observation>;

    /// Sizes, partitions, connections and replicas.
    async fn footprint(&self) -> Result<Footprint>;

    // --- directory ----------------------------------------------------------------------------------

    /// What changed at or after `since`; everything for `None`.
    async fn directory_changes(&self, since: Option<Timestamp>) -> Result<DirectoryChanges>;

    /// Returns when some process has changed the directory, or when that cannot be told any more.
    async fn directory_changed(&self);

    /// Inserts revision 1, or replaces the row whose revision is one less; else `Conflict`.
    async fn put_endpoint(&self, row: &EndpointRow, now: Timestamp) -> Result<()>;

    /// Inserts revision 1, or replaces the row whose revision is one less; else `Conflict`.
    async fn put_source(&self, row: &SourceRow, now: Timestamp) -> Result<()>;

    /// Inserts a key pair unless the tenant has one of that algorithm; answers the one it has now.
    async fn put_signing_key(&self, row: &SigningKeyRow, now: Timestamp) -> Result<SigningKeyRow>;

    /// Replaces the sealed key of a key pair that is there.
    async fn reseal_signing_key(&self, row: &SigningKeyRow, now: Timestamp) -> Result<()>;

    /// Inserts a tenant or changes it. With `create`, an existing one is a `Conflict`.
    async fn put_tenant(&self, tenant: &Tenant, create: bool, now: Timestamp) -> Result<()>;

    /// Inserts a key; one with the same hash stays as it is.
    async fn put_key(&self, key: &ApiKey, now: Timestamp) -> Result<()>;

    /// Deletes a key; whether there was one.
    async fn delete_key(&self, id: KeyId, now: Timestamp) -> Result<bool>;

    async fn put_event_type(&self, event_type: &RegisteredEventType, now: Timestamp) -> Result<()>;
}
