use std::time::{Duration, Instant};

use sqlx::{AssertSqlSafe, Connection, PgConnection};
use store::{Accepted, Store, StoreError};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::fixture::{Fixture, Make};

/// What the port promises for a server that cannot be reached.
const UNAVAILABLE_WITHIN: Duration = Duration::from_secs(5);

/// How long the store may take to be itself again.
const BACK_WITHIN: Duration = Duration::from_secs(10);

/// Connects beside the store and ends all of its connections.
async fn disconnect(fixture: &Fixture) -> PgConnection {
    let mut connection = PgConnection::connect(&fixture.url).await.unwrap();
    sqlx::query(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
         WHERE datname = current_database() AND pid <> pg_backend_pid()",
    )
    .execute(&mut connection)
    .await
    .unwrap();
    connection
}

/// Accepts events until one is accepted; answers its sequence.
async fn accept_soon(store: &dyn Store) -> Option<u64> {
    let acceptance = Make::default().acceptance();
    let started = Instant::now();
    loop {
        match store.accept(std::slice::from_ref(&acceptance)).await {
            Ok(answers) => match answers[0] {
                Accepted::New { sequence } | Accepted::Duplicate { sequence } => return sequence,
                Accepted::Conflict => panic!("the same event"),
            },
            Err(StoreError::Unavailable { .. }) if started.elapsed() < BACK_WITHIN => {}
            Err(error) => panic!("{error}"),
        }
    }
}

#[tokio::test]
async fn lost_connections_are_replaced_by_themselves() {
    let fixture = Fixture::postgres().await;
    for sequence in 1..=3 {
        assert_eq!(accept_soon(&*fixture.store).await, Some(sequence));
        disconnect(&fixture).await;
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_is_unavailable_soon() {
    // A port that was free a moment ago and stays so while the listener is kept unaccepted.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = listener.local_addr().unwrap();
    for address in ["127.0.0.1:1".to_owned(), silent.to_string()] {
        let store = store::open(&format!("postgres://u:hunter2@{address}/db"))
            .await
            .unwrap();
        let started = Instant::now();
        let error = store.ping().await.unwrap_err();
        assert!(matches!(error, StoreError::Unavailable { .. }), "{error}");
        assert!(
            started.elapsed() < UNAVAILABLE_WITHIN,
            "{address}: {:?}",
            started.elapsed()
        );
        assert!(
            !format!("{error:?} {store:?}").contains("hunter2"),
            "{error:?} {store:?}"
        );
    }
}

#[tokio::test]
async fn a_read_only_database_is_unavailable_until_it_takes_writes_again() {
    let fixture = Fixture::postgres().await;
    let name = fixture.url.rsplit_once('/').unwrap().1;
    let set = |to: &str| format!("ALTER DATABASE {name} SET default_transaction_read_only = {to}");
    let mut beside = PgConnection::connect(&fixture.url).await.unwrap();
    sqlx::query(AssertSqlSafe(set("on")))
        .execute(&mut beside)
        .await
        .unwrap();
    for call in 0..2 {
        match fixture.store.ping().await {
            Err(StoreError::Unavailable { reason, .. }) => {
                assert_eq!(reason, "PostgreSQL is read-only");
                break;
            }
            // On a connection from before.
            other => assert!(call == 0 && other.is_ok(), "{other:?}"),
        }
        let _beside = disconnect(&fixture).await;
    }
    let accepted = fixture.store.accept(&[Make::default().acceptance()]).await;
    assert!(
        matches!(accepted, Err(StoreError::Unavailable { .. })),
        "{accepted:?}"
    );
    let mut beside = PgConnection::connect(&fixture.url).await.unwrap();
    sqlx::query("SET default_transaction_read_only = off")
        .execute(&mut beside)
        .await
        .unwrap();
    sqlx::query(AssertSqlSafe(set("off")))
        .execute(&mut beside)
        .await
        .unwrap();
    disconnect(&fixture).await;
    assert_eq!(accept_soon(&*fixture.store).await, Some(1));
}

/// Stands before a server; while `silent` holds, nothing passes and nothing is closed.
async fn proxy(server: String, silent: watch::Receiver<bool>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let (server, mut silent) = (server.clone(), silent.clone());
            tokio::spawn(async move {
                let mut upstream = TcpStream::connect(server).await.unwrap();
                let silenced = async |silent: &mut watch::Receiver<bool>, until: bool| {
                    silent.wait_for(|silent| *silent == until).await.is_ok()
                };
                tokio::select! {
                    _ended = tokio::io::copy_bidirectional(&mut client, &mut upstream) => return,
                    _ = silenced(&mut silent, true) => {}
                }
                silenced(&mut silent, false).await;
            });
        }
    });
    port
}

#[tokio::test]
async fn a_server_that_falls_silent_is_unavailable_soon_and_back_when_it_answers() {
    let fixture = Fixture::postgres().await;
    let (before, database) = fixture.url.rsplit_once('/').unwrap();
    let (user, server) = before.rsplit_once('@').unwrap();
    let (silence, silent) = watch::channel(false);
    let port = proxy(server.to_owned(), silent).await;
    let store = store::open(&format!("{user}@127.0.0.1:{port}/{database}"))
        .await
        .unwrap();
    assert_eq!(accept_soon(&*store).await, Some(1));
    silence.send(true).unwrap();
    let started = Instant::now();
    let accepted = store.accept(&[Make::default().acceptance()]).await;
    assert!(
        matches!(accepted, Err(StoreError::Unavailable { .. })),
        "{accepted:?}"
    );
    assert!(
        started.elapsed() < UNAVAILABLE_WITHIN,
        "{:?}",
        started.elapsed()
    );
    silence.send(false).unwrap();
    assert_eq!(accept_soon(&*store).await, Some(2));
}
