//! Looks at the whole that cost the same at any size.

use std::time::Duration;

use model::Timestamp;
use sqlx::Row;

use super::pools::Pool;
use super::values::At;
use crate::StoreError;
use crate::observation::{Footprint, LOOK_MAX, Observation};
use crate::rows::count;

/// One statement, so that both sides of the balance are of the same moment. What is unfinished is
/// found by the indexes of what is due and what is held, in which nothing else is.
pub(super) const OBSERVE: &str = "
WITH tallied AS MATERIALIZED (
    SELECT state, sum(deliveries)::bigint AS deliveries FROM delivery_tallies GROUP BY state
), due AS MATERIALIZED (
    SELECT created_at, next_attempt_at FROM deliveries WHERE status <= 1
    ORDER BY next_attempt_at LIMIT $1
), held AS MATERIALIZED (
    SELECT endpoint_id FROM deliveries WHERE status = 2 LIMIT $1
)
SELECT (SELECT coalesce(sum(deliveries), 0)::bigint FROM accepted_counts),
       ARRAY(SELECT state FROM tallied ORDER BY state),
       ARRAY(SELECT deliveries FROM tallied ORDER BY state),
       (SELECT count(*) FROM due), (SELECT count(*) FROM held),
       (SELECT min(created_at) FROM due), (SELECT min(next_attempt_at) FROM due),
       (SELECT count(*) FROM due WHERE next_attempt_at < $2)";

/// A table without partitions has an empty tree.
const TABLES: &str = "
SELECT name, sum(pg_total_relation_size(coalesce(part.relid, name::regclass)))::bigint,
       count(*) FILTER (WHERE part.isleaf AND part.relid::text NOT LIKE '%default')
FROM unnest(ARRAY['events', 'deliveries', 'attempts', 'event_keys', 'license_sequences']) AS name
LEFT JOIN LATERAL pg_partition_tree(name::regclass) AS part ON true
GROUP BY name";

const CONNECTIONS: &str = "
SELECT coalesce(state, ''), count(*) FROM pg_stat_activity
WHERE datname = current_database() AND backend_type = 'client backend' GROUP BY 1";

/// Those told apart. What is rare, or not told to this user, is one of its own.
const CONNECTION_STATES: [(&str, &str); 3] = [
    ("active", "active"),
    ("idle", "idle"),
    ("idle in transaction", "idle_in_transaction"),
];
const OTHER_CONNECTIONS: &str = "other";

/// Everybody is told how many, members of pg_monitor the rest. Their lag is null while nothing is
/// written.
const REPLICATION: &str = "
SELECT count(*),
       max(extract(epoch FROM coalesce(replay_lag, '0'))) FILTER (WHERE state IS NOT NULL)::float8
FROM pg_stat_replication";

pub(super) async fn observe(
    pool: &Pool,
    overdue_before: Timestamp,
) -> Result<Observation, StoreError> {
    let row = pool
        .within(async {
            let mut connection = pool.lease().await?;
            let row = sqlx::query(OBSERVE)
                .bind(i64::from(LOOK_MAX))
                .bind(At(overdue_before))
                .fetch_one(&mut *connection)
                .await?;
            connection.done();
            Ok(row)
        })
        .await?;
    let mut observation = Observation {
        unfinished_seen: count(row.try_get::<i64, _>(3)?)?,
        held_seen: count(row.try_get::<i64, _>(4)?)?,
        oldest: row.try_get::<Option<At>, _>(5)?.map(|at| at.0),
        first_due: row.try_get::<Option<At>, _>(6)?.map(|at| at.0),
        overdue: count(row.try_get::<i64, _>(7)?)?,
        ..Observation::default()
    };
    observation.balance.accepted = count(row.try_get::<i64, _>(0)?)?;
    let states: Vec<i16> = row.try_get(1)?;
    let tallies: Vec<i64> = row.try_get(2)?;
    for (state, deliveries) in states.into_iter().zip(tallies) {
        observation.tally(state, deliveries)?;
    }
    Ok(observation)
}

pub(super) async fn footprint(pool: &Pool) -> Result<Footprint, StoreError> {
    pool.within(async {
        let mut connection = pool.lease().await?;
        let tables: Vec<(String, i64, i64)> =
            sqlx::query_as(TABLES).fetch_all(&mut *connection).await?;
        let states: Vec<(String, i64)> = sqlx::query_as(CONNECTIONS)
            .fetch_all(&mut *connection)
            .await?;
        let (replicas, lag): (i64, Option<f64>) = sqlx::query_as(REPLICATION)
            .fetch_one(&mut *connection)
            .await?;
        connection.done();
        let mut footprint = Footprint {
            replicas: Some(count(replicas)?),
            replication_lag: lag.and_then(|lag| Duration::try_from_secs_f64(lag).ok()),
            ..Footprint::default()
        };
        for (table, bytes, partitions) in tables {
            if table == "deliveries" {
                footprint.partitions = Some(count(partitions)?);
            }
            footprint.bytes.insert(table, count(bytes)?);
        }
        let names = CONNECTION_STATES.iter().map(|(_, name)| *name);
        footprint.connections = names
            .chain([OTHER_CONNECTIONS])
            .map(|name| (name, 0))
            .collect();
        for (state, connections) in states {
            let known = CONNECTION_STATES.iter().find(|(known, _)| *known == state);
            let name = known.map_or(OTHER_CONNECTIONS, |(_, name)| *name);
            *footprint.connections.entry(name).or_default() += count::<_, u64>(connections)?;
        }
        Ok(footprint)
    })
    .await
}
