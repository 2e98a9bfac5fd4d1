//! The embedded queue: one file, one process, the same contract.
//!
//! A thread owns the file and commits in groups; a confirm follows the commit. Messages wait for
//! their time in the file, exactly, and ready ones are kept in memory up to a bound.

mod command;
mod commit;
mod engine;
mod journal;
mod lane;
mod record;
mod subscriber;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc as std_mpsc;

use async_trait::async_trait;
use parking_lot::RwLock;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::command::{Command, Line};
use self::engine::Engine;
use self::journal::Journal;
use self::record::Record;
use crate::{
    Broker, BrokerError, BrokerStatus, Consumer, Incoming, OpenError, Publication, Queue,
    QueueDepth, QueueLook,
};

/// The queue's file in its directory.
const FILE: &str = "queue.db";

/// Records that publishers may have waiting for a commit; beyond that `publish` waits.
const WAITING_RECORDS_MAX: usize = 20_000;

/// Acknowledgements passed on to the engine at once.
const SETTLED_GROUP_MAX: usize = 1_024;

#[derive(Debug)]
pub(crate) struct Embedded {
    commands: std_mpsc::Sender<Command>,
    room: Arc<Semaphore>,
    subscribers: AtomicU64,
    status: Arc<RwLock<BrokerStatus>>,
    forwards: TaskTracker,
    closed: CancellationToken,
}

impl Embedded {
    /// Opens the queue in `directory`, which is made if it is missing.
    pub(crate) fn open(directory: &Path) -> Result<Self, OpenError> {
        let path = directory.join(FILE);
        let failed = |source: Box<dyn std::error::Error + Send + Sync>| OpenError::Queue {
            path: path.clone(),
            source,
        };
        make_private(directory).map_err(|error| failed(error.into()))?;
        let journal = Journal::open(&path)?;
        let status = Arc::new(RwLock::new(BrokerStatus::Connected));
        let engine = Engine::open(journal, Arc::clone(&status)).map_err(|e| failed(e.into()))?;
        let (commands, inbox) = std_mpsc::channel();
        std::thread::Builder::new()
            .name("fanfare-queue".to_owned())
            .spawn(move || engine.run(&inbox))
            .map_err(|error| failed(error.into()))?;
        Ok(Self {
            commands,
            room: Arc::new(Semaphore::new(WAITING_RECORDS_MAX)),
            subscribers: AtomicU64::new(0),
            status,
            forwards: TaskTracker::new(),
            closed: CancellationToken::new(),
        })
    }

    fn next_subscriber(&self) -> u64 {
        self.subscribers.fetch_add(1, Ordering::Relaxed)
    }

    fn forward(&self, subscriber: u64, settled: mpsc::UnboundedReceiver<u64>) -> Forward {
        let commands = self.commands.clone();
        Forward {
            subscriber,
            settled,
            commands,
            closed: self.closed.clone(),
        }
    }

    async fn ask<T>(
        &self,
        answered: oneshot::Receiver<T>,
        command: Command,
    ) -> Result<T, BrokerError> {
        self.commands.send(command).map_err(|_| closed())?;
        answered.await.map_err(|_| closed())
    }
}

/// What is queued is the customers' own: only this user may read a directory made here.
fn make_private(directory: &Path) -> std::io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(directory)
}

fn closed() -> BrokerError {
    BrokerError::Unavailable {
        reason: "the queue is closed".to_owned(),
        source: None,
    }
}

#[async_trait]
impl Broker for Embedded {
    async fn publish(&self, publications: Vec<Publication>) -> Result<(), BrokerError> {
        if publications.is_empty() {
            return Ok(());
        }
        let now = ambient::now();
        let records: Vec<_> = publications
            .into_iter()
            .map(|publication| Record::new(publication, now))
            .collect();
        let room = u32::try_from(records.len().min(WAITING_RECORDS_MAX)).unwrap_or(u32::MAX);
        let room = Arc::clone(&self.room)
            .acquire_many_owned(room)
            .await
            .map_err(|_| closed())?;
        let (answer, answered) = oneshot::channel();
        self.ask(
            answered,
            Command::Publish {
                records,
                answer,
                room,
            },
        )
        .await?
    }

    fn consume(&self, queue: Queue, prefetch: u16) -> Consumer {
        let prefetch = prefetch.max(1);
        let subscriber = self.next_subscriber();
        let (incoming, messages) = mpsc::channel(usize::from(prefetch));
        let (settle, settled) = mpsc::unbounded_channel();
        let forward = self.forward(subscriber, settled);
        let line = Line {
            incoming: incoming.clone(),
            settle,
        };
        let subscribe = Command::Subscribe {
            subscriber,
            queue,
            prefetch,
            line,
        };
        // A queue that is closed drops the command, and the stream ends at once.
        if !self.closed.is_cancelled() && self.commands.send(subscribe).is_ok() {
            self.forwards.spawn(forward.until_dropped(incoming));
        }
        Consumer { incoming: messages }
    }

    async fn take(&self, queue: Queue, limit: u32) -> Result<Vec<Incoming>, BrokerError> {
        let subscriber = self.next_subscriber();
        let (settle, settled) = mpsc::unbounded_channel();
        let (answer, answered) = oneshot::channel();
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        // It works also if the caller goes away before the answer comes.
        self.forwards
            .spawn(self.forward(subscriber, settled).until_settled());
        self.ask(
            answered,
            Command::Take {
                subscriber,
                queue,
                limit,
                settle,
                answer,
            },
        )
        .await?
    }

    async fn depth(&self, queue: Queue) -> Result<QueueDepth, BrokerError> {
        let (answer, answered) = oneshot::channel();
        self.ask(answered, Command::Depth { queue, answer }).await
    }

    async fn look(&self) -> Result<Vec<QueueLook>, BrokerError> {
        let (answer, answered) = oneshot::channel();
        self.ask(answered, Command::Look { answer }).await
    }

    fn status(&self) -> BrokerStatus {
        self.status.read().clone()
    }

    async fn close(&self) {
        self.closed.cancel();
        // They pass on every acknowledgement given so far.
        self.forwards.close();
        self.forwards.wait().await;
        let (closed, waiting) = oneshot::channel();
        let _closed_before = self.ask(waiting, Command::Close { closed }).await;
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        self.closed.cancel();
    }
}

/// Passes a subscriber's acknowledgements on to the engine, many at a time.
struct Forward {
    subscriber: u64,
    settled: mpsc::UnboundedReceiver<u64>,
    commands: std_mpsc::Sender<Command>,
    closed: CancellationToken,
}

impl Forward {
    /// For a consumer: until it is dropped.
    async fn until_dropped(mut self, incoming: mpsc::Sender<Incoming>) {
        loop {
            let mut tags = Vec::new();
            tokio::select! {
                biased;
                received = self.settled.recv_many(&mut tags, SETTLED_GROUP_MAX) => {
                    if received == 0 {
                        break;
                    }
                    self.pass(tags);
                }
                () = incoming.closed() => break,
                () = self.closed.cancelled() => break,
            }
        }
        self.leave();
    }

    /// For messages taken out: until each is settled or dropped.
    async fn until_settled(mut self) {
        loop {
            let mut tags = Vec::new();
            tokio::select! {
                biased;
                received = self.settled.recv_many(&mut tags, SETTLED_GROUP_MAX) => {
                    if received == 0 {
                        break;
                    }
                    self.pass(tags);
                }
                () = self.closed.cancelled() => break,
            }
        }
        self.leave();
    }

    fn pass(&self, tags: Vec<u64>) {
        let _closed = self.commands.send(Command::Settled {
            subscriber: self.subscriber,
            tags,
        });
    }

    fn leave(mut self) {
        // Given before the reason to leave, but after this was last looked at.
        let mut tags = Vec::new();
        while let Ok(tag) = self.settled.try_recv() {
            tags.push(tag);
        }
        if !tags.is_empty() {
            self.pass(tags);
        }
        let _closed = self.commands.send(Command::Leave {
            subscriber: self.subscriber,
        });
    }
}
