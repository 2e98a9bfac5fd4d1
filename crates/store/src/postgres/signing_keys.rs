use sqlx::Row;
use sqlx::postgres::PgRow;

use super::directory::write;
use super::pools::Pool;
use super::values::At;
use crate::rows::parse;
use crate::{SigningKeyRow, StoreError};

type Result<T> = std::result::Result<T, StoreError>;

pub(super) const CHANGED: &str =
    "SELECT tenant_id, algorithm, sealed_key, created_at FROM signing_keys WHERE changed_at >= $1";

pub(super) fn signing_key(row: &PgRow) -> Result<SigningKeyRow> {
    Ok(SigningKeyRow {
        tenant: parse(row.try_get(0)?)?,
        algorithm: parse(row.try_get(1)?)?,
        sealed_key: row.try_get(2)?,
        created_at: row.try_get::<At, _>(3)?.0,
    })
}

pub(super) async fn put(pool: &Pool, row: &SigningKeyRow) -> Result<SigningKeyRow> {
    let insert = sqlx::query(
        "INSERT INTO signing_keys (tenant_id, algorithm, sealed_key, created_at, changed_at)
         VALUES ($1, $2, $3, $4, clock_timestamp()) ON CONFLICT DO NOTHING",
    );
    let insert = insert
        .bind(row.tenant.as_str())
        .bind(row.algorithm.as_str())
        .bind(&row.sealed_key)
        .bind(At(row.created_at));
    write(pool, insert).await?;
    let select = sqlx::query(
        "SELECT tenant_id, algorithm, sealed_key, created_at FROM signing_keys
         WHERE tenant_id = $1 AND algorithm = $2",
    );
    let select = select
        .bind(row.tenant.as_str())
        .bind(row.algorithm.as_str());
    pool.within(async {
        let mut lease = pool.lease().await?;
        let found = select.fetch_one(&mut *lease).await?;
        lease.done();
        signing_key(&found)
    })
    .await
}

pub(super) async fn reseal(pool: &Pool, row: &SigningKeyRow) -> Result<()> {
    let update = sqlx::query(
        "UPDATE signing_keys SET sealed_key = $3, changed_at = clock_timestamp()
         WHERE tenant_id = $1 AND algorithm = $2",
    );
    let update = update
        .bind(row.tenant.as_str())
        .bind(row.algorithm.as_str())
        .bind(&row.sealed_key);
    write(pool, update).await?;
    Ok(())
}
