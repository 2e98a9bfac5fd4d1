use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use broker::{Broker, BrokerStatus, Consumer, Destination, Incoming, Options, Publication, Queue};
use bytes::Bytes;
use tempfile::TempDir;
use testkit::{Services, eventually};

/// How long anything that has to happen may take.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);

/// How long is waited for what must not happen.
pub(crate) const QUIET: Duration = Duration::from_millis(300);

/// Where a test's queues are: nobody else uses them.
pub(crate) struct Place {
    pub(crate) url: String,
    /// Whether messages wait as exactly as the process's own timer.
    pub(crate) is_exact: bool,
    _folder: Option<TempDir>,
    _vhost: Option<Vhost>,
}

/// A virtual host on the shared broker. Its sixty queues would slow the tests that follow.
struct Vhost {
    name: String,
}

impl Drop for Vhost {
    #[expect(
        clippy::disallowed_methods,
        reason = "tests are told by environment of the services"
    )]
    fn drop(&mut self) {
        let Ok(rabbitmqctl) = std::env::var("FANFARE_TEST_RABBITMQCTL") else {
            return;
        };
        let mut delete = Command::new(rabbitmqctl);
        delete
            .args(["delete_vhost", &self.name])
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        if let Ok(mut child) = delete.spawn() {
            // Nobody waits for it; it goes on when the test process ends.
            std::thread::spawn(move || child.wait());
        }
    }
}

impl Place {
    pub(crate) fn embedded() -> Self {
        let folder = testkit::scratch_folder().expect("a temporary folder");
        let url = format!("embedded://{}", folder.path().join("queue").display());
        Self {
            url,
            is_exact: true,
            _folder: Some(folder),
            _vhost: None,
        }
    }

    pub(crate) async fn rabbitmq() -> Self {
        let services = Services::shared().expect("services");
        let url = services.fresh_vhost().await.expect("a virtual host");
        let name = url
            .rsplit('/')
            .next()
            .expect("a URL with a virtual host")
            .to_owned();
        Self {
            url,
            is_exact: false,
            _folder: None,
            _vhost: Some(Vhost { name }),
        }
    }

    /// What an embedded queue takes up.
    pub(crate) fn bytes_on_disk(&self) -> u64 {
        let (_, directory) = self.url.split_once("://").expect("a URL");
        let files = std::fs::read_dir(directory).expect("the queue's directory");
        files
            .map(|file| file.and_then(|file| file.metadata()).expect("a file").len())
            .sum()
    }

    pub(crate) async fn open(&self) -> Arc<dyn Broker> {
        open(&self.url).await
    }
}

/// Opens a broker and waits until it is there.
pub(crate) async fn open(url: &str) -> Arc<dyn Broker> {
    let broker = broker::open(url, Options::default())
        .await
        .expect("a broker");
    connected(&broker, LIMIT).await;
    broker
}

pub(crate) async fn connected(broker: &Arc<dyn Broker>, limit: Duration) {
    eventually("a connection", limit, async || {
        (broker.status() == BrokerStatus::Connected).then_some(())
    })
    .await
    .unwrap();
}

pub(crate) fn delivery(body: impl ToString) -> Publication {
    to(
        Destination::Delivery {
            urgent: false,
            due_at: None,
        },
        body,
    )
}

pub(crate) fn delayed(urgent: bool, delay: Duration) -> Publication {
    let due_at = ambient::now().plus(delay);
    to(
        Destination::Delivery {
            urgent,
            due_at: Some(due_at),
        },
        due_at.as_micros(),
    )
}

pub(crate) fn to(to: Destination, body: impl ToString) -> Publication {
    Publication {
        to,
        body: Bytes::from(body.to_string()),
    }
}

pub(crate) async fn next(consumer: &mut Consumer) -> Incoming {
    tokio::time::timeout(LIMIT, consumer.next())
        .await
        .expect("a message in time")
        .expect("open")
}

pub(crate) async fn assert_quiet(consumer: &mut Consumer) {
    let message = tokio::time::timeout(QUIET, consumer.next()).await;
    assert!(message.is_err(), "unexpected: {message:?}");
}

pub(crate) fn text(message: &Incoming) -> String {
    String::from_utf8(message.body.to_vec()).expect("the tests send text")
}

pub(crate) async fn depth_becomes(broker: &Arc<dyn Broker>, queue: Queue, ready: u64) {
    eventually("the depth", LIMIT, async || {
        (broker.depth(queue).await.expect("a depth").ready == ready).then_some(())
    })
    .await
    .unwrap();
}
