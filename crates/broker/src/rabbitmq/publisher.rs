use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use lapin::options::ConfirmSelectOptions;
use lapin::{Channel, Connection};
use model::Timestamp;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::declare;
use super::link::{Link, LinkState};
use super::message::Message;
use super::session::{Backoff, unavailable};
use super::window::Window;
use crate::{BrokerError, Publication};

/// Calls to `publish` that wait for their turn; the next one waits up to [`TURN_LIMIT`].
const JOBS_MAX: usize = 1_024;

/// How long a call may wait for a place in that line.
const TURN_LIMIT: Duration = Duration::from_secs(1);

/// How long a confirm may take.
const CONFIRM_LIMIT: Duration = Duration::from_secs(10);

/// How long opening a channel may take.
const OPEN_LIMIT: Duration = Duration::from_secs(5);

/// How often the age of the oldest unconfirmed message is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A batch to publish.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) messages: Vec<Message>,
    pub(super) answer: oneshot::Sender<Result<(), BrokerError>>,
}

impl Job {
    fn fail(self, reason: &str) {
        let _caller_gone = self.answer.send(Err(unavailable(reason)));
    }
}

/// Publishes batches over one channel with confirms.
#[derive(Clone, Debug)]
pub(super) struct Publisher {
    jobs: mpsc::Sender<Job>,
    link: watch::Receiver<LinkState>,
}

impl Publisher {
    /// The handle, and the task that does the work.
    pub(super) fn new(
        link: &Link,
        stopped: CancellationToken,
    ) -> (Self, impl Future<Output = ()> + Send + use<>) {
        let (jobs, waiting) = mpsc::channel(JOBS_MAX);
        let task = Task {
            jobs: waiting,
            link: link.clone(),
            stopped,
        };
        (
            Self {
                jobs,
                link: link.watch(),
            },
            task.run(),
        )
    }

    pub(super) async fn publish(
        &self,
        publications: Vec<Publication>,
        now: Timestamp,
    ) -> Result<(), BrokerError> {
        self.send(
            publications
                .into_iter()
                .map(|p| Message::new(p, now))
                .collect(),
        )
        .await
    }

    /// Returns once every message is confirmed.
    pub(super) async fn send(&self, messages: Vec<Message>) -> Result<(), BrokerError> {
        if messages.is_empty() {
            return Ok(());
        }
        match &*self.link.borrow() {
            LinkState::Up(_) => {}
            LinkState::Blocked(_, reason) | LinkState::Away(reason) => {
                return Err(unavailable(reason.as_str()));
            }
        }
        let (answer, answered) = oneshot::channel();
        timeout(TURN_LIMIT, self.jobs.send(Job { messages, answer }))
            .await
            .map_err(|_| unavailable("too much waits to be published"))?
            .map_err(|_| unavailable("closed"))?;
        answered
            .await
            .map_err(|_| unavailable("the connection broke before the confirm"))?
    }
}

/// How a session ended.
enum End {
    Stopped,
    Broken(lapin::Error),
    /// The connection is gone, or does not answer.
    Lost(&'static str),
}

struct Task {
    jobs: mpsc::Receiver<Job>,
    link: Link,
    stopped: CancellationToken,
}

impl Task {
    async fn run(mut self) {
        let mut backoff = Backoff::default();
        let stopped = self.stopped.clone();
        loop {
            let link = self.link.clone();
            let connection = tokio::select! {
                connection = refuse_until(&mut self.jobs, link.connected()) => connection,
                () = stopped.cancelled() => return,
            };
            let Some(connection) = connection else {
                return;
            };
            let began = Instant::now();
            match self.session(&connection).await {
                End::Stopped => return,
                End::Lost(reason) => tracing::warn!(reason, "publishing stopped"),
                End::Broken(error) => {
                    tracing::warn!(%error, "publishing stopped");
                    // If only the channel broke, something may be missing.
                    refuse_until(&mut self.jobs, declare::mend(&connection)).await;
                }
            }
            if began.elapsed() > CONFIRM_LIMIT {
                backoff = Backoff::default();
            }
            tokio::select! {
                () = refuse_until(&mut self.jobs, backoff.wait()) => {}
                () = stopped.cancelled() => return,
            }
        }
    }

    async fn session(&mut self, connection: &Arc<Connection>) -> End {
        let mut opening = pin!(timeout(OPEN_LIMIT, confirming_channel(connection)));
        // The connection is up, so what comes meanwhile waits, as long as it would for its turn.
        let opened = match timeout(TURN_LIMIT, &mut opening).await {
            Ok(opened) => opened,
            Err(_) => refuse_until(&mut self.jobs, opening).await,
        };
        let channel = match opened {
            Ok(Ok(channel)) => channel,
            Ok(Err(error)) => return End::Broken(error),
            Err(_) => return End::Lost("no answer in time"),
        };
        let mut window = Window::new(Arc::new(channel));
        let mut link = self.link.watch();
        let mut blocked = None;
        let mut look = tokio::time::interval(LOOK_EVERY);
        loop {
            while window.feed() {
                let Ok(job) = self.jobs.try_recv() else { break };
                take_in(&mut window, job, blocked.as_deref());
            }
            tokio::select! {
                biased;
                settled = poll_fn(|cx| window.poll_settle(cx)), if !window.is_empty() => {
                    if let Err(error) = settled {
                        return End::Broken(error);
                    }
                    if window.take_unroutable() {
                        declare::mend(connection).await;
                    }
                }
                job = self.jobs.recv(), if window.has_room() => match job {
                    Some(job) => take_in(&mut window, job, blocked.as_deref()),
                    None => return End::Stopped,
                },
                changed = link.changed() => {
                    if changed.is_err() {
                        return End::Stopped;
                    }
                    match &*link.borrow_and_update() {
                        LinkState::Up(now) if Arc::ptr_eq(now, connection) => {
                            window.rejuvenate(Instant::now());
                            blocked = None;
                        }
                        LinkState::Blocked(now, reason) if Arc::ptr_eq(now, connection) => {
                            window.abandon(reason);
                            blocked = Some(reason.clone());
                        }
                        LinkState::Up(_) | LinkState::Blocked(..) | LinkState::Away(_) => {
                            return End::Lost("the connection is gone");
                        }
                    }
                }
                _ = look.tick() => {
                    let oldest = window.oldest().map(|since| since.elapsed());
                    if blocked.is_none() && oldest.is_some_and(|age| age >= CONFIRM_LIMIT) {
                        return End::Lost("no confirm in time");
                    }
                }
                () = self.stopped.cancelled() => return End::Stopped,
            }
        }
    }
}

async fn confirming_channel(connection: &Connection) -> Result<Channel, lapin::Error> {
    let channel = connection.create_channel().await?;
    channel
        .confirm_select(ConfirmSelectOptions::default())
        .await?;
    Ok(channel)
}

fn take_in(window: &mut Window, job: Job, blocked: Option<&str>) {
    match blocked {
        Some(reason) => job.fail(reason),
        None => window.begin(job),
    }
}

/// Tells every job that comes while `done` is not that there is no connection.
async fn refuse_until<T>(jobs: &mut mpsc::Receiver<Job>, done: impl Future<Output = T>) -> T {
    let mut done = pin!(done);
    loop {
        tokio::select! {
            biased;
            done = &mut done => return done,
            Some(job) = jobs.recv() => job.fail("not connected"),
        }
    }
}
