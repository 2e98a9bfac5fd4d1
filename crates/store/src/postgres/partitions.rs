//! Weekly partitions, made before their week begins.

use model::Timestamp;
use sqlx::{AssertSqlSafe, Connection, PgConnection};

use super::schema;
use crate::StoreError;

/// Weeks that have a partition beyond the current one.
const WEEKS_AHEAD: i64 = 4;

/// Weeks before the current one: events that waited in the broker while the store was away.
const WEEKS_BEHIND: i64 = 1;

const SECONDS_PER_DAY: i64 = 24 * 60 * 60;

/// A partitioned table and the column it is partitioned by.
const TABLES: [(&str, &str); 3] = [
    ("events", "accepted_at"),
    ("deliveries", "created_at"),
    ("attempts", "delivery_created_at"),
];

/// Makes the partitions around `now` that are missing.
pub(super) async fn make(connection: &mut PgConnection, now: Timestamp) -> Result<(), StoreError> {
    let this_week = week(now);
    let mut missing = Vec::new();
    for week in this_week - WEEKS_BEHIND..=this_week + WEEKS_AHEAD {
        for (table, column) in TABLES {
            let name = format!("{table}_{}", date(week).replace('-', ""));
            if !exists(connection, &name).await? {
                missing.push((table, column, name, week));
            }
        }
    }
    for (table, column, name, week) in missing {
        let (from, to) = (date(week), date(week + 1));
        let mut tx = connection.begin().await?;
        schema::lock(&mut tx).await?;
        if exists(&mut tx, &name).await? {
            continue;
        }
        // Rows of that week in the default partition would forbid the new one: they move.
        let sql = format!(
            "CREATE TABLE {name} (LIKE {table} INCLUDING DEFAULTS INCLUDING CONSTRAINTS);
             WITH moved AS (
                 DELETE FROM {table}_default
                 WHERE {column} >= '{from}T00:00Z' AND {column} < '{to}T00:00Z' RETURNING *)
             INSERT INTO {name} SELECT * FROM moved;
             ALTER TABLE {table} ATTACH PARTITION {name}
                 FOR VALUES FROM ('{from}T00:00Z') TO ('{to}T00:00Z');"
        );
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut *tx).await?;
        tx.commit().await?;
    }
    Ok(())
}

/// Asks the catalogue itself: `to_regclass` may answer from a cache that does not know yet what
/// another connection has made.
async fn exists(connection: &mut PgConnection, table: &str) -> Result<bool, StoreError> {
    let sql = "SELECT EXISTS (SELECT FROM pg_class
                   WHERE relname = $1 AND relnamespace = current_schema()::regnamespace)";
    Ok(sqlx::query_scalar(sql)
        .bind(table)
        .fetch_one(connection)
        .await?)
}

/// Weeks since the one that began on Monday, 1969-12-29.
const fn week(time: Timestamp) -> i64 {
    (time.as_seconds().div_euclid(SECONDS_PER_DAY) + 3).div_euclid(7)
}

/// The week's Monday, `2026-04-13`.
fn date(week: i64) -> String {
    let monday = Timestamp::from_seconds((week * 7 - 3) * SECONDS_PER_DAY);
    monday.rfc3339(0)[..10].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weeks_begin_on_monday_at_midnight() {
        let monday = |text: &str| date(week(text.parse().unwrap()));
        assert_eq!(monday("2026-04-15T12:00:00Z"), "2026-04-13");
        assert_eq!(monday("2026-04-13T00:00:00Z"), "2026-04-13");
        assert_eq!(monday("2026-04-12T23:59:59.999Z"), "2026-04-06");
        assert_eq!(
            date(week("2026-04-15T12:00:00Z".parse().unwrap()) + 1),
            "2026-04-20"
        );
    }
}
