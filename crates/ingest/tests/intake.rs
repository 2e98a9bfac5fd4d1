//! What is published to `license.events` is committed or set aside, and counted once.

#![expect(
    clippy::unwrap_used,
    reason = "what a test needs and lacks fails the test"
)]

use std::sync::Arc;
use std::time::Duration;

use broker::{Broker, Destination, Incoming, Publication, Queue};
use ingest::{AcceptError, Acceptor, Intake, Parts};
use model::{EventId, Plan, Submission, Tenant, TenantId, Timestamp};
use store::{Directory, MasterKey, Store, StoreWatch};
use telemetry::{Metrics, Traces};
use tempfile::TempDir;
use testkit::eventually;
use tokio_util::sync::CancellationToken;

const SOON: Duration = Duration::from_secs(10);

/// A store that refuses the event with the id `bad`, as PostgreSQL refuses what no column holds.
struct Place {
    store: Arc<dyn Store>,
    broker: Arc<dyn Broker>,
    metrics: Metrics,
    acceptor: Arc<Acceptor>,
    _folder: TempDir,
}

impl Place {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("fanfare.db");
        let url = format!("sqlite://{}", file.display());
        let store = store::open(&url).await.unwrap();
        store.migrate().await.unwrap();
        let refuse = "CREATE TRIGGER refuse BEFORE INSERT ON events WHEN NEW.id = 'bad'
                      BEGIN SELECT RAISE(ABORT, 'no column holds this'); END";
        let connection = rusqlite::Connection::open(&file).unwrap();
        connection.execute_batch(refuse).unwrap();
        drop(connection);
        let key = MasterKey::from_bytes([7; 32]);
        let directory = Directory::load(Arc::clone(&store), key).await.unwrap();
        let tenant = Tenant {
            id: acme(),
            name: "Acme".to_owned(),
            plan: Plan::Free,
            created_at: Timestamp::EPOCH,
        };
        directory.put_tenant(tenant, true).await.unwrap();
        let url = format!("embedded://{}", folder.path().display());
        let broker = broker::open(&url, broker::Options::default()).await;
        let broker = broker.unwrap();
        let metrics = Metrics::new(false);
        let acceptor = Acceptor::new(Parts {
            store: Arc::clone(&store),
            store_watch: StoreWatch::new(Arc::clone(&store)),
            broker: Arc::clone(&broker),
            directory,
            broker_stands_in: true,
            metrics: metrics.clone(),
            traces: Traces::default(),
        });
        Self {
            store,
            broker,
            metrics,
            acceptor: Arc::new(acceptor),
            _folder: folder,
        }
    }

    async fn publish(&self, events: &[(&str, &str)]) {
        let publications = events.iter().map(|(id, body)| Publication {
            to: Destination::Events {
                tenant: acme(),
                event_type: "license.created".parse().unwrap(),
                id: EventId::new(id).unwrap(),
                trace: None,
            },
            body: (*body).to_owned().into(),
        });
        self.broker.publish(publications.collect()).await.unwrap();
    }

    /// Takes in what was published and answers what was set aside of it.
    async fn rejected_when(&self, count: usize) -> Vec<Incoming> {
        let stop = CancellationToken::new();
        let intake = Intake::new(Arc::clone(&self.acceptor)).run(stop.clone());
        let intake = tokio::spawn(intake);
        eventually("rejected messages", SOON, async || {
            let depth = self.broker.depth(Queue::Rejected).await.ok()?;
            (depth.ready as usize == count).then_some(())
        })
        .await
        .unwrap();
        stop.cancel();
        intake.await.unwrap();
        self.broker.take(Queue::Rejected, 100).await.unwrap()
    }

    async fn is_stored(&self, id: &str) -> bool {
        let id = EventId::new(id).unwrap();
        self.store.event(&acme(), &id).await.unwrap().is_some()
    }

    fn counted(&self, source: &str, result: &str) -> u64 {
        let counter = self.metrics.events.with_label_values(&[source, result]);
        counter.get()
    }
}

fn acme() -> TenantId {
    TenantId::new("acme").unwrap()
}

fn event(id: &str) -> String {
    format!(r#"{{"id":"{id}","type":"license.created","data":{{}}}}"#)
}

#[tokio::test]
async fn an_event_that_the_store_refuses_is_set_aside_and_spoils_no_other() {
    let place = Place::new().await;
    let events = ["a", "bad", "b", "c"].map(|id| (id, event(id)));
    place
        .publish(&events.each_ref().map(|(id, body)| (*id, body.as_str())))
        .await;
    let rejected = place.rejected_when(1).await;
    assert_eq!(rejected[0].body, event("bad"));
    let reason = rejected[0].headers.reason.as_deref();
    assert_eq!(reason, Some("the store refuses the event bad"));
    for id in ["a", "b", "c"] {
        assert!(place.is_stored(id).await, "{id}");
    }
    assert_eq!(place.counted("amqp", "new"), 3);
    assert_eq!(place.counted("amqp", "rejected"), 1);
}

#[tokio::test]
async fn an_event_that_the_store_refuses_does_not_go_through_the_broker() {
    let place = Place::new().await;
    let submission = |id| Submission::parse(event(id).as_bytes()).unwrap();
    let tenant = acme();
    let (bad, good) = tokio::join!(
        place.acceptor.accept(&tenant, submission("bad")),
        place.acceptor.accept(&tenant, submission("good")),
    );
    assert!(matches!(bad, Err(AcceptError::Unstorable(_))), "{bad:?}");
    assert!(!good.unwrap().duplicate);
    assert_eq!(place.broker.depth(Queue::Intake).await.unwrap().ready, 0);
}

#[tokio::test]
async fn each_published_event_is_counted_once() {
    let place = Place::new().await;
    let other = event("a").replace("{}", r#"{"n":1}"#);
    let first = event("a");
    place
        .publish(&[
            ("a", &first),
            ("a", &first),
            ("a", &other),
            ("b", "{not json"),
        ])
        .await;
    assert_eq!(place.rejected_when(2).await.len(), 2);
    for (result, count) in [
        ("new", 1),
        ("duplicate", 1),
        ("conflict", 1),
        ("rejected", 1),
    ] {
        assert_eq!(place.counted("amqp", result), count, "{result}");
    }
}
