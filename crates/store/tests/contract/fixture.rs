use std::sync::Arc;

use ambient::random_id;
use model::{
    Attempt, AttemptId, DeliveryId, DeliveryStatus, EndpointId, ErrorClass, Event, EventId,
    HoldReason, Outcome, Submission, TenantId, Timestamp,
};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use store::{Acceptance, Accepted, NewDelivery, Record, Store, Verdict};

/// Runs each named test against both adapters.
macro_rules! on_both_adapters {
    ($($test:ident,)*) => {
        mod sqlite {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $test() {
                    super::$test(crate::fixture::Fixture::sqlite().await).await;
                }
            )*
        }

        mod postgres {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $test() {
                    super::$test(crate::fixture::Fixture::postgres().await).await;
                }
            )*
        }
    };
}
pub(crate) use on_both_adapters;

/// A store of the test's own.
pub(crate) struct Fixture {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) url: String,
    pub(crate) is_sqlite: bool,
    _folder: Option<tempfile::TempDir>,
}

impl Fixture {
    pub(crate) async fn sqlite() -> Self {
        let fixture = Self::empty_sqlite().await;
        fixture.store.migrate().await.unwrap();
        fixture
    }

    pub(crate) async fn postgres() -> Self {
        let fixture = Self::empty_postgres().await;
        fixture.store.migrate().await.unwrap();
        fixture
    }

    /// Before any migration.
    pub(crate) async fn empty_sqlite() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}/sub/folder/fanfare.db", folder.path().display());
        let store = store::open(&url).await.unwrap();
        Self {
            store,
            url,
            is_sqlite: true,
            _folder: Some(folder),
        }
    }

    /// Before any migration.
    pub(crate) async fn empty_postgres() -> Self {
        let url = fresh_database().await;
        let store = store::open(&url).await.unwrap();
        Self {
            store,
            url,
            is_sqlite: false,
            _folder: None,
        }
    }

    /// Accepts one event and answers its first delivery.
    pub(crate) async fn accept_one(&self, acceptance: &Acceptance) -> Accepted {
        self.store
            .accept(std::slice::from_ref(acceptance))
            .await
            .unwrap()[0]
    }

    pub(crate) async fn record_one(&self, record: Record) {
        self.store.record(&[record]).await.unwrap();
    }

    pub(crate) async fn standing(&self, id: DeliveryId) -> (DeliveryStatus, u32) {
        let standing = self.store.standings(&[id]).await.unwrap()[0].unwrap();
        (standing.status, standing.attempts)
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "tests are told by the environment where services are"
)]
async fn fresh_database() -> String {
    let url = std::env::var("FANFARE_TEST_POSTGRES_URL")
        .expect("FANFARE_TEST_POSTGRES_URL is not set: run make test, or tests/services.sh up");
    let name = format!("store_{:032x}", random_id());
    let mut connection = PgConnection::connect(&url).await.unwrap();
    let create = AssertSqlSafe(format!("CREATE DATABASE {name}"));
    sqlx::query(create).execute(&mut connection).await.unwrap();
    let (server, _) = url.rsplit_once('/').unwrap();
    format!("{server}/{name}")
}

pub(crate) fn tenant(name: &str) -> TenantId {
    TenantId::new(name).unwrap()
}

pub(crate) fn endpoint_id() -> EndpointId {
    EndpointId::new(ambient::now(), random_id())
}

/// An event of the tenant `acme`, accepted `now`, with a delivery to each of the endpoints.
pub(crate) struct Make {
    pub(crate) tenant: TenantId,
    pub(crate) event_type: &'static str,
    pub(crate) id: Option<String>,
    pub(crate) license: Option<&'static str>,
    pub(crate) endpoints: Vec<EndpointId>,
    pub(crate) held: Option<HoldReason>,
    pub(crate) accepted_at: Timestamp,
}

impl Default for Make {
    fn default() -> Self {
        Self {
            tenant: tenant("acme"),
            event_type: "license.created",
            id: None,
            license: Some("lic_1"),
            endpoints: Vec::new(),
            held: None,
            accepted_at: ambient::now(),
        }
    }
}

impl Make {
    pub(crate) fn acceptance(self) -> Acceptance {
        let event = self.event();
        let deliveries = self
            .endpoints
            .iter()
            .map(|endpoint| NewDelivery {
                id: DeliveryId::new(event.accepted_at, random_id()),
                endpoint: *endpoint,
                held: self.held,
            })
            .collect();
        Acceptance {
            event: Arc::new(event),
            digest: [1; 16],
            deliveries,
            trace: None,
        }
    }

    fn event(&self) -> Event {
        let data = self.license.map_or("{\"n\": 1.0}".to_owned(), |license| {
            format!(r#"{{"license":{{"id":"{license}"}},"zoë":  1.0}}"#)
        });
        let body = format!(r#"{{"type":"{}","data":{data}}}"#, self.event_type);
        let mut submission = Submission::parse(body.as_bytes()).unwrap();
        submission.id = self.id.as_deref().map(|id| EventId::new(id).unwrap());
        submission.into_event(self.tenant.clone(), self.accepted_at, random_id())
    }
}

/// A record of an answered attempt.
pub(crate) fn attempted(
    delivery: DeliveryId,
    number: u32,
    status: u16,
    verdict: Verdict,
) -> Record {
    let outcome = Outcome::Answered {
        status,
        retry_after: None,
    };
    with_outcome(delivery, number, outcome, verdict)
}

pub(crate) fn timed_out(delivery: DeliveryId, number: u32, verdict: Verdict) -> Record {
    with_outcome(
        delivery,
        number,
        Outcome::Unanswered(ErrorClass::Timeout),
        verdict,
    )
}

fn with_outcome(delivery: DeliveryId, number: u32, outcome: Outcome, verdict: Verdict) -> Record {
    let now = ambient::now();
    let attempt = Attempt {
        id: AttemptId::new(now, random_id()),
        delivery,
        number,
        started_at: now,
        duration: std::time::Duration::from_millis(12),
        outcome,
        error_detail: None,
        response_headers: vec![("Server".to_owned(), "test".to_owned())],
        response_body: b"\x00\xff ok".to_vec(),
    };
    Record {
        delivery,
        attempt: Some(attempt),
        attempts_made: number - 1,
        verdict,
        at: now,
    }
}

pub(crate) fn held(delivery: DeliveryId, reason: HoldReason) -> Record {
    Record {
        delivery,
        attempt: None,
        attempts_made: 0,
        verdict: Verdict::Held(reason),
        at: ambient::now(),
    }
}

/// As [`held`], after this many attempts.
pub(crate) fn held_after(attempts_made: u32, delivery: DeliveryId, reason: HoldReason) -> Record {
    Record {
        attempts_made,
        ..held(delivery, reason)
    }
}
