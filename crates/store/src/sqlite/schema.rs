use rusqlite::{OptionalExtension, Transaction};

use crate::{SchemaState, StoreError};

/// In order; only ever added to. The position, from 1, is the version.
const MIGRATIONS: &[&str] = &[
    include_str!("../../migrations/sqlite/0001_initial.sql"),
    include_str!("../../migrations/sqlite/0002_signing_keys.sql"),
    include_str!("../../migrations/sqlite/0003_sources.sql"),
    include_str!("../../migrations/sqlite/0004_tallies.sql"),
    include_str!("../../migrations/sqlite/0005_error_detail.sql"),
];

pub(super) fn state(tx: &Transaction<'_>) -> Result<SchemaState, StoreError> {
    let (found, wanted) = (version(tx)?, wanted());
    Ok(match found.cmp(&wanted) {
        std::cmp::Ordering::Equal => SchemaState::Current,
        std::cmp::Ordering::Less => SchemaState::Older { found, wanted },
        std::cmp::Ordering::Greater => SchemaState::Newer { found, wanted },
    })
}

pub(super) fn migrate(tx: &Transaction<'_>) -> Result<(), StoreError> {
    let found = usize::try_from(version(tx)?).unwrap_or(usize::MAX);
    for migration in MIGRATIONS.iter().skip(found) {
        tx.execute_batch(migration)?;
    }
    if found < MIGRATIONS.len() {
        tx.pragma_update(None, "user_version", wanted())?;
    }
    Ok(())
}

fn version(tx: &Transaction<'_>) -> Result<i64, StoreError> {
    let found = tx
        .query_row("PRAGMA user_version", [], |row| row.get(0))
        .optional()?;
    Ok(found.unwrap_or(0))
}

fn wanted() -> i64 {
    i64::try_from(MIGRATIONS.len()).expect("a handful of migrations")
}
