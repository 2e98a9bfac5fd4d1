//! The plans of the hot path, with tables so large that reading one whole would show.

use ambient::random_id;
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tokio::sync::OnceCell;

use super::pools::{Pool, Pools};
use super::values::At;
use super::{PostgresStore, accept, holding, observe, partitions, reads, record, schema, stats};
use crate::{LOOK_MAX, Store};

/// A week of events, one delivery and one attempt each: enough that the planner's choices are
/// those it makes at ten million, since what it compares is pages.
const FILL: &str = "
CREATE TEMPORARY TABLE filling AS
SELECT n, 'evt_' || n AS event_id, 'lic_' || n % 5000 AS license_id,
       date_trunc('milliseconds', now() - n * interval '6 seconds') AS at,
       (lpad(to_hex((extract(epoch FROM date_trunc('milliseconds',
            now() - n * interval '6 seconds')) * 1000)::bigint), 12, '0')
        || md5(n::text)::char(20))::uuid AS id,
       md5((n % 100)::text)::uuid AS endpoint_id
FROM generate_series(1, 100000) n;

INSERT INTO event_keys SELECT 'acme', event_id, decode(md5(event_id), 'hex'), at FROM filling;
INSERT INTO events SELECT 'acme', at, event_id, 'license.created', at, 0, n, license_id, NULL,
                          repeat('x', 400) FROM filling;
INSERT INTO deliveries SELECT id, at, endpoint_id, CASE WHEN n % 50 = 0 THEN at END, at, 1, 0,
                              CASE n % 50 WHEN 0 THEN 1 WHEN 1 THEN 2 ELSE 3 END, NULL,
                              n % 10 = 0, 'acme', event_id FROM filling;
INSERT INTO attempts SELECT at, id, 1, id, at, 3000, NULL, 200 FROM filling;
INSERT INTO license_sequences SELECT 'acme', license_id, max(n) FROM filling GROUP BY license_id;
-- Not the partitions of weeks to come: nothing analyzes an empty table by itself.
DO $$ DECLARE filled regclass; BEGIN
    FOR filled IN SELECT oid FROM pg_class WHERE relkind = 'r' AND pg_relation_size(oid) > 0
                  AND relnamespace = current_schema()::regnamespace
    LOOP EXECUTE 'ANALYZE ' || filled; END LOOP;
END $$;";

/// What must never be read from one end to the other.
const LARGE: [&str; 5] = [
    "event_keys",
    "events",
    "deliveries",
    "attempts",
    "license_sequences",
];

/// The indexes that hold unfinished deliveries alone; a look stops at its limit.
const OF_UNFINISHED: [&str; 2] = ["next_attempt_at_idx", "endpoint_id_urgent_id_idx"];

/// Pages that a look may touch: some for each row that it looks at, however many rows there are.
const LOOK_PAGES_MAX: u32 = 4 * LOOK_MAX;
/// Milliseconds of the database that a look may take, planning included.
const LOOK_MS_MAX: f64 = 50.0;

async fn full_database() -> Pools {
    let pools = Pools::open(&fresh_database().await).unwrap();
    let mut connection = pools.calm.lease().await.unwrap();
    schema::migrate(&mut connection).await.unwrap();
    partitions::make(&mut connection, ambient::now())
        .await
        .unwrap();
    sqlx::raw_sql(FILL).execute(&mut *connection).await.unwrap();
    connection.done();
    pools
}

#[expect(
    clippy::disallowed_methods,
    reason = "tests are told by the environment where services are"
)]
async fn fresh_database() -> String {
    let url = std::env::var("FANFARE_TEST_POSTGRES_URL")
        .expect("FANFARE_TEST_POSTGRES_URL is not set: run make test, or tests/services.sh up");
    let name = format!("plans_{:032x}", random_id());
    let mut connection = PgConnection::connect(&url).await.unwrap();
    let create = AssertSqlSafe(format!("CREATE DATABASE {name}"));
    sqlx::query(create).execute(&mut connection).await.unwrap();
    let (server, _) = url.rsplit_once('/').unwrap();
    format!("{server}/{name}")
}

/// The plan made without the parameters' values.
async fn plan(connection: &mut PgConnection, name: &str, sql: &str) -> Vec<String> {
    let generic = "SET plan_cache_mode = force_generic_plan";
    sqlx::query(generic)
        .execute(&mut *connection)
        .await
        .unwrap();
    let prepare = AssertSqlSafe(format!("PREPARE {name} AS {sql}"));
    sqlx::raw_sql(prepare)
        .execute(&mut *connection)
        .await
        .unwrap();
    let parameters: i32 = sqlx::query_scalar(
        "SELECT cardinality(parameter_types) FROM pg_prepared_statements WHERE name = $1",
    )
    .bind(name)
    .fetch_one(&mut *connection)
    .await
    .unwrap();
    let nulls = vec!["NULL"; usize::try_from(parameters).unwrap()].join(", ");
    let explain = AssertSqlSafe(format!("EXPLAIN EXECUTE {name}({nulls})"));
    let rows = sqlx::raw_sql(explain).fetch_all(connection).await.unwrap();
    rows.iter().map(|row| sqlx::Row::get(row, 0)).collect()
}

/// Every scan of a large table has a condition on its index, or walks a partial index whose rows
/// are few and stops at the first.
fn assert_by_index(name: &str, plan: &[String]) {
    let whole = plan.join("\n");
    let mut nodes = plan.split(|line| line.contains("->  ")).skip(1);
    let heads = plan.iter().filter(|line| line.contains("->  "));
    for head in heads {
        let properties = nodes.next().unwrap();
        let scans_large = head.contains("Scan") && large(head);
        let finds = properties.iter().any(|line| line.contains("Index Cond:"))
            || (name == "endpoints_with_held" && head.contains("endpoint_id_urgent_id_idx"))
            || (name == "observe" && OF_UNFINISHED.iter().any(|index| head.contains(index)))
            || head.contains("Bitmap Heap Scan");
        assert!(
            !scans_large || finds,
            "{name} reads a whole table or index:\n{whole}"
        );
    }
}

fn large(head: &str) -> bool {
    LARGE.iter().any(|table| {
        head.split(" on ")
            .nth(1)
            .is_some_and(|scanned| scanned.starts_with(table))
    })
}

async fn check(pool: &Pool, statements: &[(&str, &str)]) {
    let mut connection = pool.lease().await.unwrap();
    for (name, sql) in statements {
        let plan = plan(&mut connection, name, sql).await;
        assert_by_index(name, &plan);
    }
}

#[tokio::test]
async fn no_statement_of_the_hot_path_reads_a_whole_large_table() {
    let pools = full_database().await;
    check(&pools.accepting, &[("accept", accept::ACCEPT)]).await;
    let hot = [
        ("known", accept::KNOWN),
        ("record", record::RECORD),
        ("standings", record::STANDINGS),
        ("overdue", holding::OVERDUE),
        ("release", holding::RELEASE),
        ("requeue", holding::REQUEUE),
        ("endpoints_with_held", holding::ENDPOINTS_WITH_HELD),
        ("observe", observe::OBSERVE),
    ];
    check(&pools.hot, &hot).await;
    let calm = [
        ("event", reads::EVENT),
        ("timeline", reads::TIMELINE),
        ("delivery", reads::DELIVERY),
        ("attempts", reads::ATTEMPTS),
        ("held_ids", holding::HELD_IDS),
        ("discard", holding::DISCARD),
        ("stats_by_status", stats::BY_STATUS),
    ];
    check(&pools.calm, &calm).await;
}

/// Every delivery that can be unfinished is: the worst case of a look.
#[tokio::test]
async fn a_look_at_everything_is_cheap_whatever_waits() {
    let pools = full_database().await;
    let mut connection = pools.hot.lease().await.unwrap();
    let all = "UPDATE deliveries SET status = CASE WHEN urgent THEN 2 ELSE 1 END,
               next_attempt_at = CASE WHEN NOT urgent THEN created_at END";
    sqlx::query(all).execute(&mut *connection).await.unwrap();
    sqlx::query("VACUUM deliveries")
        .execute(&mut *connection)
        .await
        .unwrap();
    assert_cheap(&mut connection).await;
}

async fn assert_cheap(connection: &mut PgConnection) {
    let explain = format!("EXPLAIN (ANALYZE, BUFFERS) {}", observe::OBSERVE);
    let mut fastest_ms = f64::MAX;
    // The fastest of some: tests have other work beside them.
    for _ in 0..5 {
        let lines: Vec<String> = sqlx::query_scalar(AssertSqlSafe(explain.clone()))
            .bind(i64::from(LOOK_MAX))
            .bind(At(ambient::now()))
            .fetch_all(&mut *connection)
            .await
            .unwrap();
        let times = lines.iter().filter_map(|line| line.split_once(" Time: "));
        let took = times.map(|(_, ms)| ms.trim_end_matches(" ms").parse::<f64>().unwrap());
        fastest_ms = fastest_ms.min(took.sum());
        let pages = pages(&lines);
        let plan = lines.join("\n");
        assert!(
            pages > 0 && pages < LOOK_PAGES_MAX,
            "{pages} pages:\n{plan}"
        );
    }
    assert!(fastest_ms < LOOK_MS_MAX, "{fastest_ms} ms");
}

/// How many the whole statement touched: it stands in the first line about them.
fn pages(plan: &[String]) -> u32 {
    let buffers = plan.iter().find(|line| line.contains("Buffers: shared"));
    let words = buffers.unwrap().split([' ', ',']);
    let pages = words.filter_map(|word| {
        let (what, pages) = word.split_once('=')?;
        ["hit", "read"]
            .contains(&what)
            .then(|| pages.parse::<u32>().unwrap())
    });
    pages.sum()
}

/// A year in which every shard was used.
const YEAR: &str = "
INSERT INTO delivery_tallies
SELECT date_bin('7 days', now(), '2001-01-01T00:00Z') - week * interval '7 days', shard, state, 1
FROM generate_series(1, 52) week, generate_series(0, 255) shard,
     unnest(ARRAY[0, 1, 3, 4, 5, 10, 11, 12, 13]) state
ON CONFLICT (week, shard, state) DO NOTHING;
INSERT INTO accepted_counts
SELECT date_bin('7 days', now(), '2001-01-01T00:00Z') - week * interval '7 days', shard, 9
FROM generate_series(1, 52) week, generate_series(0, 63) shard
ON CONFLICT (week, shard) DO NOTHING;";

const COUNTED: &str = "
SELECT (SELECT sum(deliveries)::bigint FROM delivery_tallies),
       (SELECT sum(deliveries)::bigint FROM accepted_counts)";

#[tokio::test]
async fn a_look_is_cheap_after_a_year_since_past_weeks_are_folded() {
    let store = PostgresStore {
        pools: full_database().await,
        listening: OnceCell::new(),
    };
    let mut connection = store.pools.calm.lease().await.unwrap();
    sqlx::raw_sql(YEAR).execute(&mut *connection).await.unwrap();
    let before: (i64, i64) = sqlx::query_as(COUNTED)
        .fetch_one(&mut *connection)
        .await
        .unwrap();
    let most: (i64, i64) = (53 * 9 + 256 * 9, 53 + 64);
    let mut rows = (i64::MAX, i64::MAX);
    for _ in 0..10 {
        store.maintain(ambient::now()).await.unwrap();
        let count = "SELECT (SELECT count(*) FROM delivery_tallies),
                            (SELECT count(*) FROM accepted_counts)";
        rows = sqlx::query_as(count)
            .fetch_one(&mut *connection)
            .await
            .unwrap();
    }
    assert!(rows.0 <= most.0 && rows.1 <= most.1, "{rows:?}");
    let after: (i64, i64) = sqlx::query_as(COUNTED)
        .fetch_one(&mut *connection)
        .await
        .unwrap();
    assert_eq!(after, before);
    assert_cheap(&mut connection).await;
}

#[tokio::test]
async fn the_check_sees_a_table_that_is_read_whole() {
    let pools = full_database().await;
    let mut connection = pools.calm.lease().await.unwrap();
    let sql = "SELECT count(*) FROM deliveries WHERE attempts = $1";
    let plan = plan(&mut connection, "whole", sql).await;
    let seen = std::panic::catch_unwind(|| assert_by_index("whole", &plan));
    assert!(seen.is_err(), "{plan:#?}");
}
