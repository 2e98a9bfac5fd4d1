use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use model::{DeliveryId, EndpointId, HoldReason, Timestamp};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use store::{Balance, HeldFate, LOOK_MAX, Observation, Requeue, Verdict};

use crate::fixture::{
    Fixture, Make, attempted, endpoint_id, held, held_after, on_both_adapters, tenant,
};

on_both_adapters! {
    whatever_changes_a_delivery_is_tallied,
    what_happens_at_the_same_time_is_tallied_once,
    a_delivery_whose_row_is_gone_is_missed,
    the_oldest_and_what_is_due_are_seen,
    no_more_than_the_limit_is_looked_at,
    deliveries_from_before_the_tallies_are_tallied,
    the_footprint_has_a_size,
}

const ROWS: &str = "SELECT status, hold_reason, count(*) FROM deliveries GROUP BY 1, 2";

impl Fixture {
    /// What the store observes now, which must be what is there row by row.
    pub(crate) async fn observe(&self) -> Observation {
        let observation = self.store.observe(ambient::now()).await.unwrap();
        let by_status = observation.balance.by_status().into_iter();
        let by_reason = observation.held.iter();
        let observed: BTreeMap<_, _> = by_status
            .map(|(status, count)| (status.to_string(), count))
            .chain(by_reason.map(|(reason, count)| ((*reason).to_owned(), *count)))
            .filter(|(_, count)| *count > 0)
            .collect();
        assert_eq!(observed, self.recount().await);
        assert_eq!(observation.difference(), 0, "{observation:?}");
        observation
    }

    pub(crate) async fn balance(&self) -> Balance {
        self.observe().await.balance
    }

    /// Counts every row: by status and, if held, by reason.
    async fn recount(&self) -> BTreeMap<String, u64> {
        let rows: Vec<(i16, Option<i16>, i64)> = match self.url.strip_prefix("sqlite://") {
            Some(path) => {
                let connection = rusqlite::Connection::open(path).unwrap();
                let mut statement = connection.prepare(ROWS).unwrap();
                let rows = statement
                    .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
                    .unwrap();
                rows.map(Result::unwrap).collect()
            }
            None => {
                let mut connection = PgConnection::connect(&self.url).await.unwrap();
                let rows = sqlx::query_as(ROWS).fetch_all(&mut connection).await;
                rows.unwrap()
            }
        };
        let statuses = model::DeliveryStatus::ALL;
        let mut counts = BTreeMap::new();
        for (status, reason, rows) in rows {
            let status = statuses[usize::try_from(status).unwrap()].as_str();
            let reason = reason.map(|code| HoldReason::ALL[usize::try_from(code).unwrap()]);
            for name in [Some(status), reason.map(HoldReason::as_str)] {
                let Some(name) = name else { continue };
                *counts.entry(name.to_owned()).or_default() += u64::try_from(rows).unwrap();
            }
        }
        counts
    }

    /// Runs a statement behind the store's back.
    async fn execute(&self, sql: &str) {
        match self.url.strip_prefix("sqlite://") {
            Some(path) => {
                let connection = rusqlite::Connection::open(path).unwrap();
                connection.execute_batch(sql).unwrap();
            }
            None => {
                let mut connection = PgConnection::connect(&self.url).await.unwrap();
                let sql = AssertSqlSafe(sql.to_owned());
                sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
            }
        }
    }

    /// Accepts events with one delivery each.
    async fn accept_many(&self, count: usize, endpoint: EndpointId) -> Vec<DeliveryId> {
        let batch: Vec<_> = (0..count)
            .map(|_| Make {
                endpoints: vec![endpoint],
                ..Make::default()
            })
            .map(Make::acceptance)
            .collect();
        self.store.accept(&batch).await.unwrap();
        batch.iter().map(|one| one.deliveries[0].id).collect()
    }
}

fn minutes(count: u64) -> Duration {
    Duration::from_secs(count * 60)
}

async fn whatever_changes_a_delivery_is_tallied(fixture: Fixture) {
    let endpoint = endpoint_id();
    let ids = fixture.accept_many(8, endpoint).await;
    let now = ambient::now();
    let due_at = now.minus(minutes(1));
    let verdicts = [
        Verdict::Delivered,
        Verdict::Failed,
        Verdict::Retrying { due_at },
        Verdict::Held(HoldReason::CircuitOpen),
        Verdict::Held(HoldReason::RateLimit),
        Verdict::Held(HoldReason::RateLimit),
    ];
    let batch: Vec<_> = ids
        .iter()
        .zip(verdicts)
        .map(|(id, verdict)| attempted(*id, 1, 500, verdict))
        .collect();
    fixture.store.record(&batch).await.unwrap();
    fixture.store.record(&batch).await.unwrap();
    let observation = fixture.observe().await;
    assert_eq!(observation.held["rate_limit"], 2);
    assert_eq!(
        (observation.balance.queued, observation.balance.held),
        (2, 3)
    );

    fixture
        .record_one(held_after(1, ids[3], HoldReason::MaxInFlight))
        .await;
    assert_eq!(fixture.observe().await.held["max_in_flight"], 1);
    fixture.store.overdue(now, now, 10).await.unwrap();
    fixture.store.release(endpoint, 1, now).await.unwrap();
    assert_eq!(fixture.balance().await.held, 2);
    let requeue = Requeue::One {
        tenant: tenant("acme"),
        delivery: ids[0],
    };
    fixture.store.requeue(requeue, now).await.unwrap();
    assert_eq!(fixture.balance().await.delivered, 0);
    fixture
        .store
        .discard_held(endpoint, HeldFate::DiscardAll, now)
        .await
        .unwrap();
    let balance = fixture.balance().await;
    assert_eq!((balance.held, balance.discarded), (0, 2));
}

async fn what_happens_at_the_same_time_is_tallied_once(fixture: Fixture) {
    let endpoint = endpoint_id();
    let ids = Arc::new(fixture.accept_many(60, endpoint).await);
    let tasks = (0..6).map(|task| {
        let (store, ids) = (Arc::clone(&fixture.store), Arc::clone(&ids));
        tokio::spawn(async move {
            for round in 1..=10 {
                let verdict = match (task + round) % 3 {
                    0 => Verdict::Delivered,
                    1 => Verdict::Held(HoldReason::CircuitOpen),
                    _ => Verdict::Retrying {
                        due_at: ambient::now(),
                    },
                };
                let batch: Vec<_> = ids
                    .iter()
                    .map(|id| attempted(*id, round, 500, verdict))
                    .collect();
                store.record(&batch).await.unwrap();
                store.release(endpoint, 20, ambient::now()).await.unwrap();
                let requeue = Requeue::Matching {
                    tenant: tenant("acme"),
                    filter: store::DeliveryFilter::default(),
                    limit: 20,
                };
                store.requeue(requeue, ambient::now()).await.unwrap();
            }
        })
    });
    join_all(tasks).await.into_iter().for_each(Result::unwrap);
    assert_eq!(fixture.balance().await.accepted, 60);
}

async fn a_delivery_whose_row_is_gone_is_missed(fixture: Fixture) {
    let ids = fixture.accept_many(3, endpoint_id()).await;
    fixture
        .record_one(attempted(ids[0], 1, 200, Verdict::Delivered))
        .await;
    fixture
        .execute("DELETE FROM deliveries WHERE status = 3")
        .await;
    let observation = fixture.store.observe(ambient::now()).await.unwrap();
    assert_eq!(observation.difference(), 1, "of those that are finished");
    let all = if fixture.is_sqlite {
        "DROP TRIGGER tally_deleted; DELETE FROM deliveries"
    } else {
        "ALTER TABLE deliveries DISABLE TRIGGER tally_deleted; DELETE FROM deliveries"
    };
    fixture.execute(all).await;
    let observation = fixture.store.observe(ambient::now()).await.unwrap();
    assert_eq!(
        observation.balance.queued, 2,
        "nobody told the tallies this time"
    );
    assert_eq!(observation.difference(), 3);
}

async fn the_oldest_and_what_is_due_are_seen(fixture: Fixture) {
    let nothing = fixture.observe().await;
    assert_eq!((nothing.oldest, nothing.first_due), (None, None));
    let now = Timestamp::from_millis(ambient::now().as_millis());
    let mut ids = Vec::new();
    for age in [40, 30, 20, 0] {
        let make = Make {
            accepted_at: now.minus(minutes(age)),
            endpoints: vec![endpoint_id()],
            ..Make::default()
        };
        let acceptance = make.acceptance();
        fixture.accept_one(&acceptance).await;
        ids.push(acceptance.deliveries[0].id);
    }
    let due_at = now.plus(minutes(60));
    let batch = [
        held(ids[0], HoldReason::CircuitOpen),
        attempted(ids[1], 1, 500, Verdict::Retrying { due_at }),
    ];
    fixture.store.record(&batch).await.unwrap();
    fixture.observe().await;
    let observation = fixture.store.observe(now.minus(minutes(1))).await.unwrap();
    assert_eq!(observation.oldest, Some(now.minus(minutes(30))));
    assert_eq!(observation.first_due, Some(now.minus(minutes(20))));
    assert_eq!(observation.overdue, 1);
    assert_eq!((observation.unfinished_seen, observation.held_seen), (3, 1));
}

async fn no_more_than_the_limit_is_looked_at(fixture: Fixture) {
    let many = usize::try_from(LOOK_MAX).unwrap() + 1;
    fixture.accept_many(many, endpoint_id()).await;
    let observation = fixture.observe().await;
    assert_eq!(observation.unfinished_seen, u64::from(LOOK_MAX));
    assert_eq!(observation.overdue, u64::from(LOOK_MAX));
    assert_eq!(observation.balance.queued, u64::from(LOOK_MAX) + 1);
}

async fn deliveries_from_before_the_tallies_are_tallied(fixture: Fixture) {
    let ids = fixture.accept_many(3, endpoint_id()).await;
    fixture
        .record_one(held(ids[0], HoldReason::RateLimit))
        .await;
    fixture
        .record_one(attempted(ids[1], 1, 200, Verdict::Delivered))
        .await;
    let (undo, migration) = if fixture.is_sqlite {
        (
            "DROP TRIGGER tally_inserted; DROP TRIGGER tally_updated; DROP TRIGGER tally_deleted;
             DROP TABLE delivery_tallies;",
            include_str!("../../migrations/sqlite/0004_tallies.sql"),
        )
    } else {
        (
            "DROP FUNCTION tally_deliveries CASCADE; DROP FUNCTION delivery_state;
             DROP TABLE delivery_tallies;",
            include_str!("../../migrations/postgres/0004_tallies.sql"),
        )
    };
    fixture.execute(undo).await;
    fixture.execute(migration).await;
    fixture.observe().await;
    fixture
        .record_one(attempted(ids[2], 1, 200, Verdict::Delivered))
        .await;
    let balance = fixture.balance().await;
    assert_eq!((balance.delivered, balance.held, balance.queued), (2, 1, 0));
}

async fn the_footprint_has_a_size(fixture: Fixture) {
    let footprint = fixture.store.footprint().await.unwrap();
    assert!(footprint.bytes.values().all(|bytes| *bytes > 0));
    if fixture.is_sqlite {
        assert_eq!((footprint.partitions, footprint.replicas), (None, None));
        assert!(footprint.bytes.contains_key("database"));
    } else {
        assert_eq!(footprint.partitions, Some(6), "the default one is no week");
        let tables: Vec<_> = footprint.bytes.keys().map(String::as_str).collect();
        let expected = [
            "attempts",
            "deliveries",
            "event_keys",
            "events",
            "license_sequences",
        ];
        assert_eq!(tables, expected);
        assert!(footprint.connections["active"] >= 1);
        assert_eq!(footprint.replicas, Some(0));
        assert_eq!(footprint.replication_lag, None);
    }
}
