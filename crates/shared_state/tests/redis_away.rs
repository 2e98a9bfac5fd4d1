//! A Redis that is killed, hangs, comes back empty or was never there. Each test starts its own
//! `redis-server`, from the PATH, on a free loopback port.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::io::Write;
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use delivery::{CircuitPolicy, PROBE_AFTER};
use model::{DeliveryId, EndpointId};
use parking_lot::Mutex;
use shared_state::{Claim, ClaimRequest, OpenError, Redis, Settled, Settlement, SharedState, open};

const GRANTED: Claim = Claim::Granted {
    probe: false,
    troubled: false,
};
const ANSWER_MAX: Duration = Duration::from_millis(200);
const BACK_WITHIN: Duration = Duration::from_secs(2);
const PATIENCE: Duration = Duration::from_secs(10);

/// A `redis-server` of the test's own; killed when dropped.
struct Server {
    port: u16,
    folder: tempfile::TempDir,
    process: Option<Child>,
}

impl Server {
    /// Finds a free port and starts nothing yet.
    fn new() -> Self {
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        Self {
            port,
            folder: tempfile::tempdir().unwrap(),
            process: None,
        }
    }

    async fn started() -> Self {
        let mut server = Self::new();
        server.start().await;
        server
    }

    async fn start(&mut self) {
        let process = Command::new("redis-server")
            .args([
                "--port",
                &self.port.to_string(),
                "--bind",
                "127.0.0.1",
                "--save",
                "",
            ])
            .current_dir(self.folder.path())
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server is installed");
        self.process = Some(process);
        let deadline = Instant::now() + PATIENCE;
        while self
            .client()
            .get_multiplexed_async_connection()
            .await
            .is_err()
        {
            assert!(Instant::now() < deadline, "redis-server does not answer");
            tokio::task::yield_now().await;
        }
    }

    fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    fn signal(&self, name: &str) {
        let process = self.process.as_ref().expect("it is running");
        let status = Command::new("kill")
            .args([name, &process.id().to_string()])
            .status();
        assert!(status.unwrap().success());
    }

    fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port)
    }

    fn client(&self) -> redis::Client {
        redis::Client::open(self.url()).unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

fn new_request() -> ClaimRequest {
    let now = ambient::now();
    ClaimRequest {
        delivery: DeliveryId::new(now, ambient::random_id()),
        attempt: 1,
        endpoint: EndpointId::new(now, ambient::random_id()),
        rate_per_minute: None,
        lease: Duration::from_secs(40),
    }
}

fn settlement(request: ClaimRequest, settled: Settled) -> Settlement {
    Settlement {
        delivery: request.delivery,
        attempt: request.attempt,
        endpoint: request.endpoint,
        settled,
        troubled: true,
        policy: CircuitPolicy { open_after: 1 },
    }
}

async fn claim(state: &dyn SharedState, request: ClaimRequest) -> Claim {
    state
        .claim(&[request], ambient::now())
        .await
        .expect("somebody answers")[0]
}

async fn settle(state: &dyn SharedState, request: ClaimRequest, settled: Settled) {
    let settlement = settlement(request, settled);
    state
        .settle(&[settlement], ambient::now())
        .await
        .expect("somebody answers");
}

/// Claims until the remote state answers.
async fn until_used_again(state: &dyn SharedState) {
    let since = Instant::now();
    while state.is_degraded() {
        claim(state, new_request()).await;
        assert!(
            since.elapsed() < BACK_WITHIN,
            "not used after {:?}",
            since.elapsed()
        );
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn calls_are_answered_while_redis_is_away_and_it_is_used_again_once_it_is_back() {
    let mut server = Server::started().await;
    let state = open(Some(&server.url())).await.unwrap();
    assert_eq!(claim(&*state, new_request()).await, GRANTED);
    assert!(!state.is_degraded());

    server.kill();
    let away_since = Instant::now();
    while away_since.elapsed() < Duration::from_secs(2) {
        let request = new_request();
        let asked_at = Instant::now();
        assert_eq!(claim(&*state, request).await, GRANTED);
        assert_eq!(claim(&*state, request).await, Claim::Busy);
        settle(&*state, request, Settled::Succeeded).await;
        assert_eq!(
            claim(&*state, request).await,
            Claim::Done { succeeded: true }
        );
        assert!(
            state
                .lock("sweep", "me", Duration::from_secs(1))
                .await
                .unwrap()
        );
        assert!(
            asked_at.elapsed() < ANSWER_MAX,
            "answered after {:?}",
            asked_at.elapsed()
        );
        assert!(state.is_degraded());
        assert!(state.ping().await.is_err());
        tokio::task::yield_now().await;
    }

    server.start().await;
    until_used_again(&*state).await;
    let request = new_request();
    assert_eq!(claim(&*state, request).await, GRANTED);
    let another = Redis::open(&server.url()).await.unwrap();
    assert_eq!(claim(&another, request).await, Claim::Busy);
}

#[tokio::test]
async fn a_redis_that_hangs_delays_no_call_by_more_than_its_timeout() {
    let server = Server::started().await;
    let state = open(Some(&server.url())).await.unwrap();
    assert_eq!(claim(&*state, new_request()).await, GRANTED);

    server.signal("-STOP");
    let asked_at = Instant::now();
    assert_eq!(claim(&*state, new_request()).await, GRANTED);
    assert!(
        asked_at.elapsed() < Duration::from_millis(500),
        "{:?}",
        asked_at.elapsed()
    );
    assert!(state.is_degraded());
    for _ in 0..100 {
        let asked_at = Instant::now();
        assert_eq!(claim(&*state, new_request()).await, GRANTED);
        assert!(
            asked_at.elapsed() < ANSWER_MAX,
            "answered after {:?}",
            asked_at.elapsed()
        );
    }

    server.signal("-CONT");
    until_used_again(&*state).await;
}

#[tokio::test]
async fn a_redis_that_is_not_there_at_the_start_is_used_once_it_is() {
    let mut server = Server::new();
    let asked_at = Instant::now();
    let state = open(Some(&server.url())).await.unwrap();
    assert!(asked_at.elapsed() < Duration::from_secs(1));
    assert!(state.is_degraded());
    assert_eq!(claim(&*state, new_request()).await, GRANTED);
    assert!(state.is_degraded());
    server.start().await;
    until_used_again(&*state).await;
}

#[tokio::test]
async fn an_emptied_redis_works_at_once() {
    let server = Server::started().await;
    let state = Redis::open(&server.url()).await.unwrap();
    let request = new_request();
    assert_eq!(claim(&state, request).await, GRANTED);
    let mut connection = server
        .client()
        .get_multiplexed_async_connection()
        .await
        .unwrap();
    let mut pipeline = redis::pipe();
    pipeline.cmd("FLUSHALL").cmd("SCRIPT").arg("FLUSH");
    let () = pipeline.query_async(&mut connection).await.unwrap();
    assert_eq!(claim(&state, request).await, GRANTED);
    settle(&state, request, Settled::Failed).await;
    assert_eq!(
        claim(&state, request).await,
        Claim::Done { succeeded: false }
    );
    assert!(
        state
            .lock("sweep", "me", Duration::from_secs(1))
            .await
            .unwrap()
    );
}

#[tokio::test]
async fn circuits_that_redis_opened_stay_open_while_it_is_away() {
    let mut server = Server::started().await;
    let state = open(Some(&server.url())).await.unwrap();
    let (dead, revived) = (new_request(), new_request());
    for request in [dead, revived] {
        assert_eq!(claim(&*state, request).await, GRANTED);
        settle(&*state, request, Settled::Failed).await;
    }
    settle(&*state, revived, Settled::Succeeded).await;

    server.kill();
    let next = |request: ClaimRequest| ClaimRequest {
        attempt: 2,
        ..request
    };
    let before = ambient::now();
    let Claim::CircuitOpen { probe_at } = claim(&*state, next(dead)).await else {
        panic!("it was open")
    };
    assert!(probe_at <= before.plus(PROBE_AFTER));
    assert_eq!(claim(&*state, next(revived)).await, GRANTED);
    assert!(state.is_degraded());
}

#[tokio::test]
async fn asking_alone_notices_that_redis_came_and_that_it_is_full() {
    let mut server = Server::new();
    let state = open(Some(&server.url())).await.unwrap();
    assert!(state.is_degraded());
    server.start().await;
    let since = Instant::now();
    while state.ping().await.is_err() {
        assert!(since.elapsed() < BACK_WITHIN);
        tokio::task::yield_now().await;
    }
    assert!(!state.is_degraded());

    let mut connection = server
        .client()
        .get_multiplexed_async_connection()
        .await
        .unwrap();
    let mut full = redis::cmd("CONFIG");
    full.arg("SET").arg("maxmemory").arg(1);
    full.exec_async(&mut connection).await.unwrap();
    assert!(state.ping().await.is_err());
    assert!(state.is_degraded());
}

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn going_away_and_coming_back_are_said_once() {
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::INFO)
        .with_writer(move || writer.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);

    let mut server = Server::started().await;
    let state = open(Some(&server.url())).await.unwrap();
    for _ in 0..2 {
        server.kill();
        for _ in 0..50 {
            claim(&*state, new_request()).await;
        }
        server.start().await;
        until_used_again(&*state).await;
        for _ in 0..50 {
            claim(&*state, new_request()).await;
        }
    }
    let text = String::from_utf8(lines.0.lock().clone()).unwrap();
    let count = |what: &str| text.lines().filter(|line| line.contains(what)).count();
    assert_eq!((count("is away"), count("is back")), (2, 2), "{text}");
    assert_eq!(text.lines().count(), 4, "{text}");
}

#[tokio::test]
async fn an_unusable_url_is_refused_without_repeating_it() {
    for url in [
        "http://:hunter2@localhost/",
        "redis://:hunter2@localhost:nowhere/",
        "hunter2",
    ] {
        let error = open(Some(url)).await.unwrap_err();
        let OpenError::Url(source) = &error;
        let text = format!("{error} {error:?} {source}");
        assert!(!text.contains("hunter2"), "{text}");
    }
}

#[tokio::test]
async fn a_tls_url_is_usable_and_falls_back_if_the_peer_speaks_none() {
    let server = Server::started().await;
    let url = format!("rediss://127.0.0.1:{}/", server.port);
    let state = open(Some(&url)).await.unwrap();
    assert_eq!(claim(&*state, new_request()).await, GRANTED);
    assert!(state.is_degraded());
}
