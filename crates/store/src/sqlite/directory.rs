use model::{
    ApiKey, EndpointId, KeyId, RegisteredEventType, SourceId, Tenant, TenantId, Timestamp,
};
use rusqlite::{Params, Row, Transaction, params};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::signing_keys;
use super::values::{At, Id};
use crate::rows::{count, parse};
use crate::{DirectoryChanges, EndpointRow, SourceRow, StoreError};

type Result<T> = std::result::Result<T, StoreError>;

pub(super) fn changes(
    tx: &Transaction<'_>,
    since: Option<Timestamp>,
    as_of: Timestamp,
) -> Result<DirectoryChanges> {
    let since = At(since.unwrap_or(Timestamp::from_micros(i64::MIN)));
    Ok(DirectoryChanges {
        as_of,
        tenants: bodies(tx, "SELECT body FROM tenants WHERE changed_at >= ?1", since)?,
        endpoints: collect(
            tx,
            "SELECT id, tenant_id, revision, body, sealed_secrets, deleted FROM endpoints
             WHERE changed_at >= ?1",
            since,
            endpoint,
        )?,
        sources: collect(
            tx,
            "SELECT id, tenant_id, revision, body, sealed_keys, deleted FROM sources
             WHERE changed_at >= ?1",
            since,
            source,
        )?,
        signing_keys: collect(tx, signing_keys::CHANGED, since, signing_keys::signing_key)?,
        keys: bodies(
            tx,
            "SELECT body FROM api_keys WHERE changed_at >= ?1",
            since,
        )?,
        deleted_keys: collect(
            tx,
            "SELECT id FROM deleted_api_keys WHERE changed_at >= ?1",
            since,
            |row| Ok(KeyId::from_u128(row.get::<_, Id>(0)?.as_u128())),
        )?,
        event_types: collect(
            tx,
            "SELECT tenant_id, name, description FROM event_types WHERE changed_at >= ?1",
            since,
            |row| {
                Ok(RegisteredEventType {
                    tenant: parse(&row.get::<_, String>(0)?)?,
                    name: parse(&row.get::<_, String>(1)?)?,
                    description: row.get(2)?,
                })
            },
        )?,
    })
}

fn endpoint(row: &Row<'_>) -> Result<EndpointRow> {
    Ok(EndpointRow {
        id: EndpointId::from_u128(row.get::<_, Id>(0)?.as_u128()),
        tenant: parse::<TenantId>(&row.get::<_, String>(1)?)?,
        revision: count(row.get::<_, i64>(2)?)?,
        body: row.get(3)?,
        sealed_secrets: row.get(4)?,
        deleted: row.get(5)?,
    })
}

fn source(row: &Row<'_>) -> Result<SourceRow> {
    Ok(SourceRow {
        id: SourceId::from_u128(row.get::<_, Id>(0)?.as_u128()),
        tenant: parse::<TenantId>(&row.get::<_, String>(1)?)?,
        revision: count(row.get::<_, i64>(2)?)?,
        body: row.get(3)?,
        sealed_keys: row.get(4)?,
        deleted: row.get(5)?,
    })
}

fn bodies<T: DeserializeOwned>(tx: &Transaction<'_>, sql: &str, since: At) -> Result<Vec<T>> {
    collect(tx, sql, since, |row| {
        serde_json::from_str(&row.get::<_, String>(0)?)
            .map_err(|error| StoreError::Corrupt(error.to_string()))
    })
}

fn collect<T>(
    tx: &Transaction<'_>,
    sql: &str,
    since: At,
    read: impl Fn(&Row<'_>) -> Result<T>,
) -> Result<Vec<T>> {
    let mut statement = tx.prepare_cached(sql)?;
    let mut rows = statement.query([since])?;
    let mut all = Vec::new();
    while let Some(row) = rows.next()? {
        all.push(read(row)?);
    }
    Ok(all)
}

pub(super) fn put_endpoint(tx: &Transaction<'_>, row: &EndpointRow, now: Timestamp) -> Result<()> {
    let id = Id::new(row.id.as_u128());
    let revision = i64::try_from(row.revision).unwrap_or(i64::MAX);
    let sealed = row.sealed_secrets.as_slice();
    let written = if revision == 1 {
        execute(
            tx,
            "INSERT INTO endpoints (id, tenant_id, revision, body, sealed_secrets, deleted,
                                    changed_at)
             VALUES (?1, ?2, 1, ?3, ?4, ?5, ?6) ON CONFLICT DO NOTHING",
            params![
                id,
                row.tenant.as_str(),
                row.body,
                sealed,
                row.deleted,
                At(now)
            ],
        )?
    } else {
        execute(
            tx,
            "UPDATE endpoints SET revision = ?2, body = ?3, sealed_secrets = ?4, deleted = ?5,
                                  changed_at = ?6
             WHERE id = ?1 AND revision = ?2 - 1 AND NOT deleted",
            params![id, revision, row.body, sealed, row.deleted, At(now)],
        )?
    };
    if written == 0 {
        return Err(StoreError::Conflict);
    }
    Ok(())
}

pub(super) fn put_source(tx: &Transaction<'_>, row: &SourceRow, now: Timestamp) -> Result<()> {
    let sql = if row.revision == 1 {
        "INSERT INTO sources (id, revision, tenant_id, body, sealed_keys, deleted, changed_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT DO NOTHING"
    } else {
        "UPDATE sources SET revision = ?2, body = ?4, sealed_keys = ?5, deleted = ?6,
                            changed_at = ?7
         WHERE id = ?1 AND revision = ?2 - 1 AND tenant_id = ?3 AND NOT deleted"
    };
    let values = params![
        Id::new(row.id.as_u128()),
        i64::try_from(row.revision).unwrap_or(i64::MAX),
        row.tenant.as_str(),
        row.body,
        row.sealed_keys,
        row.deleted,
        At(now)
    ];
    match execute(tx, sql, values)? {
        0 => Err(StoreError::Conflict),
        _ => Ok(()),
    }
}

pub(super) fn put_tenant(
    tx: &Transaction<'_>,
    tenant: &Tenant,
    create: bool,
    now: Timestamp,
) -> Result<()> {
    let sql = if create {
        "INSERT INTO tenants (id, body, changed_at) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING"
    } else {
        "INSERT INTO tenants (id, body, changed_at) VALUES (?1, ?2, ?3)
         ON CONFLICT (id) DO UPDATE SET body = excluded.body, changed_at = excluded.changed_at"
    };
    match execute(tx, sql, params![tenant.id.as_str(), body(tenant), At(now)])? {
        0 => Err(StoreError::Conflict),
        _ => Ok(()),
    }
}

pub(super) fn put_key(tx: &Transaction<'_>, key: &ApiKey, now: Timestamp) -> Result<()> {
    let id = Id::new(key.id.as_u128());
    execute(
        tx,
        "INSERT INTO api_keys (id, hash, body, changed_at) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT DO NOTHING",
        params![id, key.hash.0, body(key), At(now)],
    )?;
    Ok(())
}

pub(super) fn delete_key(tx: &Transaction<'_>, id: KeyId, now: Timestamp) -> Result<bool> {
    let id = Id::new(id.as_u128());
    let deleted = execute(tx, "DELETE FROM api_keys WHERE id = ?1", [id])?;
    if deleted == 0 {
        return Ok(false);
    }
    execute(
        tx,
        "INSERT INTO deleted_api_keys (id, changed_at) VALUES (?1, ?2)",
        params![id, At(now)],
    )?;
    Ok(true)
}

pub(super) fn put_event_type(
    tx: &Transaction<'_>,
    event_type: &RegisteredEventType,
    now: Timestamp,
) -> Result<()> {
    execute(
        tx,
        "INSERT INTO event_types (tenant_id, name, description, changed_at)
         VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (tenant_id, name) DO UPDATE
         SET description = excluded.description, changed_at = excluded.changed_at",
        params![
            event_type.tenant.as_str(),
            event_type.name.as_str(),
            event_type.description,
            At(now)
        ],
    )?;
    Ok(())
}

fn execute(tx: &Transaction<'_>, sql: &str, params: impl Params) -> Result<usize> {
    Ok(tx.prepare_cached(sql)?.execute(params)?)
}

fn body(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("tenants and keys have only string keys")
}
