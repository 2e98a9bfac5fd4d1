//! Lists, newest first, a page at a time.

use model::{Delivery, DeliveryId, Event, EventId, LicenseId, TenantId};
use rusqlite::types::Value;
use rusqlite::{OptionalExtension, Row, ToSql, Transaction, params, params_from_iter};

use super::reads::{DELIVERY_COLUMNS, delivery_row, event_columns, event_row};
use super::values::{At, Id};
use crate::rows::{DeliveryRow, EventRow, cut, delivery_cursor, first_delivery_at};
use crate::{Cursor, DeliveryFilter, EventFilter, Page, PageRequest, StoreError, codes};

/// A WHERE clause over `deliveries d` and `events e`, with its values.
pub(super) struct Conditions {
    clauses: Vec<String>,
    values: Vec<Value>,
}

impl Conditions {
    fn new(tenant: &TenantId) -> Self {
        let mut conditions = Self {
            clauses: Vec::new(),
            values: Vec::new(),
        };
        conditions.add_with("e.tenant_id = ?", Value::Text(tenant.to_string()));
        conditions
    }

    /// Those of a filter. An event is looked up first: its time bounds the deliveries to read.
    pub(super) fn deliveries(
        tx: &Transaction<'_>,
        tenant: &TenantId,
        filter: &DeliveryFilter,
    ) -> Result<Self, StoreError> {
        let mut conditions = Self::new(tenant);
        if let Some(endpoint) = filter.endpoint {
            conditions.add_with("d.endpoint_id = ?", blob(endpoint.as_u128()));
        }
        if let Some(event) = &filter.event {
            match found_event(tx, tenant, event)? {
                Some((n, accepted_at)) => {
                    let last = DeliveryId::new(accepted_at.0, u128::MAX);
                    conditions.add_with("d.event_n = ?", Value::Integer(n));
                    conditions.add_with(
                        "d.id >= ?",
                        blob(first_delivery_at(accepted_at.0).as_u128()),
                    );
                    conditions.add_with("d.id <= ?", blob(last.as_u128()));
                }
                None => conditions.add("FALSE"),
            }
        }
        if let Some(license) = &filter.license {
            conditions.add_with("e.license_id = ?", Value::Text(license.to_string()));
        }
        if let Some(status) = filter.status {
            // Written out, so that the partial indexes are seen to fit.
            conditions.add(&format!("d.status = {}", codes::status(status)));
        }
        if let Some(since) = filter.since {
            conditions.add_with("d.id >= ?", blob(first_delivery_at(since).as_u128()));
        }
        if let Some(until) = filter.until {
            conditions.add_with("d.id < ?", blob(first_delivery_at(until).as_u128()));
        }
        Ok(conditions)
    }

    pub(super) fn add(&mut self, clause: &str) {
        self.clauses.push(clause.to_owned());
    }

    fn add_with(&mut self, clause: &str, value: Value) {
        self.clauses.push(clause.to_owned());
        self.values.push(value);
    }

    /// Reads at most `limit` deliveries, in the given order.
    pub(super) fn select<T>(
        &self,
        tx: &Transaction<'_>,
        columns: &str,
        order: &str,
        limit: u32,
        read: fn(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, StoreError> {
        // CROSS JOIN: SQLite keeps to the order given, deliveries first.
        let sql = format!(
            "SELECT {columns} FROM deliveries d CROSS JOIN events e ON e.n = d.event_n
             WHERE {} ORDER BY {order} LIMIT {limit}",
            self.clauses.join(" AND ")
        );
        let mut statement = tx.prepare_cached(&sql)?;
        let rows = statement.query_map(params_from_iter(&self.values), read)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}

fn blob(id: u128) -> Value {
    Value::Blob(id.to_be_bytes().to_vec())
}

fn found_event(
    tx: &Transaction<'_>,
    tenant: &TenantId,
    event: &EventId,
) -> Result<Option<(i64, At)>, StoreError> {
    let found = tx
        .prepare_cached("SELECT n, accepted_at FROM events WHERE tenant_id = ?1 AND id = ?2")?
        .query_row([tenant.as_str(), event.as_str()], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .optional()?;
    Ok(found)
}

pub(super) fn deliveries(
    tx: &Transaction<'_>,
    tenant: &TenantId,
    filter: &DeliveryFilter,
    page: &PageRequest,
) -> Result<Page<Delivery>, StoreError> {
    let mut conditions = Conditions::deliveries(tx, tenant, filter)?;
    if let Some(cursor) = &page.after {
        conditions.add_with("d.id < ?", blob(delivery_cursor(cursor).as_u128()));
    }
    let wanted = page.limit.saturating_add(1);
    let rows = match &filter.license {
        Some(license) => deliveries_of_license(tx, (tenant, license), &conditions, wanted)?,
        None => conditions.select(tx, DELIVERY_COLUMNS, "d.id DESC", wanted, delivery_row)?,
    };
    let items = rows
        .into_iter()
        .map(DeliveryRow::delivery)
        .collect::<Result<Vec<_>, _>>()?;
    Ok(cut(items, page.limit, |delivery| Cursor {
        at: delivery.created_at,
        id: delivery.id.to_string(),
    }))
}

/// Goes through the license's events, which its index has in order, and not through everybody's
/// deliveries.
fn deliveries_of_license(
    tx: &Transaction<'_>,
    (tenant, license): (&TenantId, &LicenseId),
    conditions: &Conditions,
    wanted: u32,
) -> Result<Vec<DeliveryRow>, StoreError> {
    let mut events = tx.prepare_cached(
        "SELECT n, accepted_at FROM events
         WHERE tenant_id = ?1 AND license_id = ?2 ORDER BY sequence DESC",
    )?;
    let mut of_event = tx.prepare_cached(&format!(
        "SELECT {DELIVERY_COLUMNS} FROM deliveries d CROSS JOIN events e ON e.n = d.event_n
         WHERE {} AND d.event_n = ? AND d.id BETWEEN ? AND ? ORDER BY d.id DESC",
        conditions.clauses.join(" AND ")
    ))?;
    let mut found = Vec::new();
    let mut rows = events.query(params![tenant.as_str(), license.as_str()])?;
    while let Some(row) = rows.next()? {
        let (n, accepted_at): (i64, At) = (row.get(0)?, row.get(1)?);
        let first = Id::new(first_delivery_at(accepted_at.0).as_u128());
        let last = Id::new(DeliveryId::new(accepted_at.0, u128::MAX).as_u128());
        let own: [&dyn ToSql; 3] = [&n, &first, &last];
        let values = conditions
            .values
            .iter()
            .map(|value| value as &dyn ToSql)
            .chain(own);
        for row in of_event.query_map(params_from_iter(values), delivery_row)? {
            found.push(row?);
        }
        if found.len() >= usize::try_from(wanted).unwrap_or(usize::MAX) {
            break;
        }
    }
    found.sort_by_key(|row: &DeliveryRow| std::cmp::Reverse(row.id));
    Ok(found)
}

pub(super) fn events(
    tx: &Transaction<'_>,
    tenant: &TenantId,
    filter: &EventFilter,
    page: &PageRequest,
) -> Result<Page<Event>, StoreError> {
    let mut conditions = Conditions::new(tenant);
    if let Some(event_type) = &filter.event_type {
        conditions.add_with("e.event_type = ?", Value::Text(event_type.to_string()));
    }
    if let Some(license) = &filter.license {
        conditions.add_with("e.license_id = ?", Value::Text(license.to_string()));
    }
    if let Some(environment) = filter.environment {
        conditions.add(&format!(
            "e.environment = {}",
            codes::environment(environment)
        ));
    }
    if let Some(since) = filter.since {
        conditions.add_with("e.accepted_at >= ?", Value::Integer(since.as_micros()));
    }
    if let Some(until) = filter.until {
        conditions.add_with("e.accepted_at < ?", Value::Integer(until.as_micros()));
    }
    if let Some(cursor) = &page.after {
        conditions.add_with(
            "(e.accepted_at, e.id) < (?, ?)",
            Value::Integer(cursor.at.as_micros()),
        );
        conditions.values.push(Value::Text(cursor.id.clone()));
    }
    let sql = format!(
        "SELECT {} FROM events e WHERE {} ORDER BY e.accepted_at DESC, e.id DESC LIMIT {}",
        event_columns!(),
        conditions.clauses.join(" AND "),
        page.limit.saturating_add(1)
    );
    let mut statement = tx.prepare_cached(&sql)?;
    let items = statement
        .query_map(params_from_iter(&conditions.values), event_row)?
        .map(|row: rusqlite::Result<EventRow>| row?.event())
        .collect::<Result<Vec<_>, StoreError>>()?;
    Ok(cut(items, page.limit, |event| Cursor {
        at: event.accepted_at,
        id: event.id.to_string(),
    }))
}
