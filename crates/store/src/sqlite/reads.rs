//! Rows of events, deliveries and attempts, one by one; lists are in [`super::lists`].

use model::{
    Attempt, AttemptId, Delivery, DeliveryId, EndpointId, Event, EventId, LicenseId, TenantId,
};
use rusqlite::{OptionalExtension, Row, Transaction, params};

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
pub(super) const DELIVERY_COLUMNS: &str = "d.id, e.tenant_id, d.endpoint_id, e.id, e.event_type, \
     e.license_id, d.status, d.hold_reason, d.attempts, d.next_attempt_at, d.updated_at";

/// In the order of [`due_row`], for `deliveries d` and `events e`.
pub(super) const DUE_COLUMNS: &str = concat!(
    event_columns!(),
    ", d.id, d.endpoint_id, d.attempts, d.attempts_before"
);

const TIMELINE: &str = concat!(
    "SELECT ",
    event_columns!(),
    " FROM events e WHERE e.tenant_id = ?1 AND e.license_id = ?2 AND e.sequence > ?3
      ORDER BY e.sequence LIMIT ?4"
);

const ATTEMPTS: &str = "
    SELECT id, number, started_at, duration_us, status_code, retry_after_ms, error_class,
           error_detail, response_headers, response_body
    FROM attempts WHERE delivery_id = ?1 ORDER BY number";

pub(super) fn event_row(row: &Row<'_>) -> rusqlite::Result<EventRow> {
    Ok(EventRow {
        tenant: row.get(0)?,
        id: row.get(1)?,
        event_type: row.get(2)?,
        occurred_at: row.get::<_, At>(3)?.0,
        accepted_at: row.get::<_, At>(4)?.0,
        environment: row.get(5)?,
        product: row.get(6)?,
        license: row.get(7)?,
        sequence: row.get(8)?,
        data: row.get(9)?,
    })
}

pub(super) fn delivery_row(row: &Row<'_>) -> rusqlite::Result<DeliveryRow> {
    Ok(DeliveryRow {
        id: DeliveryId::from_u128(row.get::<_, Id>(0)?.as_u128()),
        tenant: row.get(1)?,
        endpoint: EndpointId::from_u128(row.get::<_, Id>(2)?.as_u128()),
        event: row.get(3)?,
        event_type: row.get(4)?,
        license: row.get(5)?,
        status: row.get(6)?,
        hold_reason: row.get(7)?,
        attempts: row.get(8)?,
        next_attempt_at: row.get::<_, Option<At>>(9)?.map(|at| at.0),
        updated_at: row.get::<_, At>(10)?.0,
    })
}

pub(super) fn due_row(row: &Row<'_>) -> rusqlite::Result<DueRow> {
    Ok(DueRow {
        event: event_row(row)?,
        id: DeliveryId::from_u128(row.get::<_, Id>(10)?.as_u128()),
        endpoint: EndpointId::from_u128(row.get::<_, Id>(11)?.as_u128()),
        attempts: row.get(12)?,
        attempts_before: row.get(13)?,
    })
}

pub(super) fn event(
    tx: &Transaction<'_>,
    tenant: &TenantId,
    id: &EventId,
) -> Result<Option<Event>, StoreError> {
    tx.prepare_cached(concat!(
        "SELECT ",
        event_columns!(),
        " FROM events e WHERE e.tenant_id = ?1 AND e.id = ?2"
    ))?
    .query_row([tenant.as_str(), id.as_str()], event_row)
    .optional()?
    .map(EventRow::event)
    .transpose()
}

pub(super) fn timeline(
    tx: &Transaction<'_>,
    tenant: &TenantId,
    license: &LicenseId,
    after_sequence: u64,
    limit: u32,
) -> Result<Vec<Event>, StoreError> {
    let after = i64::try_from(after_sequence).unwrap_or(i64::MAX);
    tx.prepare_cached(TIMELINE)?
        .query_map(
            params![tenant.as_str(), license.as_str(), after, limit],
            event_row,
        )?
        .map(|row| row?.event())
        .collect()
}

pub(super) fn delivery(
    tx: &Transaction<'_>,
    tenant: &TenantId,
    id: DeliveryId,
) -> Result<Option<Delivery>, StoreError> {
    let sql = format!(
        "SELECT {DELIVERY_COLUMNS} FROM deliveries d JOIN events e ON e.n = d.event_n
         WHERE d.id = ?1 AND e.tenant_id = ?2"
    );
    tx.prepare_cached(&sql)?
        .query_row(
            params![Id::new(id.as_u128()), tenant.as_str()],
            delivery_row,
        )
        .optional()?
        .map(DeliveryRow::delivery)
        .transpose()
}

pub(super) fn attempts(
    tx: &Transaction<'_>,
    delivery: DeliveryId,
) -> Result<Vec<Attempt>, StoreError> {
    tx.prepare_cached(ATTEMPTS)?
        .query_map([Id::new(delivery.as_u128())], |row| {
            Ok(AttemptRow {
                id: AttemptId::from_u128(row.get::<_, Id>(0)?.as_u128()),
                delivery,
                number: row.get(1)?,
                started_at: row.get::<_, At>(2)?.0,
                duration_us: row.get(3)?,
                status_code: row.get(4)?,
                retry_after_ms: row.get(5)?,
                error_class: row.get(6)?,
                error_detail: row.get(7)?,
                response_headers: row.get(8)?,
                response_body: row.get(9)?,
            })
        })?
        .map(|row| row?.attempt())
        .collect()
}
