use rusqlite::{Row, Transaction, params};

use super::values::At;
use crate::rows::parse;
use crate::{SigningKeyRow, StoreError};

type Result<T> = std::result::Result<T, StoreError>;

pub(super) const CHANGED: &str =
    "SELECT tenant_id, algorithm, sealed_key, created_at FROM signing_keys WHERE changed_at >= ?1";

pub(super) fn signing_key(row: &Row<'_>) -> Result<SigningKeyRow> {
    Ok(SigningKeyRow {
        tenant: parse(&row.get::<_, String>(0)?)?,
        algorithm: parse(&row.get::<_, String>(1)?)?,
        sealed_key: row.get(2)?,
        created_at: row.get::<_, At>(3)?.0,
    })
}

pub(super) fn put(
    tx: &Transaction<'_>,
    row: &SigningKeyRow,
    now: model::Timestamp,
) -> Result<SigningKeyRow> {
    let key = [row.tenant.as_str(), row.algorithm.as_str()];
    let mut insert = tx.prepare_cached(
        "INSERT INTO signing_keys (tenant_id, algorithm, sealed_key, created_at, changed_at)
         VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT DO NOTHING",
    )?;
    insert.execute(params![
        key[0],
        key[1],
        row.sealed_key,
        At(row.created_at),
        At(now)
    ])?;
    let mut select = tx.prepare_cached(
        "SELECT tenant_id, algorithm, sealed_key, created_at FROM signing_keys
         WHERE tenant_id = ?1 AND algorithm = ?2",
    )?;
    let mut found = select.query(key)?;
    let found = found.next()?;
    signing_key(found.expect("it was inserted, now or before"))
}

pub(super) fn reseal(
    tx: &Transaction<'_>,
    row: &SigningKeyRow,
    now: model::Timestamp,
) -> Result<()> {
    let mut update = tx.prepare_cached(
        "UPDATE signing_keys SET sealed_key = ?3, changed_at = ?4
         WHERE tenant_id = ?1 AND algorithm = ?2",
    )?;
    update.execute(params![
        row.tenant.as_str(),
        row.algorithm.as_str(),
        row.sealed_key,
        At(now)
    ])?;
    Ok(())
}
