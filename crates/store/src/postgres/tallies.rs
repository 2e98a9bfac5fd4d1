//! Counts of past weeks, folded: a look adds up a few rows a week and not one for each connection.

use model::Timestamp;
use sqlx::PgConnection;

use super::values::At;
use crate::StoreError;

/// Rows folded at a time, so that nobody waits long for their locks.
const FOLDED_MAX: i64 = 20_000;

/// The shard of what was folded. No connection counts in it, so that this waits for none: what one
/// has locked is left for the next time.
const FOLD_TALLIES: &str = "
WITH picked AS MATERIALIZED (
    SELECT week, shard, state FROM delivery_tallies
    WHERE week < date_bin('7 days', $1, '2001-01-01T00:00Z') AND shard >= 0
    LIMIT $2 FOR UPDATE SKIP LOCKED
), gone AS (
    DELETE FROM delivery_tallies t USING picked p
    WHERE t.week = p.week AND t.shard = p.shard AND t.state = p.state
    RETURNING t.week, t.state, t.deliveries
)
INSERT INTO delivery_tallies AS t
SELECT week, -1, state, sum(deliveries) FROM gone GROUP BY 1, 3 ORDER BY 1, 3
ON CONFLICT (week, shard, state) DO UPDATE SET deliveries = t.deliveries + excluded.deliveries";

const FOLD_ACCEPTED: &str = "
WITH picked AS MATERIALIZED (
    SELECT week, shard FROM accepted_counts
    WHERE week < date_bin('7 days', $1, '2001-01-01T00:00Z') AND shard >= 0
    LIMIT $2 FOR UPDATE SKIP LOCKED
), gone AS (
    DELETE FROM accepted_counts c USING picked p
    WHERE c.week = p.week AND c.shard = p.shard
    RETURNING c.week, c.deliveries
)
INSERT INTO accepted_counts AS c
SELECT week, -1, sum(deliveries) FROM gone GROUP BY 1 ORDER BY 1
ON CONFLICT (week, shard) DO UPDATE SET deliveries = c.deliveries + excluded.deliveries";

/// Folds the weeks before that of `now`; repetitions find little to do.
pub(super) async fn fold(connection: &mut PgConnection, now: Timestamp) -> Result<(), StoreError> {
    for sql in [FOLD_TALLIES, FOLD_ACCEPTED] {
        sqlx::query(sql)
            .bind(At(now))
            .bind(FOLDED_MAX)
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}
