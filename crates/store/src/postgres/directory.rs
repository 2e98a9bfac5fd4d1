//! The small tables. `changed_at` is PostgreSQL's clock: those of its clients may differ.

use model::{
    ApiKey, EndpointId, KeyId, RegisteredEventType, SourceId, Tenant, TenantId, Timestamp,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::postgres::PgRow;
use sqlx::{Connection, PgConnection, Row};

use super::accept::storable;
use super::pools::Pool;
use super::signing_keys;
use super::values::{At, Id};
use crate::rows::{count, parse};
use crate::{DirectoryChanges, EndpointRow, SourceRow, StoreError};

type Result<T> = std::result::Result<T, StoreError>;

/// The channel that tells every process of a change.
pub(super) const CHANNEL: &str = "fanfare_directory";

const NOTIFY: &str = "SELECT pg_notify('fanfare_directory', '')";

/// Endpoints and sources first, then signing keys, tenants last: one that is seen has its tenant
/// and its keys seen too.
pub(super) async fn changes(pool: &Pool, since: Option<Timestamp>) -> Result<DirectoryChanges> {
    let since = At(since.unwrap_or(Timestamp::EPOCH));
    pool.within(async {
        let mut lease = pool.lease().await?;
        let connection = &mut *lease;
        let as_of: At = sqlx::query_scalar("SELECT clock_timestamp()")
            .fetch_one(&mut *connection)
            .await?;
        let endpoints = rows(
            connection,
            "SELECT id, tenant_id, revision, body, sealed_secrets, deleted FROM endpoints
             WHERE changed_at >= $1",
            since,
        )
        .await?;
        let sources = rows(
            connection,
            "SELECT id, tenant_id, revision, body, sealed_keys, deleted FROM sources
             WHERE changed_at >= $1",
            since,
        )
        .await?;
        let keys = rows(
            connection,
            "SELECT body FROM api_keys WHERE changed_at >= $1",
            since,
        )
        .await?;
        let deleted_keys = rows(
            connection,
            "SELECT id FROM deleted_api_keys WHERE changed_at >= $1",
            since,
        )
        .await?;
        let signing_keys = rows(connection, signing_keys::CHANGED, since).await?;
        let event_types = rows(
            connection,
            "SELECT tenant_id, name, description FROM event_types WHERE changed_at >= $1",
            since,
        )
        .await?;
        let tenants = rows(
            connection,
            "SELECT body FROM tenants WHERE changed_at >= $1",
            since,
        )
        .await?;
        lease.done();
        Ok(DirectoryChanges {
            as_of: as_of.0,
            tenants: tenants.iter().map(body).collect::<Result<_>>()?,
            endpoints: endpoints.iter().map(endpoint).collect::<Result<_>>()?,
            sources: sources.iter().map(source).collect::<Result<_>>()?,
            signing_keys: signing_keys
                .iter()
                .map(signing_keys::signing_key)
                .collect::<Result<_>>()?,
            keys: keys.iter().map(body).collect::<Result<_>>()?,
            deleted_keys: deleted_keys
                .iter()
                .map(|row| Ok(KeyId::from_u128(row.try_get::<Id, _>(0)?.0)))
                .collect::<Result<_>>()?,
            event_types: event_types.iter().map(event_type).collect::<Result<_>>()?,
        })
    })
    .await
}

async fn rows(
    connection: &mut PgConnection,
    sql: &'static str,
    since: At,
) -> std::result::Result<Vec<PgRow>, sqlx::Error> {
    sqlx::query(sql).bind(since).fetch_all(connection).await
}

fn body<T: DeserializeOwned>(row: &PgRow) -> Result<T> {
    serde_json::from_str(row.try_get(0)?).map_err(|error| StoreError::Corrupt(error.to_string()))
}

fn endpoint(row: &PgRow) -> Result<EndpointRow> {
    Ok(EndpointRow {
        id: EndpointId::from_u128(row.try_get::<Id, _>(0)?.0),
        tenant: parse::<TenantId>(row.try_get(1)?)?,
        revision: count(row.try_get::<i64, _>(2)?)?,
        body: row.try_get(3)?,
        sealed_secrets: row.try_get(4)?,
        deleted: row.try_get(5)?,
    })
}

fn source(row: &PgRow) -> Result<SourceRow> {
    Ok(SourceRow {
        id: SourceId::from_u128(row.try_get::<Id, _>(0)?.0),
        tenant: parse::<TenantId>(row.try_get(1)?)?,
        revision: count(row.try_get::<i64, _>(2)?)?,
        body: row.try_get(3)?,
        sealed_keys: row.try_get(4)?,
        deleted: row.try_get(5)?,
    })
}

fn event_type(row: &PgRow) -> Result<RegisteredEventType> {
    Ok(RegisteredEventType {
        tenant: parse(row.try_get(0)?)?,
        name: parse(row.try_get(1)?)?,
        description: row.try_get(2)?,
    })
}

pub(super) async fn put_endpoint(pool: &Pool, row: &EndpointRow) -> Result<()> {
    let id = Id(row.id.as_u128());
    let revision = i64::try_from(row.revision).unwrap_or(i64::MAX);
    let sql = if revision == 1 {
        "INSERT INTO endpoints (id, revision, tenant_id, body, sealed_secrets, deleted,
                                changed_at)
         VALUES ($1, $2, $3, $4, $5, $6, clock_timestamp()) ON CONFLICT DO NOTHING"
    } else {
        "UPDATE endpoints SET revision = $2, body = $4, sealed_secrets = $5, deleted = $6,
                              changed_at = clock_timestamp()
         WHERE id = $1 AND revision = $2 - 1 AND tenant_id = $3 AND NOT deleted"
    };
    let query = sqlx::query(sql)
        .bind(id)
        .bind(revision)
        .bind(row.tenant.as_str())
        .bind(&row.body)
        .bind(&row.sealed_secrets)
        .bind(row.deleted);
    match write(pool, query).await? {
        0 => Err(StoreError::Conflict),
        _ => Ok(()),
    }
}

type Query<'q> = sqlx::query::Query<'q, sqlx::Postgres, sqlx::postgres::PgArguments>;

/// Runs a write and tells everybody if it wrote; answers how many rows.
pub(super) async fn write(pool: &Pool, query: Query<'_>) -> Result<u64> {
    pool.within(async {
        let mut lease = pool.lease().await?;
        let mut tx = lease.begin().await?;
        let written = query.execute(&mut *tx).await?.rows_affected();
        if written > 0 {
            sqlx::query(NOTIFY).execute(&mut *tx).await?;
        }
        tx.commit().await?;
        lease.done();
        Ok(written)
    })
    .await
}

pub(super) async fn put_source(pool: &Pool, row: &SourceRow) -> Result<()> {
    let sql = if row.revision == 1 {
        "INSERT INTO sources (id, revision, tenant_id, body, sealed_keys, deleted, changed_at)
         VALUES ($1, $2, $3, $4, $5, $6, clock_timestamp()) ON CONFLICT DO NOTHING"
    } else {
        "UPDATE sources SET revision = $2, body = $4, sealed_keys = $5, deleted = $6,
                            changed_at = clock_timestamp()
         WHERE id = $1 AND revision = $2 - 1 AND tenant_id = $3 AND NOT deleted"
    };
    let query = sqlx::query(sql)
        .bind(Id(row.id.as_u128()))
        .bind(i64::try_from(row.revision).unwrap_or(i64::MAX))
        .bind(row.tenant.as_str())
        .bind(&row.body)
        .bind(&row.sealed_keys)
        .bind(row.deleted);
    match write(pool, query).await? {
        0 => Err(StoreError::Conflict),
        _ => Ok(()),
    }
}

pub(super) async fn put_tenant(pool: &Pool, tenant: &Tenant, create: bool) -> Result<()> {
    let sql = if create {
        "INSERT INTO tenants (id, body, changed_at) VALUES ($1, $2, clock_timestamp())
         ON CONFLICT DO NOTHING"
    } else {
        "INSERT INTO tenants (id, body, changed_at) VALUES ($1, $2, clock_timestamp())
         ON CONFLICT (id) DO UPDATE SET body = excluded.body, changed_at = excluded.changed_at"
    };
    match write(
        pool,
        sqlx::query(sql).bind(tenant.id.as_str()).bind(json(tenant)),
    )
    .await?
    {
        0 => Err(StoreError::Conflict),
        _ => Ok(()),
    }
}

pub(super) async fn put_key(pool: &Pool, key: &ApiKey) -> Result<()> {
    let query = sqlx::query(
        "INSERT INTO api_keys (id, hash, body, changed_at) VALUES ($1, $2, $3, clock_timestamp())
         ON CONFLICT DO NOTHING",
    );
    write(
        pool,
        query
            .bind(Id(key.id.as_u128()))
            .bind(key.hash.0)
            .bind(json(key)),
    )
    .await?;
    Ok(())
}

pub(super) async fn delete_key(pool: &Pool, id: KeyId) -> Result<bool> {
    let query = sqlx::query(
        "WITH deleted AS (DELETE FROM api_keys WHERE id = $1 RETURNING id)
         INSERT INTO deleted_api_keys (id, changed_at) SELECT id, clock_timestamp() FROM deleted",
    );
    Ok(write(pool, query.bind(Id(id.as_u128()))).await? > 0)
}

pub(super) async fn put_event_type(pool: &Pool, event_type: &RegisteredEventType) -> Result<()> {
    let query = sqlx::query(
        "INSERT INTO event_types (tenant_id, name, description, changed_at)
         VALUES ($1, $2, $3, clock_timestamp())
         ON CONFLICT (tenant_id, name) DO UPDATE
         SET description = excluded.description, changed_at = excluded.changed_at",
    );
    let query = query
        .bind(event_type.tenant.as_str())
        .bind(event_type.name.as_str())
        .bind(storable(&event_type.description));
    write(pool, query).await?;
    Ok(())
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("tenants and keys have only string keys")
}
