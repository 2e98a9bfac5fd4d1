//! The embedded adapter: one SQLite file in WAL mode, durable at every commit.
//!
//! Through rusqlite and not through an async driver: a thread that owns the writing connection
//! runs a batch's prepared statements in a plain loop, which costs a fraction of a round trip per
//! row. Readers have connections of their own and never wait for the writer.

mod accept;
mod checkpoint;
mod connection;
mod directory;
mod errors;
mod holding;
mod lists;
mod observe;
mod readers;
mod reads;
mod record;
mod schema;
mod signing_keys;
mod stats;
mod values;
mod writer;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use model::{
    ApiKey, Attempt, Delivery, DeliveryId, EndpointId, Event, EventId, KeyId, LicenseId,
    RegisteredEventType, Tenant, TenantId, Timestamp, Work,
};
use tokio::sync::Notify;

use self::connection::DatabaseFile;
use self::readers::Readers;
use self::values::Id;
use self::writer::Writer;
use crate::{
    Acceptance, Accepted, DeliveryFilter, DirectoryChanges, EndpointRow, EndpointStats,
    EventFilter, Footprint, HeldFate, Observation, OpenError, Page, PageRequest, Record, Requeue,
    SchemaState, SigningKeyRow, SourceRow, Standing, Store, StoreError, codes,
};

type Result<T> = std::result::Result<T, StoreError>;

#[derive(Debug)]
pub(crate) struct SqliteStore {
    writer: Writer,
    readers: Readers,
    directory_changed: Notify,
}

impl SqliteStore {
    pub(crate) async fn open(path: &str) -> std::result::Result<Self, OpenError> {
        let file = Arc::new(DatabaseFile::claim(path)?);
        let writer = Writer::spawn(Arc::clone(&file)).map_err(|error| StoreError::Unavailable {
            reason: "its threads cannot be started",
            source: Box::new(error),
        })?;
        // Makes the file, and says at once if that is impossible.
        writer.write(|_| Ok(())).await?;
        Ok(Self {
            writer,
            readers: Readers::new(file),
            directory_changed: Notify::new(),
        })
    }

    async fn discard(&self, ids: &[Id], first_status: i16, now: Timestamp) -> Result<u64> {
        let mut discarded = 0;
        for chunk in ids.chunks(holding::DISCARD_CHUNK) {
            let chunk = chunk.to_vec();
            discarded += self
                .writer
                .write(move |tx| holding::discard(tx, &chunk, first_status, now))
                .await?;
        }
        Ok(discarded)
    }

    fn tell_directory_changed(&self) {
        // Whoever waits now, and whoever waits next in case nobody does.
        self.directory_changed.notify_waiters();
        self.directory_changed.notify_one();
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn schema(&self) -> Result<SchemaState> {
        self.readers.read(schema::state).await
    }

    async fn migrate(&self) -> Result<()> {
        self.writer.write(schema::migrate).await
    }

    async fn maintain(&self, _now: Timestamp) -> Result<()> {
        self.writer
            .write(|tx| Ok(tx.execute_batch("PRAGMA optimize")?))
            .await
    }

    async fn ping(&self) -> Result<()> {
        self.writer
            .write(|tx| Ok(tx.execute_batch("UPDATE pings SET pinged = pinged + 1")?))
            .await
    }

    async fn accept(&self, batch: &[Acceptance]) -> Result<Vec<Accepted>> {
        let batch = batch.to_vec();
        self.writer
            .write(move |tx| accept::accept(tx, &batch))
            .await
    }

    async fn record(&self, batch: &[Record]) -> Result<()> {
        let batch = batch.to_vec();
        self.writer
            .write(move |tx| record::record(tx, &batch))
            .await
    }

    async fn standings(&self, deliveries: &[DeliveryId]) -> Result<Vec<Option<Standing>>> {
        let deliveries = deliveries.to_vec();
        self.readers
            .read(move |tx| record::standings(tx, &deliveries))
            .await
    }

    async fn overdue(
        &self,
        due_before: Timestamp,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<Work>> {
        self.writer
            .write(move |tx| holding::overdue(tx, due_before, now, limit))
            .await
    }

    async fn endpoints_with_held(&self, limit: u32) -> Result<Vec<EndpointId>> {
        self.readers
            .read(move |tx| holding::endpoints_with_held(tx, limit))
            .await
    }

    async fn release(&self, endpoint: EndpointId, limit: u32, now: Timestamp) -> Result<Vec<Work>> {
        self.writer
            .write(move |tx| holding::release(tx, endpoint, limit, now))
            .await
    }

    async fn discard_held(
        &self,
        endpoint: EndpointId,
        fate: HeldFate,
        now: Timestamp,
    ) -> Result<u64> {
        let ids = self
            .readers
            .read(move |tx| holding::to_discard(tx, endpoint, fate))
            .await?;
        self.discard(&ids, codes::HELD, now).await
    }

    async fn discard_unfinished(&self, endpoint: EndpointId, now: Timestamp) -> Result<u64> {
        let ids = self
            .readers
            .read(move |tx| holding::unfinished(tx, endpoint))
            .await?;
        self.discard(&ids, codes::QUEUED, now).await
    }

    async fn requeue(&self, what: Requeue, now: Timestamp) -> Result<Vec<Work>> {
        self.writer
            .write(move |tx| match what {
                Requeue::One { tenant, delivery } => {
                    holding::requeue_one(tx, &tenant, delivery, now)
                }
                Requeue::Matching {
                    tenant,
                    filter,
                    limit,
                } => holding::requeue_matching(tx, &tenant, &filter, limit, now),
            })
            .await
    }

    async fn event(&self, tenant: &TenantId, id: &EventId) -> Result<Option<Event>> {
        let (tenant, id) = (tenant.clone(), id.clone());
        self.readers
            .read(move |tx| reads::event(tx, &tenant, &id))
            .await
    }

    async fn events(
        &self,
        tenant: &TenantId,
        filter: &EventFilter,
        page: &PageRequest,
    ) -> Result<Page<Event>> {
        let (tenant, filter, page) = (tenant.clone(), filter.clone(), page.clone());
        self.readers
            .read(move |tx| lists::events(tx, &tenant, &filter, &page))
            .await
    }

    async fn timeline(
        &self,
        tenant: &TenantId,
        license: &LicenseId,
        after_sequence: u64,
        limit: u32,
    ) -> Result<Vec<Event>> {
        let (tenant, license) = (tenant.clone(), license.clone());
        self.readers
            .read(move |tx| reads::timeline(tx, &tenant, &license, after_sequence, limit))
            .await
    }

    async fn delivery(&self, tenant: &TenantId, id: DeliveryId) -> Result<Option<Delivery>> {
        let tenant = tenant.clone();
        self.readers
            .read(move |tx| reads::delivery(tx, &tenant, id))
            .await
    }

    async fn deliveries(
        &self,
        tenant: &TenantId,
        filter: &DeliveryFilter,
        page: &PageRequest,
    ) -> Result<Page<Delivery>> {
        let (tenant, filter, page) = (tenant.clone(), filter.clone(), page.clone());
        self.readers
            .read(move |tx| lists::deliveries(tx, &tenant, &filter, &page))
            .await
    }

    async fn attempts(&self, delivery: DeliveryId) -> Result<Vec<Attempt>> {
        self.readers
            .read(move |tx| reads::attempts(tx, delivery))
            .await
    }

    async fn endpoint_stats(
        &self,
        endpoint: EndpointId,
        window: Duration,
        now: Timestamp,
    ) -> Result<EndpointStats> {
        let since = now.minus(window);
        self.readers
            .read(move |tx| stats::endpoint_stats(tx, endpoint, since))
            .await
    }

    async fn observe(&self, overdue_before: Timestamp) -> Result<Observation> {
        self.readers
            .read(move |tx| observe::observe(tx, overdue_before))
            .await
    }

    async fn footprint(&self) -> Result<Footprint> {
        self.readers.read(observe::footprint).await
    }

    async fn directory_changes(&self, since: Option<Timestamp>) -> Result<DirectoryChanges> {
        let as_of = ambient::now();
        self.readers
            .read(move |tx| directory::changes(tx, since, as_of))
            .await
    }

    async fn directory_changed(&self) {
        self.directory_changed.notified().await;
    }

    async fn put_endpoint(&self, row: &EndpointRow, now: Timestamp) -> Result<()> {
        let row = row.clone();
        self.writer
            .write(move |tx| directory::put_endpoint(tx, &row, now))
            .await?;
        self.tell_directory_changed();
        Ok(())
    }

    async fn put_source(&self, row: &SourceRow, now: Timestamp) -> Result<()> {
        let row = row.clone();
        self.writer
            .write(move |tx| directory::put_source(tx, &row, now))
            .await?;
        self.tell_directory_changed();
        Ok(())
    }

    async fn put_signing_key(&self, row: &SigningKeyRow, now: Timestamp) -> Result<SigningKeyRow> {
        let row = row.clone();
        let found = self
            .writer
            .write(move |tx| signing_keys::put(tx, &row, now))
            .await?;
        self.tell_directory_changed();
        Ok(found)
    }

    async fn reseal_signing_key(&self, row: &SigningKeyRow, now: Timestamp) -> Result<()> {
        let row = row.clone();
        self.writer
            .write(move |tx| signing_keys::reseal(tx, &row, now))
            .await?;
        self.tell_directory_changed();
        Ok(())
    }

    async fn put_tenant(&self, tenant: &Tenant, create: bool, now: Timestamp) -> Result<()> {
        let tenant = tenant.clone();
        self.writer
            .write(move |tx| directory::put_tenant(tx, &tenant, create, now))
            .await?;
        self.tell_directory_changed();
        Ok(())
    }

    async fn put_key(&self, key: &ApiKey, now: Timestamp) -> Result<()> {
        let key = key.clone();
        self.writer
            .write(move |tx| directory::put_key(tx, &key, now))
            .await?;
        self.tell_directory_changed();
        Ok(())
    }

    async fn delete_key(&self, id: KeyId, now: Timestamp) -> Result<bool> {
        let deleted = self
            .writer
            .write(move |tx| directory::delete_key(tx, id, now))
            .await?;
        self.tell_directory_changed();
        Ok(deleted)
    }

    async fn put_event_type(&self, event_type: &RegisteredEventType, now: Timestamp) -> Result<()> {
        let event_type = event_type.clone();
        self.writer
            .write(move |tx| directory::put_event_type(tx, &event_type, now))
            .await?;
        self.tell_directory_changed();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use model::Submission;

    use super::*;

    fn acceptance() -> Acceptance {
        let body = format!(
            r#"{{"type":"license.created","data":{{"x":"{}"}}}}"#,
            "x".repeat(9_000)
        );
        let submission = Submission::parse(body.as_bytes()).unwrap();
        let tenant = TenantId::new("acme").unwrap();
        let event = submission.into_event(tenant, ambient::now(), ambient::random_id());
        Acceptance {
            event: Arc::new(event),
            digest: [0; 16],
            deliveries: Vec::new(),
            trace: None,
        }
    }

    /// The writer's connection refuses as on a full disk, until it is opened anew.
    #[tokio::test]
    async fn a_full_disk_is_unavailable_and_over_when_there_is_room_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("fanfare.db");
        let store = SqliteStore::open(path.to_str().unwrap()).await.unwrap();
        store.migrate().await.unwrap();
        let fill = |tx: &rusqlite::Transaction<'_>| {
            let pages: i64 = tx.query_row("PRAGMA page_count", [], |row| row.get(0))?;
            Ok(tx.pragma_update(None, "max_page_count", pages)?)
        };
        store.writer.write(fill).await.unwrap();
        match store.accept(&[acceptance()]).await {
            Err(StoreError::Unavailable { reason, .. }) => assert_eq!(reason, "the disk is full"),
            other => panic!("{other:?}"),
        }
        store.ping().await.unwrap();
        store.accept(&[acceptance()]).await.unwrap();
    }

    #[tokio::test]
    async fn the_log_stays_short_under_continuous_writes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("fanfare.db");
        let store = SqliteStore::open(path.to_str().unwrap()).await.unwrap();
        store.migrate().await.unwrap();
        let batch: Vec<_> = (0..100).map(|_| acceptance()).collect();
        for _ in 0..150 {
            let batch: Vec<_> = batch.iter().map(|_| acceptance()).collect();
            store.accept(&batch).await.unwrap();
        }
        let log = std::fs::metadata(folder.path().join("fanfare.db-wal"))
            .unwrap()
            .len();
        let written = std::fs::metadata(&path).unwrap().len();
        assert!(written > 60 << 20, "the database has {written} bytes");
        let bound = u64::try_from(checkpoint::FINISH_AT_PAGES).unwrap() * 4_096 * 2;
        assert!(log < bound, "the log has {log} bytes");
    }
}
