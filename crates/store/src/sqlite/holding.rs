//! Deliveries made due again: overdue, released from hold, requeued by hand; and held ones
//! discarded.

use model::{DeliveryId, EndpointId, TenantId, Timestamp, Work};
use rusqlite::{Params, Transaction, params};

use super::lists::Conditions;
use super::reads::{DUE_COLUMNS, due_row};
use super::values::{At, Id};
use crate::rows::{DueRow, work};
use crate::{DeliveryFilter, HeldFate, StoreError};

/// How many deliveries one transaction discards, so that others get their turn.
pub(super) const DISCARD_CHUNK: usize = 5_000;

const OVERDUE: &str = "status <= 1 AND next_attempt_at <= ?1 ORDER BY next_attempt_at LIMIT ?2";

const HELD: &str = "endpoint_id = ?1 AND status = 2 ORDER BY urgent DESC, id LIMIT ?2";

const MAKE_DUE: &str = "UPDATE deliveries SET next_attempt_at = ?2, updated_at = ?2 WHERE id = ?1";

const RELEASE: &str = "
    UPDATE deliveries
    SET status = 0, hold_reason = NULL, next_attempt_at = ?2, updated_at = ?2
    WHERE id = ?1";

const REQUEUE: &str = "
    UPDATE deliveries
    SET status = 0, hold_reason = NULL, attempts_before = attempts, next_attempt_at = ?2,
        updated_at = ?2
    WHERE id = ?1";

/// Each endpoint is one step in the index, however many deliveries it holds.
const ENDPOINTS_WITH_HELD: &str = "
    WITH RECURSIVE found (endpoint_id) AS (
        SELECT min(endpoint_id) FROM deliveries WHERE status = 2
        UNION ALL
        SELECT (SELECT min(d.endpoint_id) FROM deliveries d
                WHERE d.status = 2 AND d.endpoint_id > found.endpoint_id)
        FROM found WHERE found.endpoint_id IS NOT NULL
    )
    SELECT endpoint_id FROM found WHERE endpoint_id IS NOT NULL LIMIT ?1";

const HELD_IDS: &str = "SELECT id FROM deliveries WHERE endpoint_id = ?1 AND status = 2";

const HELD_BUT_LATEST_IDS: &str = "
    SELECT id FROM (
        SELECT d.id, row_number() OVER (
                   PARTITION BY e.license_id ORDER BY e.sequence DESC, d.id DESC) AS age
        FROM deliveries d JOIN events e ON e.n = d.event_n
        WHERE d.endpoint_id = ?1 AND d.status = 2 AND e.license_id IS NOT NULL
    ) WHERE age > 1";

/// Of an endpoint that is deleted.
const UNFINISHED_IDS: &str = "
    SELECT d.id FROM endpoints e
    JOIN deliveries d INDEXED BY deliveries_held ON d.endpoint_id = e.id AND d.status = 2
    WHERE e.id = ?1 AND e.deleted
    UNION ALL
    SELECT d.id FROM endpoints e
    JOIN deliveries d INDEXED BY deliveries_due ON d.endpoint_id = e.id AND d.status <= 1
    WHERE e.id = ?1 AND e.deleted";

/// If its status is between `?3` and held.
const DISCARD: &str = "
    UPDATE deliveries
    SET status = 5, hold_reason = NULL, next_attempt_at = NULL, updated_at = ?2
    WHERE id = ?1 AND status BETWEEN ?3 AND 2";

pub(super) fn overdue(
    tx: &Transaction<'_>,
    due_before: Timestamp,
    now: Timestamp,
    limit: u32,
) -> Result<Vec<Work>, StoreError> {
    let picked = pick(tx, OVERDUE, params![At(due_before), limit])?;
    make_due(tx, MAKE_DUE, picked, now)
}

pub(super) fn release(
    tx: &Transaction<'_>,
    endpoint: EndpointId,
    limit: u32,
    now: Timestamp,
) -> Result<Vec<Work>, StoreError> {
    let picked = pick(tx, HELD, params![Id::new(endpoint.as_u128()), limit])?;
    make_due(tx, RELEASE, picked, now)
}

pub(super) fn requeue_one(
    tx: &Transaction<'_>,
    tenant: &TenantId,
    delivery: DeliveryId,
    now: Timestamp,
) -> Result<Vec<Work>, StoreError> {
    let sql = format!(
        "SELECT {DUE_COLUMNS} FROM deliveries d JOIN events e ON e.n = d.event_n
         WHERE d.id = ?1 AND e.tenant_id = ?2"
    );
    let picked = rows(
        tx,
        &sql,
        params![Id::new(delivery.as_u128()), tenant.as_str()],
    )?;
    requeue(tx, picked, now)
}

pub(super) fn requeue_matching(
    tx: &Transaction<'_>,
    tenant: &TenantId,
    filter: &DeliveryFilter,
    limit: u32,
    now: Timestamp,
) -> Result<Vec<Work>, StoreError> {
    let mut conditions = Conditions::deliveries(tx, tenant, filter)?;
    if filter.status.is_none() {
        conditions.add("d.status >= 4");
    }
    conditions.add("d.endpoint_id NOT IN (SELECT id FROM endpoints WHERE deleted)");
    let picked = conditions.select(tx, DUE_COLUMNS, "d.id", limit, due_row)?;
    requeue(tx, picked, now)
}

fn requeue(
    tx: &Transaction<'_>,
    mut picked: Vec<DueRow>,
    now: Timestamp,
) -> Result<Vec<Work>, StoreError> {
    for row in &mut picked {
        row.attempts_before = row.attempts;
    }
    make_due(tx, REQUEUE, picked, now)
}

fn pick(tx: &Transaction<'_>, which: &str, params: impl Params) -> Result<Vec<DueRow>, StoreError> {
    let sql = format!(
        "SELECT {DUE_COLUMNS} FROM (SELECT * FROM deliveries WHERE {which}) d
         JOIN events e ON e.n = d.event_n"
    );
    rows(tx, &sql, params)
}

fn rows(tx: &Transaction<'_>, sql: &str, params: impl Params) -> Result<Vec<DueRow>, StoreError> {
    let mut statement = tx.prepare_cached(sql)?;
    let rows = statement.query_map(params, due_row)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn make_due(
    tx: &Transaction<'_>,
    update: &str,
    picked: Vec<DueRow>,
    now: Timestamp,
) -> Result<Vec<Work>, StoreError> {
    let mut update = tx.prepare_cached(update)?;
    for row in &picked {
        update.execute(params![Id::new(row.id.as_u128()), At(now)])?;
    }
    work(picked, now)
}

pub(super) fn endpoints_with_held(
    tx: &Transaction<'_>,
    limit: u32,
) -> Result<Vec<EndpointId>, StoreError> {
    let mut statement = tx.prepare_cached(ENDPOINTS_WITH_HELD)?;
    let ids = statement.query_map([limit], |row| row.get::<_, Id>(0))?;
    ids.map(|id| Ok(EndpointId::from_u128(id?.as_u128())))
        .collect()
}

/// The held deliveries of an endpoint that `fate` lets go.
pub(super) fn to_discard(
    tx: &Transaction<'_>,
    endpoint: EndpointId,
    fate: HeldFate,
) -> Result<Vec<Id>, StoreError> {
    let sql = match fate {
        HeldFate::DiscardAll => HELD_IDS,
        HeldFate::KeepLatestPerLicense => HELD_BUT_LATEST_IDS,
    };
    ids(tx, sql, endpoint)
}

/// The unfinished deliveries of an endpoint, if it is deleted.
pub(super) fn unfinished(
    tx: &Transaction<'_>,
    endpoint: EndpointId,
) -> Result<Vec<Id>, StoreError> {
    ids(tx, UNFINISHED_IDS, endpoint)
}

fn ids(tx: &Transaction<'_>, sql: &str, endpoint: EndpointId) -> Result<Vec<Id>, StoreError> {
    let mut statement = tx.prepare_cached(sql)?;
    let ids = statement.query_map([Id::new(endpoint.as_u128())], |row| row.get(0))?;
    Ok(ids.collect::<Result<_, _>>()?)
}

/// Discards those whose status is between `first_status` and held, answers how many were.
pub(super) fn discard(
    tx: &Transaction<'_>,
    deliveries: &[Id],
    first_status: i16,
    now: Timestamp,
) -> Result<u64, StoreError> {
    let mut discard = tx.prepare_cached(DISCARD)?;
    let mut discarded = 0;
    for delivery in deliveries {
        discarded += u64::from(discard.execute(params![delivery, At(now), first_status])? == 1);
    }
    Ok(discarded)
}
