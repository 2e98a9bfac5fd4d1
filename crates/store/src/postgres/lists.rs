//! Lists, newest first, a page at a time.

use model::{Delivery, DeliveryId, Event, TenantId};
use sqlx::{PgConnection, Postgres, QueryBuilder, Row};

use super::pools::Pool;
use super::reads::{accepted_at, delivery_columns, delivery_row, event_columns, event_row};
use super::values::{At, Id};
use crate::rows::{cut, delivery_cursor, first_delivery_at};
use crate::{Cursor, DeliveryFilter, EventFilter, Page, PageRequest, StoreError, codes};

const SELECT_EVENTS: &str = concat!(
    "SELECT ",
    event_columns!(),
    " FROM events e WHERE e.tenant_id = "
);

macro_rules! deliveries_with_events {
    () => {
        " FROM deliveries d JOIN events e
              ON e.tenant_id = d.tenant_id AND e.accepted_at = d.created_at AND e.id = d.event_id
          WHERE d.tenant_id = "
    };
}

const SELECT_DELIVERIES: &str = concat!("SELECT ", delivery_columns!(), deliveries_with_events!());

const SELECT_DELIVERY_IDS: &str = concat!("SELECT d.id", deliveries_with_events!());

/// Follows from the join, but only spelled out it leads from an event to its deliveries: their ids
/// begin with its time (48 bits of milliseconds, as ULID has them).
const OF_EVENT: &str = "
    AND d.id >= (lpad(to_hex((extract(epoch FROM e.accepted_at) * 1000)::bigint), 12, '0')
                 || repeat('0', 20))::uuid
    AND d.id <= (lpad(to_hex((extract(epoch FROM e.accepted_at) * 1000)::bigint), 12, '0')
                 || repeat('f', 20))::uuid";

type Query = QueryBuilder<Postgres>;

/// A query over `deliveries d` and `events e`, up to the end of its conditions.
async fn deliveries_matching(
    connection: &mut PgConnection,
    select: &'static str,
    tenant: &TenantId,
    filter: &DeliveryFilter,
) -> Result<Query, sqlx::Error> {
    let mut query = Query::new(select);
    query.push_bind(tenant.to_string());
    if let Some(endpoint) = filter.endpoint {
        query
            .push(" AND d.endpoint_id = ")
            .push_bind(Id(endpoint.as_u128()));
    }
    if let Some(event) = &filter.event {
        // Looked up first: its time bounds the deliveries to read.
        match accepted_at(connection, tenant, event).await? {
            Some(at) => {
                let last = DeliveryId::new(at, u128::MAX);
                query.push(" AND d.created_at = ").push_bind(At(at));
                query
                    .push(" AND d.id >= ")
                    .push_bind(Id(first_delivery_at(at).as_u128()));
                query.push(" AND d.id <= ").push_bind(Id(last.as_u128()));
                query
                    .push(" AND d.event_id = ")
                    .push_bind(event.to_string());
            }
            None => {
                query.push(" AND false");
            }
        }
    }
    if let Some(license) = &filter.license {
        query
            .push(" AND e.license_id = ")
            .push_bind(license.to_string())
            .push(OF_EVENT);
    }
    if let Some(status) = filter.status {
        // Written out, so that the partial indexes are seen to fit.
        query.push(format_args!(" AND d.status = {}", codes::status(status)));
    }
    if let Some(since) = filter.since {
        query.push(" AND d.created_at >= ").push_bind(At(since));
        query
            .push(" AND d.id >= ")
            .push_bind(Id(first_delivery_at(since).as_u128()));
    }
    if let Some(until) = filter.until {
        query.push(" AND d.created_at < ").push_bind(At(until));
        query
            .push(" AND d.id < ")
            .push_bind(Id(first_delivery_at(until).as_u128()));
    }
    Ok(query)
}

/// The oldest that match, at most `limit`: failed and discarded ones unless the filter says.
pub(super) async fn to_requeue(
    pool: &Pool,
    tenant: &TenantId,
    filter: &DeliveryFilter,
    limit: u32,
) -> Result<Vec<DeliveryId>, StoreError> {
    pool.within(async {
        let mut connection = pool.lease().await?;
        let mut query =
            deliveries_matching(&mut connection, SELECT_DELIVERY_IDS, tenant, filter).await?;
        if filter.status.is_none() {
            query.push(" AND d.status >= 4");
        }
        query
            .push(" AND d.endpoint_id NOT IN (SELECT id FROM endpoints WHERE deleted)")
            .push(" ORDER BY d.id LIMIT ")
            .push_bind(i64::from(limit));
        let rows = query.build().fetch_all(&mut *connection).await?;
        connection.done();
        rows.iter()
            .map(|row| Ok(DeliveryId::from_u128(row.try_get::<Id, _>(0)?.0)))
            .collect()
    })
    .await
}

pub(super) async fn deliveries(
    pool: &Pool,
    tenant: &TenantId,
    filter: &DeliveryFilter,
    page: &PageRequest,
) -> Result<Page<Delivery>, StoreError> {
    pool.within(async {
        let mut connection = pool.lease().await?;
        let mut query =
            deliveries_matching(&mut connection, SELECT_DELIVERIES, tenant, filter).await?;
        if let Some(cursor) = &page.after {
            query
                .push(" AND d.id < ")
                .push_bind(Id(delivery_cursor(cursor).as_u128()));
        }
        query
            .push(" ORDER BY d.id DESC LIMIT ")
            .push_bind(i64::from(page.limit) + 1);
        let rows = query.build().fetch_all(&mut *connection).await?;
        connection.done();
        let items = rows.iter().map(|row| delivery_row(row)?.delivery());
        Ok(cut(
            items.collect::<Result<Vec<_>, _>>()?,
            page.limit,
            |delivery| Cursor {
                at: delivery.created_at,
                id: delivery.id.to_string(),
            },
        ))
    })
    .await
}

pub(super) async fn events(
    pool: &Pool,
    tenant: &TenantId,
    filter: &EventFilter,
    page: &PageRequest,
) -> Result<Page<Event>, StoreError> {
    let mut query = Query::new(SELECT_EVENTS);
    query.push_bind(tenant.to_string());
    if let Some(event_type) = &filter.event_type {
        query
            .push(" AND e.event_type = ")
            .push_bind(event_type.to_string());
    }
    if let Some(license) = &filter.license {
        query
            .push(" AND e.license_id = ")
            .push_bind(license.to_string());
    }
    if let Some(environment) = filter.environment {
        query.push(format_args!(
            " AND e.environment = {}",
            codes::environment(environment)
        ));
    }
    if let Some(since) = filter.since {
        query.push(" AND e.accepted_at >= ").push_bind(At(since));
    }
    if let Some(until) = filter.until {
        query.push(" AND e.accepted_at < ").push_bind(At(until));
    }
    if let Some(cursor) = &page.after {
        query
            .push(" AND (e.accepted_at, e.id) < (")
            .push_bind(At(cursor.at));
        query.push(", ").push_bind(cursor.id.clone()).push(")");
    }
    query
        .push(" ORDER BY e.accepted_at DESC, e.id DESC LIMIT ")
        .push_bind(i64::from(page.limit) + 1);
    pool.within(async {
        let mut connection = pool.lease().await?;
        let rows = query.build().fetch_all(&mut *connection).await?;
        connection.done();
        let items = rows.iter().map(|row| event_row(row)?.event());
        Ok(cut(
            items.collect::<Result<Vec<_>, _>>()?,
            page.limit,
            |event| Cursor {
                at: event.accepted_at,
                id: event.id.to_string(),
            },
        ))
    })
    .await
}
