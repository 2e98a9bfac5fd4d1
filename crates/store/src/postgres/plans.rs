//! The plans of the hot path, with tables so large that reading one whole would show.

use ambient::random_id;
use sqlx::{AssertSqlSafe, Connection, PgConnection};

use super::pools::{Pool, Pools};
use super::values::At;
use super::{accept, holding, observe, partitions, reads, record, schema, stats};
use crate::LOOK_MAX;

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
async fn a_look_at_everything_touches_few_pages_whatever_waits() {
    let pools = full_database().await;
    let mut connection = pools.hot.lease().await.unwrap();
    let all = "UPDATE deliveries SET status = CASE WHEN urgent THEN 2 ELSE 1 END,
               next_attempt_at = CASE WHEN NOT urgent THEN created_at END";
    sqlx::query(all).execute(&mut *connection).await.unwrap();
    sqlx::query("VACUUM deliveries")
        .execute(&mut *connection)
        .await
        .unwrap();
    let explain = AssertSqlSafe(format!("EXPLAIN (ANALYZE, BUFFERS) {}", observe::OBSERVE));
    let lines: Vec<String> = sqlx::query_scalar(explain)
        .bind(i64::from(LOOK_MAX))
        .bind(At(ambient::now()))
        .fetch_all(&mut *connection)
        .await
        .unwrap();
    // The first is that of the whole statement.
    let buffers = lines.iter().find(|line| line.contains("Buffers: shared"));
    let words = buffers.unwrap().split([' ', ',']);
    let pages = words.filter_map(|word| {
        let (what, pages) = word.split_once('=')?;
        ["hit", "read"]
            .contains(&what)
            .then(|| pages.parse::<u32>().unwrap())
    });
    let pages: u32 = pages.sum();
    assert!(
        pages > 0 && pages < LOOK_PAGES_MAX,
        "{pages} pages:\n{}",
        lines.join("\n")
    );
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
