//! The adapter for large installations: PostgreSQL 14 or later, bulk statements over arrays.
//!
//! Accepting or recording a batch is one statement, so one transaction and one round trip.

mod accept;
mod directory;
mod errors;
mod holding;
mod listening;
mod lists;
mod observe;
mod partitions;
#[cfg(test)]
mod plans;
mod pools;
mod reads;
mod record;
mod schema;
mod signing_keys;
mod stats;
mod tallies;
mod values;

use std::time::Duration;

use async_trait::async_trait;
use model::{
    ApiKey, Attempt, Delivery, DeliveryId, EndpointId, Event, EventId, KeyId, LicenseId,
    RegisteredEventType, Tenant, TenantId, Timestamp, Work,
};
use tokio::sync::OnceCell;

use self::listening::Listening;
use self::pools::Pools;
use crate::{
    Acceptance, Accepted, DeliveryFilter, DirectoryChanges, EndpointRow, EndpointStats,
    EventFilter, Footprint, HeldFate, Observation, OpenError, Page, PageRequest, Record, Requeue,
    SchemaState, SigningKeyRow, SourceRow, Standing, Store, StoreError,
};

type Result<T> = std::result::Result<T, StoreError>;

#[derive(Debug)]
pub(crate) struct PostgresStore {
    pools: Pools,
    /// Started by the first who waits for a change.
    listening: OnceCell<Listening>,
}

impl PostgresStore {
    /// Connects when first used.
    pub(crate) fn open(url: &str) -> std::result::Result<Self, OpenError> {
        Ok(Self {
            pools: Pools::open(url)?,
            listening: OnceCell::new(),
        })
    }
}

#[async_trait]
impl Store for PostgresStore {
    async fn schema(&self) -> Result<SchemaState> {
        let pool = &self.pools.calm;
        pool.within(async {
            let mut connection = pool.lease().await?;
            let state = schema::state(&mut connection).await?;
            connection.done();
            Ok(state)
        })
        .await
    }

    /// Takes as long as it takes: a later migration may rewrite tables.
    async fn migrate(&self) -> Result<()> {
        let mut connection = self.pools.calm.lease().await?;
        sqlx::query("SET statement_timeout = 0")
            .execute(&mut *connection)
            .await?;
        schema::migrate(&mut connection).await?;
        partitions::make(&mut connection, ambient::now()).await
        // The connection, which has no time limit now, is closed.
    }

    async fn maintain(&self, now: Timestamp) -> Result<()> {
        let pool = &self.pools.calm;
        pool.within(async {
            let mut connection = pool.lease().await?;
            partitions::make(&mut connection, now).await?;
            tallies::fold(&mut connection, now).await?;
            connection.done();
            Ok(())
        })
        .await
    }

    async fn ping(&self) -> Result<()> {
        let pool = &self.pools.hot;
        pool.within(async {
            let mut connection = pool.lease().await?;
            sqlx::query("UPDATE pings SET pinged = pinged + 1")
                .execute(&mut *connection)
                .await?;
            connection.done();
            Ok(())
        })
        .await
    }

    async fn accept(&self, batch: &[Acceptance]) -> Result<Vec<Accepted>> {
        accept::accept(&self.pools, batch).await
    }

    async fn record(&self, batch: &[Record]) -> Result<()> {
        record::record(&self.pools.hot, batch).await
    }

    async fn standings(&self, deliveries: &[DeliveryId]) -> Result<Vec<Option<Standing>>> {
        record::standings(&self.pools.hot, deliveries).await
    }

    async fn overdue(
        &self,
        due_before: Timestamp,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<Work>> {
        holding::overdue(&self.pools.hot, due_before, now, limit).await
    }

    async fn endpoints_with_held(&self, limit: u32) -> Result<Vec<EndpointId>> {
        holding::endpoints_with_held(&self.pools.hot, limit).await
    }

    async fn release(&self, endpoint: EndpointId, limit: u32, now: Timestamp) -> Result<Vec<Work>> {
        holding::release(&self.pools.hot, endpoint, limit, now).await
    }

    async fn discard_held(
        &self,
        endpoint: EndpointId,
        fate: HeldFate,
        now: Timestamp,
    ) -> Result<u64> {
        holding::discard_held(&self.pools.calm, endpoint, fate, now).await
    }

    async fn discard_unfinished(&self, endpoint: EndpointId, now: Timestamp) -> Result<u64> {
        holding::discard_unfinished(&self.pools.calm, endpoint, now).await
    }

    async fn requeue(&self, what: Requeue, now: Timestamp) -> Result<Vec<Work>> {
        let (tenant, deliveries) = match what {
            Requeue::One { tenant, delivery } => (tenant, vec![delivery]),
            Requeue::Matching {
                tenant,
                filter,
                limit,
            } => {
                let found = lists::to_requeue(&self.pools.calm, &tenant, &filter, limit).await?;
                (tenant, found)
            }
        };
        holding::requeue(&self.pools.hot, &tenant, &deliveries, now).await
    }

    async fn event(&self, tenant: &TenantId, id: &EventId) -> Result<Option<Event>> {
        reads::event(&self.pools.calm, tenant, id).await
    }

    async fn events(
        &self,
        tenant: &TenantId,
        filter: &EventFilter,
        page: &PageRequest,
    ) -> Result<Page<Event>> {
        lists::events(&self.pools.calm, tenant, filter, page).await
    }

    async fn timeline(
        &self,
        tenant: &TenantId,
        license: &LicenseId,
        after_sequence: u64,
        limit: u32,
    ) -> Result<Vec<Event>> {
        reads::timeline(&self.pools.calm, (tenant, license), after_sequence, limit).await
    }

    async fn delivery(&self, tenant: &TenantId, id: DeliveryId) -> Result<Option<Delivery>> {
        reads::delivery(&self.pools.calm, tenant, id).await
    }

    async fn deliveries(
        &self,
        tenant: &TenantId,
        filter: &DeliveryFilter,
        page: &PageRequest,
    ) -> Result<Page<Delivery>> {
        lists::deliveries(&self.pools.calm, tenant, filter, page).await
    }

    async fn attempts(&self, delivery: DeliveryId) -> Result<Vec<Attempt>> {
        reads::attempts(&self.pools.calm, delivery).await
    }

    async fn endpoint_stats(
        &self,
        endpoint: EndpointId,
        window: Duration,
        now: Timestamp,
    ) -> Result<EndpointStats> {
        stats::endpoint_stats(&self.pools.calm, endpoint, now.minus(window)).await
    }

    async fn observe(&self, overdue_before: Timestamp) -> Result<Observation> {
        observe::observe(&self.pools.hot, overdue_before).await
    }

    async fn footprint(&self) -> Result<Footprint> {
        observe::footprint(&self.pools.calm).await
    }

    async fn directory_changes(&self, since: Option<Timestamp>) -> Result<DirectoryChanges> {
        directory::changes(&self.pools.calm, since).await
    }

    async fn directory_changed(&self) {
        let start = || async { Listening::start(self.pools.calm.inner().clone()) };
        self.listening.get_or_init(start).await.changed().await;
    }

    async fn put_endpoint(&self, row: &EndpointRow, _now: Timestamp) -> Result<()> {
        directory::put_endpoint(&self.pools.calm, row).await
    }

    async fn put_source(&self, row: &SourceRow, _now: Timestamp) -> Result<()> {
        directory::put_source(&self.pools.calm, row).await
    }

    async fn put_signing_key(&self, row: &SigningKeyRow, _now: Timestamp) -> Result<SigningKeyRow> {
        signing_keys::put(&self.pools.calm, row).await
    }

    async fn reseal_signing_key(&self, row: &SigningKeyRow, _now: Timestamp) -> Result<()> {
        signing_keys::reseal(&self.pools.calm, row).await
    }

    async fn put_tenant(&self, tenant: &Tenant, create: bool, _now: Timestamp) -> Result<()> {
        directory::put_tenant(&self.pools.calm, tenant, create).await
    }

    async fn put_key(&self, key: &ApiKey, _now: Timestamp) -> Result<()> {
        directory::put_key(&self.pools.calm, key).await
    }

    async fn delete_key(&self, id: KeyId, _now: Timestamp) -> Result<bool> {
        directory::delete_key(&self.pools.calm, id).await
    }

    async fn put_event_type(
        &self,
        event_type: &RegisteredEventType,
        _now: Timestamp,
    ) -> Result<()> {
        directory::put_event_type(&self.pools.calm, event_type).await
    }
}
