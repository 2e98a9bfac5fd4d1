//! RabbitMQ: two connections, one to publish and one to consume, so that a broker that blocks
//! publishers still takes acknowledgements.

mod acks;
mod consumer;
mod declare;
mod link;
mod message;
mod onward;
mod publisher;
mod session;
mod take;
mod window;

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use lapin::uri::AMQPUri;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::consumer::Subscription;
pub use self::declare::Mismatch;
use self::link::Link;
use self::publisher::Publisher;
use self::session::{broker_error, unavailable};
use crate::topology::Topology;
use crate::{
    Broker, BrokerError, BrokerStatus, Consumer, Incoming, Publication, Queue, QueueDepth,
    QueueLook,
};

/// How long a question to the broker may take.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// How long closing may take.
const CLOSE_LIMIT: Duration = Duration::from_secs(3);

pub(crate) struct RabbitMq {
    publishing: Link,
    consuming: Link,
    publisher: Publisher,
    workers: TaskTracker,
    links: TaskTracker,
    /// Stops consumers and the publisher.
    stopped: CancellationToken,
    /// Closes the connections, once those have stopped.
    closed: CancellationToken,
}

impl RabbitMq {
    /// Connects in the background.
    pub(crate) fn open(hosts: Vec<AMQPUri>, name: &str) -> Self {
        install_crypto();
        let (workers, links) = (TaskTracker::new(), TaskTracker::new());
        let (stopped, closed) = (CancellationToken::new(), CancellationToken::new());
        let link = |purpose: &str| {
            Link::open(
                hosts.clone(),
                format!("{name} {purpose}"),
                &links,
                closed.clone(),
            )
        };
        let (publishing, consuming) = (link("publishing"), link("consuming"));
        let (publisher, task) = Publisher::new(&publishing, stopped.clone());
        workers.spawn(task);
        Self {
            publishing,
            consuming,
            publisher,
            workers,
            links,
            stopped,
            closed,
        }
    }

    async fn ask<T>(
        answer: impl Future<Output = Result<T, lapin::Error>>,
    ) -> Result<T, BrokerError> {
        timeout(ANSWER_LIMIT, answer)
            .await
            .map_err(|_| unavailable("no answer in time"))?
            .map_err(broker_error)
    }
}

/// `amqps` needs a provider of cryptography; the process may have chosen one.
fn install_crypto() {
    let _there_is_one = rustls::crypto::ring::default_provider().install_default();
}

#[async_trait]
impl Broker for RabbitMq {
    async fn publish(&self, publications: Vec<Publication>) -> Result<(), BrokerError> {
        self.publisher.publish(publications, ambient::now()).await
    }

    fn consume(&self, queue: Queue, prefetch: u16) -> Consumer {
        let prefetch = prefetch.max(1);
        let (incoming, messages) = mpsc::channel(usize::from(prefetch));
        let subscription = Subscription {
            link: self.consuming.clone(),
            publisher: self.publisher.clone(),
            queue,
            prefetch,
            incoming,
            stopped: self.stopped.clone(),
        };
        self.workers.spawn(subscription.run());
        Consumer { incoming: messages }
    }

    async fn take(&self, queue: Queue, limit: u32) -> Result<Vec<Incoming>, BrokerError> {
        let connection = self.consuming.connection()?;
        let stopped = self.stopped.clone();
        Self::ask(take::take(
            &connection,
            queue,
            limit,
            &self.workers,
            stopped,
        ))
        .await
    }

    async fn depth(&self, queue: Queue) -> Result<QueueDepth, BrokerError> {
        let connection = self.consuming.connection()?;
        Self::ask(take::depth(&connection, queue)).await
    }

    async fn look(&self) -> Result<Vec<QueueLook>, BrokerError> {
        let connection = self.consuming.connection()?;
        Self::ask(take::look(&connection, &Topology::fanfare())).await
    }

    fn status(&self) -> BrokerStatus {
        match self.publishing.state().status() {
            BrokerStatus::Connected => self.consuming.state().status(),
            blocked_or_away => blocked_or_away,
        }
    }

    async fn close(&self) {
        let orderly = async {
            self.stopped.cancel();
            self.workers.close();
            self.workers.wait().await;
            self.closed.cancel();
            self.links.close();
            self.links.wait().await;
        };
        let _the_broker_gives_back_what_it_misses = timeout(CLOSE_LIMIT, orderly).await;
        self.closed.cancel();
    }
}

impl Drop for RabbitMq {
    fn drop(&mut self) {
        self.stopped.cancel();
        self.closed.cancel();
    }
}

impl fmt::Debug for RabbitMq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The rest holds addresses with passwords.
        f.debug_struct("RabbitMq")
            .field("status", &self.status())
            .finish_non_exhaustive()
    }
}

/// Declares the topology on the first host that answers.
pub(crate) async fn apply(hosts: &[AMQPUri], topology: &Topology) -> Result<(), BrokerError> {
    let connection = connect_any(hosts).await?;
    RabbitMq::ask(declare::apply(&connection, topology)).await
}

/// Compares the first host that answers with the topology.
pub(crate) async fn verify(
    hosts: &[AMQPUri],
    topology: &Topology,
) -> Result<Vec<Mismatch>, BrokerError> {
    let connection = connect_any(hosts).await?;
    RabbitMq::ask(declare::verify(&connection, topology)).await
}

async fn connect_any(hosts: &[AMQPUri]) -> Result<lapin::Connection, BrokerError> {
    install_crypto();
    let mut failure = unavailable("the URL names no host");
    for host in hosts {
        match RabbitMq::ask(link::connect(host, "fanfare topology")).await {
            Ok(connection) => return Ok(connection),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}
