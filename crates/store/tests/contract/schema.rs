use std::time::Duration;

use sqlx::{Connection, PgConnection};
use store::{OpenError, SchemaState, StoreError};

use crate::fixture::{Fixture, Make, attempted, endpoint_id, on_both_adapters};

on_both_adapters! {
    migrating_and_maintaining_again_changes_nothing,
    the_store_answers_a_ping,
}

const WEEK: Duration = Duration::from_secs(7 * 24 * 60 * 60);

async fn migrating_and_maintaining_again_changes_nothing(fixture: Fixture) {
    let acceptance = Make {
        endpoints: vec![endpoint_id()],
        ..Make::default()
    }
    .acceptance();
    fixture.accept_one(&acceptance).await;
    fixture.store.migrate().await.unwrap();
    fixture.store.maintain(ambient::now()).await.unwrap();
    assert_eq!(fixture.store.schema().await.unwrap(), SchemaState::Current);
    assert_eq!(fixture.balance().await.accepted, 1);
}

async fn the_store_answers_a_ping(fixture: Fixture) {
    fixture.store.ping().await.unwrap();
}

async fn is_older_until_migrated(fixture: Fixture) {
    let state = fixture.store.schema().await.unwrap();
    assert!(
        matches!(state, SchemaState::Older { found: 0, .. }),
        "{state:?}"
    );
    match fixture.store.accept(&[Make::default().acceptance()]).await {
        Err(StoreError::Unavailable { reason, .. }) => {
            assert_eq!(reason, "its schema is missing: run `fanfare migrate`");
        }
        other => panic!("{other:?}"),
    }
    fixture.store.migrate().await.unwrap();
    assert_eq!(fixture.store.schema().await.unwrap(), SchemaState::Current);
    fixture.accept_one(&Make::default().acceptance()).await;
}

#[tokio::test]
async fn an_empty_file_is_older_until_it_is_migrated() {
    is_older_until_migrated(Fixture::empty_sqlite().await).await;
}

#[tokio::test]
async fn an_empty_database_is_older_until_it_is_migrated() {
    is_older_until_migrated(Fixture::empty_postgres().await).await;
}

#[tokio::test]
async fn what_a_newer_version_has_migrated_is_newer() {
    let fixture = Fixture::postgres().await;
    let mut connection = PgConnection::connect(&fixture.url).await.unwrap();
    sqlx::query("INSERT INTO schema_migrations (version) VALUES (99)")
        .execute(&mut connection)
        .await
        .unwrap();
    let newer = fixture.store.schema().await.unwrap();
    assert!(
        matches!(newer, SchemaState::Newer { found: 99, .. }),
        "{newer:?}"
    );
    let fixture = Fixture::sqlite().await;
    let path = fixture.url.strip_prefix("sqlite://").unwrap();
    let connection = rusqlite::Connection::open(path).unwrap();
    connection.pragma_update(None, "user_version", 99).unwrap();
    assert_eq!(fixture.store.schema().await.unwrap(), newer);
}

#[tokio::test]
async fn several_processes_may_migrate_at_once() {
    let fixture = Fixture::empty_postgres().await;
    let stores = futures::future::join_all((0..4).map(|_| store::open(&fixture.url))).await;
    let migrations = stores
        .into_iter()
        .map(|store| async move { store.unwrap().migrate().await });
    for migrated in futures::future::join_all(migrations).await {
        migrated.unwrap();
    }
    assert_eq!(fixture.store.schema().await.unwrap(), SchemaState::Current);
}

#[tokio::test]
async fn a_late_partition_takes_over_what_the_default_one_caught() {
    let fixture = Fixture::postgres().await;
    let far = ambient::now().plus(WEEK * 20);
    let make = Make {
        accepted_at: far,
        endpoints: vec![endpoint_id()],
        ..Make::default()
    };
    let acceptance = make.acceptance();
    fixture.accept_one(&acceptance).await;
    let id = acceptance.deliveries[0].id;
    fixture
        .record_one(attempted(id, 1, 200, store::Verdict::Delivered))
        .await;
    let mut connection = PgConnection::connect(&fixture.url).await.unwrap();
    let mut caught = async || -> i64 {
        sqlx::query_scalar(
            "SELECT (SELECT count(*) FROM events_default)
                  + (SELECT count(*) FROM deliveries_default)
                  + (SELECT count(*) FROM attempts_default)",
        )
        .fetch_one(&mut connection)
        .await
        .unwrap()
    };
    assert_eq!(caught().await, 3);
    fixture.store.maintain(far).await.unwrap();
    assert_eq!(caught().await, 0);
    assert_eq!(
        fixture.standing(id).await,
        (model::DeliveryStatus::Delivered, 1)
    );
    assert_eq!(fixture.store.attempts(id).await.unwrap().len(), 1);
}

#[tokio::test]
async fn one_file_is_open_once() {
    let fixture = Fixture::sqlite().await;
    match store::open(&fixture.url).await {
        Err(OpenError::InUse { path }) => assert!(path.ends_with("fanfare.db")),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_closed_file_opens_again_with_what_was_accepted() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}/fanfare.db", folder.path().display());
    let store = store::open(&url).await.unwrap();
    store.migrate().await.unwrap();
    store.accept(&[Make::default().acceptance()]).await.unwrap();
    drop(store);
    let limit = std::time::Instant::now() + Duration::from_secs(10);
    let store = loop {
        // The threads let go of the file when they have noticed that nobody wants them.
        match store::open(&url).await {
            Ok(store) => break store,
            Err(OpenError::InUse { .. }) if std::time::Instant::now() < limit => {
                tokio::task::yield_now().await;
            }
            Err(error) => panic!("{error}"),
        }
    };
    assert_eq!(store.schema().await.unwrap(), SchemaState::Current);
    let license = model::LicenseId::new("lic_1").unwrap();
    let tenant = model::TenantId::new("acme").unwrap();
    assert_eq!(
        store
            .timeline(&tenant, &license, 0, 10)
            .await
            .unwrap()
            .len(),
        1
    );
}
