//! Rows of events, deliveries and attempts, one by one; lists are in [`super::lists`].

use model::{
    Attempt, AttemptId, Delivery, DeliveryId, EndpointId, Event, EventId, LicenseId, TenantId,
    Timestamp,
};
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row};

use super::pools::Pool;
use super::values::{At, Id};
use crate::StoreError;
use crate::rows::{AttemptRow, DeliveryRow, DueRow, EventRow};

/// In the order of [`event_row`], for `events e`.
macro_rules! event_columns {
    () => {
        "e.tenant_id, e.id, e.event_type, e.occurred_at, e.accepted_at, e.environment, \
         e.product, e.license_id, e.sequence, e.data"
    };
}
pub(super) use event_columns;

/// In the order of [`delivery_row`], for `deliveries d` and `events e`.
macro_rules! delivery_columns {
    () => {
        "d.id, d.tenant_id, d.endpoint_id, d.event_id, e.event_type, e.license_id, d.status, \
         d.hold_reason, d.attempts, d.next_attempt_at, d.updated_at"
    };
}
pub(super) use delivery_columns;

pub(super) const EVENT: &str = concat!(
    "SELECT ",
    event_columns!(),
    " FROM event_keys k JOIN events e
          ON e.tenant_id = k.tenant_id AND e.accepted_at = k.accepted_at AND e.id = k.event_id
      WHERE k.tenant_id = $1 AND k.event_id = $2"
);

pub(super) const TIMELINE: &str = concat!(
    "SELECT ",
    event_columns!(),
    " FROM events e WHERE e.tenant_id = $1 AND e.license_id = $2 AND e.sequence > $3
      ORDER BY e.sequence LIMIT $4"
);

pub(super) const DELIVERY: &str = concat!(
    "SELECT ",
    delivery_columns!(),
    " FROM deliveries d JOIN events e
          ON e.tenant_id = d.tenant_id AND e.accepted_at = d.created_at AND e.id = d.event_id
      WHERE d.id = $1 AND d.created_at = $2 AND d.tenant_id = $3"
);

pub(super) const ATTEMPTS: &str = "
SELECT id, number, started_at, duration_us, status_code, retry_after_ms, error_class,
       error_detail, response_headers, response_body
FROM attempts WHERE delivery_id = $1 AND delivery_created_at = $2 ORDER BY number";

pub(super) fn event_row(row: &PgRow) -> Result<EventRow, sqlx::Error> {
    Ok(EventRow {
        tenant: row.try_get(0)?,
        id: row.try_get(1)?,
        event_type: row.try_get(2)?,
        occurred_at: row.try_get::<At, _>(3)?.0,
        accepted_at: row.try_get::<At, _>(4)?.0,
        environment: row.try_get(5)?,
        product: row.try_get(6)?,
        license: row.try_get(7)?,
        sequence: row.try_get(8)?,
        data: row.try_get(9)?,
    })
}

pub(super) fn due_row(row: &PgRow) -> Result<DueRow, sqlx::Error> {
    Ok(DueRow {
        event: event_row(row)?,
        id: DeliveryId::from_u128(row.try_get::<Id, _>(10)?.0),
        endpoint: EndpointId::from_u128(row.try_get::<Id, _>(11)?.0),
        attempts: row.try_get(12)?,
        attempts_before: row.try_get(13)?,
    })
}

pub(super) fn delivery_row(row: &PgRow) -> Result<DeliveryRow, sqlx::Error> {
    Ok(DeliveryRow {
        id: DeliveryId::from_u128(row.try_get::<Id, _>(0)?.0),
        tenant: row.try_get(1)?,
        endpoint: EndpointId::from_u128(row.try_get::<Id, _>(2)?.0),
        event: row.try_get(3)?,
        event_type: row.try_get(4)?,
        license: row.try_get(5)?,
        status: row.try_get(6)?,
        hold_reason: row.try_get(7)?,
        attempts: row.try_get(8)?,
        next_attempt_at: row.try_get::<Option<At>, _>(9)?.map(|at| at.0),
        updated_at: row.try_get::<At, _>(10)?.0,
    })
}

pub(super) async fn event(
    pool: &Pool,
    tenant: &TenantId,
    id: &EventId,
) -> Result<Option<Event>, StoreError> {
    pool.within(async {
        let mut connection = pool.lease().await?;
        let row = sqlx::query(EVENT)
            .bind(tenant.as_str())
            .bind(id.as_str())
            .fetch_optional(&mut *connection)
            .await?;
        connection.done();
        row.map(|row| event_row(&row)?.event()).transpose()
    })
    .await
}

/// When an event was accepted, if its key is kept.
pub(super) async fn accepted_at(
    connection: &mut PgConnection,
    tenant: &TenantId,
    id: &EventId,
) -> Result<Option<Timestamp>, sqlx::Error> {
    let at: Option<At> = sqlx::query_scalar(
        "SELECT accepted_at FROM event_keys WHERE tenant_id = $1 AND event_id = $2",
    )
    .bind(tenant.as_str())
    .bind(id.as_str())
    .fetch_optional(connection)
    .await?;
    Ok(at.map(|at| at.0))
}

pub(super) async fn timeline(
    pool: &Pool,
    (tenant, license): (&TenantId, &LicenseId),
    after_sequence: u64,
    limit: u32,
) -> Result<Vec<Event>, StoreError> {
    pool.within(async {
        let mut connection = pool.lease().await?;
        let rows = sqlx::query(TIMELINE)
            .bind(tenant.as_str())
            .bind(license.as_str())
            .bind(i64::try_from(after_sequence).unwrap_or(i64::MAX))
            .bind(i64::from(limit))
            .fetch_all(&mut *connection)
            .await?;
        connection.done();
        rows.iter().map(|row| event_row(row)?.event()).collect()
    })
    .await
}

pub(super) async fn delivery(
    pool: &Pool,
    tenant: &TenantId,
    id: DeliveryId,
) -> Result<Option<Delivery>, StoreError> {
    pool.within(async {
        let mut connection = pool.lease().await?;
        let row = sqlx::query(DELIVERY)
            .bind(Id(id.as_u128()))
            .bind(At(id.created_at()))
            .bind(tenant.as_str())
            .fetch_optional(&mut *connection)
            .await?;
        connection.done();
        row.map(|row| delivery_row(&row)?.delivery()).transpose()
    })
    .await
}

pub(super) async fn attempts(
    pool: &Pool,
    delivery: DeliveryId,
) -> Result<Vec<Attempt>, StoreError> {
    pool.within(async {
        let mut connection = pool.lease().await?;
        let rows = sqlx::query(ATTEMPTS)
            .bind(Id(delivery.as_u128()))
            .bind(At(delivery.created_at()))
            .fetch_all(&mut *connection)
            .await?;
        connection.done();
        rows.iter()
            .map(|row| attempt_row(row, delivery)?.attempt())
            .collect()
    })
    .await
}

fn attempt_row(row: &PgRow, delivery: DeliveryId) -> Result<AttemptRow, sqlx::Error> {
    Ok(AttemptRow {
        id: AttemptId::from_u128(row.try_get::<Id, _>(0)?.0),
        delivery,
        number: row.try_get(1)?,
        started_at: row.try_get::<At, _>(2)?.0,
        duration_us: row.try_get(3)?,
        status_code: row.try_get(4)?,
        retry_after_ms: row.try_get(5)?,
        error_class: row.try_get(6)?,
        error_detail: row.try_get(7)?,
        response_headers: row.try_get(8)?,
        response_body: row.try_get::<Option<Vec<u8>>, _>(9)?.unwrap_or_default(),
    })
}
