//! Deliveries made due again: overdue, released from hold, requeued by hand; and held ones
//! discarded.

use model::{DeliveryId, EndpointId, TenantId, Timestamp, Work};

use super::pools::Pool;
use super::reads::{due_row, event_columns};
use super::values::{At, Id};
use crate::rows::{DueRow, work};
use crate::{HeldFate, StoreError, codes};

/// How many deliveries one transaction discards, so that nobody waits long for its locks.
const DISCARD_CHUNK: usize = 5_000;

/// What `due` answers, joined with its event; read by [`due_row`].
macro_rules! due_with_event {
    () => {
        concat!(
            "SELECT ",
            event_columns!(),
            ", due.id, due.endpoint_id, due.attempts, due.attempts_before
             FROM due JOIN events e
                 ON e.tenant_id = due.tenant_id AND e.accepted_at = due.created_at
                AND e.id = due.event_id"
        )
    };
}

macro_rules! due_columns {
    () => {
        "d.id, d.created_at, d.tenant_id, d.event_id, d.endpoint_id, d.attempts, d.attempts_before"
    };
}

/// SKIP LOCKED: what somebody else is taking now is his.
pub(super) const OVERDUE: &str = concat!(
    "WITH picked AS MATERIALIZED (
        SELECT id, created_at FROM deliveries WHERE status <= 1 AND next_attempt_at <= $1
        ORDER BY next_attempt_at LIMIT $2 FOR UPDATE SKIP LOCKED
    ), due AS (
        UPDATE deliveries d SET next_attempt_at = $3, updated_at = $3
        FROM picked p WHERE d.id = p.id AND d.created_at = p.created_at
        RETURNING ",
    due_columns!(),
    ") ",
    due_with_event!()
);

pub(super) const RELEASE: &str = concat!(
    "WITH picked AS MATERIALIZED (
        SELECT id, created_at FROM deliveries WHERE endpoint_id = $1 AND status = 2
        ORDER BY urgent DESC, id LIMIT $2 FOR UPDATE SKIP LOCKED
    ), due AS (
        UPDATE deliveries d
        SET status = 0, hold_reason = NULL, next_attempt_at = $3, updated_at = $3
        FROM picked p WHERE d.id = p.id AND d.created_at = p.created_at
        RETURNING ",
    due_columns!(),
    ") ",
    due_with_event!()
);

/// Those in `$1`, `$2` (ids and their times) that belong to the tenant `$3`.
pub(super) const REQUEUE: &str = concat!(
    "WITH due AS (
        UPDATE deliveries d
        SET status = 0, hold_reason = NULL, attempts_before = d.attempts, next_attempt_at = $4,
            updated_at = $4
        FROM unnest($1::uuid[], $2::timestamptz[]) AS p (id, created_at)
        WHERE d.id = p.id AND d.created_at = p.created_at AND d.tenant_id = $3
        RETURNING ",
    due_columns!(),
    ") ",
    due_with_event!()
);

/// Each endpoint is one step in the index, however many deliveries it holds.
pub(super) const ENDPOINTS_WITH_HELD: &str = "
WITH RECURSIVE found (endpoint_id) AS (
    (SELECT endpoint_id FROM deliveries WHERE status = 2 ORDER BY endpoint_id LIMIT 1)
    UNION ALL
    SELECT (SELECT d.endpoint_id FROM deliveries d
            WHERE d.status = 2 AND d.endpoint_id > found.endpoint_id
            ORDER BY d.endpoint_id LIMIT 1)
    FROM found WHERE found.endpoint_id IS NOT NULL
)
SELECT endpoint_id FROM found WHERE endpoint_id IS NOT NULL LIMIT $1";

pub(super) const HELD_IDS: &str =
    "SELECT id FROM deliveries WHERE endpoint_id = $1 AND status = 2 ORDER BY id";

pub(super) const HELD_BUT_LATEST_IDS: &str = "
SELECT id FROM (
    SELECT d.id, row_number() OVER (
               PARTITION BY e.license_id ORDER BY e.sequence DESC, d.id DESC) AS age
    FROM deliveries d
    JOIN events e ON e.tenant_id = d.tenant_id AND e.accepted_at = d.created_at
                 AND e.id = d.event_id
    WHERE d.endpoint_id = $1 AND d.status = 2 AND e.license_id IS NOT NULL
) aged WHERE age > 1 ORDER BY id";

/// Of an endpoint that is deleted.
pub(super) const UNFINISHED_IDS: &str = "
SELECT d.id FROM endpoints e JOIN deliveries d ON d.endpoint_id = e.id
WHERE e.id = $1 AND e.deleted AND d.status = 2
UNION ALL
SELECT d.id FROM endpoints e JOIN deliveries d ON d.endpoint_id = e.id
WHERE e.id = $1 AND e.deleted AND d.status <= 1";

/// Those whose status is between `$4` and held.
pub(super) const DISCARD: &str = "
UPDATE deliveries d
SET status = 5, hold_reason = NULL, next_attempt_at = NULL, updated_at = $3
FROM unnest($1::uuid[], $2::timestamptz[]) AS p (id, created_at)
WHERE d.id = p.id AND d.created_at = p.created_at AND d.status BETWEEN $4 AND 2";

pub(super) async fn overdue(
    pool: &Pool,
    due_before: Timestamp,
    now: Timestamp,
    limit: u32,
) -> Result<Vec<Work>, StoreError> {
    let query = sqlx::query(OVERDUE)
        .bind(At(due_before))
        .bind(i64::from(limit))
        .bind(At(now));
    make_due(pool, query, now).await
}

pub(super) async fn release(
    pool: &Pool,
    endpoint: EndpointId,
    limit: u32,
    now: Timestamp,
) -> Result<Vec<Work>, StoreError> {
    let query = sqlx::query(RELEASE)
        .bind(Id(endpoint.as_u128()))
        .bind(i64::from(limit))
        .bind(At(now));
    make_due(pool, query, now).await
}

pub(super) async fn requeue(
    pool: &Pool,
    tenant: &TenantId,
    deliveries: &[DeliveryId],
    now: Timestamp,
) -> Result<Vec<Work>, StoreError> {
    let (ids, times) = ids_and_times(deliveries);
    let query = sqlx::query(REQUEUE)
        .bind(ids)
        .bind(times)
        .bind(tenant.as_str())
        .bind(At(now));
    make_due(pool, query, now).await
}

type Query<'q> = sqlx::query::Query<'q, sqlx::Postgres, sqlx::postgres::PgArguments>;

async fn make_due(pool: &Pool, query: Query<'_>, now: Timestamp) -> Result<Vec<Work>, StoreError> {
    let rows = pool
        .within(async {
            let mut connection = pool.lease().await?;
            let rows = query.fetch_all(&mut *connection).await?;
            connection.done();
            Ok(rows)
        })
        .await?;
    work(
        rows.iter()
            .map(due_row)
            .collect::<Result<Vec<DueRow>, _>>()?,
        now,
    )
}

fn ids_and_times(deliveries: &[DeliveryId]) -> (Vec<Id>, Vec<At>) {
    deliveries
        .iter()
        .map(|id| (Id(id.as_u128()), At(id.created_at())))
        .unzip()
}

pub(super) async fn endpoints_with_held(
    pool: &Pool,
    limit: u32,
) -> Result<Vec<EndpointId>, StoreError> {
    pool.within(async {
        let mut connection = pool.lease().await?;
        let ids: Vec<Id> = sqlx::query_scalar(ENDPOINTS_WITH_HELD)
            .bind(i64::from(limit))
            .fetch_all(&mut *connection)
            .await?;
        connection.done();
        Ok(ids
            .into_iter()
            .map(|id| EndpointId::from_u128(id.0))
            .collect())
    })
    .await
}

pub(super) async fn discard_held(
    pool: &Pool,
    endpoint: EndpointId,
    fate: HeldFate,
    now: Timestamp,
) -> Result<u64, StoreError> {
    let sql = match fate {
        HeldFate::DiscardAll => HELD_IDS,
        HeldFate::KeepLatestPerLicense => HELD_BUT_LATEST_IDS,
    };
    let ids = ids(pool, sql, endpoint).await?;
    discard(pool, &ids, codes::HELD, now).await
}

pub(super) async fn discard_unfinished(
    pool: &Pool,
    endpoint: EndpointId,
    now: Timestamp,
) -> Result<u64, StoreError> {
    let ids = ids(pool, UNFINISHED_IDS, endpoint).await?;
    discard(pool, &ids, codes::QUEUED, now).await
}

async fn ids(
    pool: &Pool,
    sql: &'static str,
    endpoint: EndpointId,
) -> Result<Vec<DeliveryId>, StoreError> {
    pool.within(async {
        let mut connection = pool.lease().await?;
        let ids: Vec<Id> = sqlx::query_scalar(sql)
            .bind(Id(endpoint.as_u128()))
            .fetch_all(&mut *connection)
            .await?;
        connection.done();
        Ok(ids
            .into_iter()
            .map(|id| DeliveryId::from_u128(id.0))
            .collect())
    })
    .await
}

/// Each chunk has its own time: however many there are, no step is long.
async fn discard(
    pool: &Pool,
    deliveries: &[DeliveryId],
    first_status: i16,
    now: Timestamp,
) -> Result<u64, StoreError> {
    let mut discarded = 0;
    for chunk in deliveries.chunks(DISCARD_CHUNK) {
        discarded += pool
            .within(async {
                let (ids, times) = ids_and_times(chunk);
                let mut connection = pool.lease().await?;
                let done = sqlx::query(DISCARD)
                    .bind(ids)
                    .bind(times)
                    .bind(At(now))
                    .bind(first_status)
                    .execute(&mut *connection)
                    .await?;
                connection.done();
                Ok(done.rows_affected())
            })
            .await?;
    }
    Ok(discarded)
}
