use sqlx::{AssertSqlSafe, Connection, PgConnection};

use crate::{SchemaState, StoreError};

/// In order; only ever added to. The position, from 1, is the version.
const MIGRATIONS: &[&str] = &[
    include_str!("../../migrations/postgres/0001_initial.sql"),
    include_str!("../../migrations/postgres/0002_signing_keys.sql"),
    include_str!("../../migrations/postgres/0003_sources.sql"),
    include_str!("../../migrations/postgres/0004_tallies.sql"),
    include_str!("../../migrations/postgres/0005_error_detail.sql"),
];

/// Held while the schema or the partitions change: an arbitrary number of Fanfare's own.
const ADVISORY_LOCK: i64 = 0x66616e66617265;

pub(super) async fn state(connection: &mut PgConnection) -> Result<SchemaState, StoreError> {
    let (found, wanted) = (version(connection).await?, wanted());
    Ok(match found.cmp(&wanted) {
        std::cmp::Ordering::Equal => SchemaState::Current,
        std::cmp::Ordering::Less => SchemaState::Older { found, wanted },
        std::cmp::Ordering::Greater => SchemaState::Newer { found, wanted },
    })
}

/// Runs what has not run, all or nothing.
pub(super) async fn migrate(connection: &mut PgConnection) -> Result<(), StoreError> {
    let mut tx = connection.begin().await?;
    lock(&mut tx).await?;
    sqlx::query(
        "CREATE TABLE IF NOT EXISTS schema_migrations (
             version bigint PRIMARY KEY,
             applied_at timestamptz NOT NULL DEFAULT now())",
    )
    .execute(&mut *tx)
    .await?;
    let found = usize::try_from(version(&mut tx).await?).unwrap_or(usize::MAX);
    for (migration, version) in MIGRATIONS.iter().zip(1_i64..).skip(found) {
        sqlx::raw_sql(*migration).execute(&mut *tx).await?;
        sqlx::query("INSERT INTO schema_migrations (version) VALUES ($1)")
            .bind(version)
            .execute(&mut *tx)
            .await?;
    }
    tx.commit().await?;
    Ok(())
}

/// Lets one process at a time change the schema, until the transaction ends.
pub(super) async fn lock(connection: &mut PgConnection) -> Result<(), StoreError> {
    let sql = format!("SELECT pg_advisory_xact_lock({ADVISORY_LOCK})");
    sqlx::query(AssertSqlSafe(sql)).execute(connection).await?;
    Ok(())
}

async fn version(connection: &mut PgConnection) -> Result<i64, StoreError> {
    let exists: bool = sqlx::query_scalar("SELECT to_regclass('schema_migrations') IS NOT NULL")
        .fetch_one(&mut *connection)
        .await?;
    if !exists {
        return Ok(0);
    }
    let version = sqlx::query_scalar("SELECT coalesce(max(version), 0) FROM schema_migrations")
        .fetch_one(connection)
        .await?;
    Ok(version)
}

fn wanted() -> i64 {
    i64::try_from(MIGRATIONS.len()).expect("a handful of migrations")
}
