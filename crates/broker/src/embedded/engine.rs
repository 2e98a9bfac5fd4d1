use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use model::Timestamp;
use parking_lot::RwLock;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use super::journal::{Due, Journal};
use super::lane::{Lane, Stored};
use super::record::{Record, plain_headers};
use crate::{Ack, BrokerError, BrokerStatus, Incoming, Queue, QueueDepth};

/// Records that share one commit at most, but for those of a single larger batch.
pub(super) const GROUP_RECORDS_MAX: usize = 2_000;

/// Waiting messages moved into their queues by one commit at most.
const DUE_MAX: usize = 500;

/// How long acknowledgements wait for a commit that somebody needs before they get their own.
const SETTLED_WAIT: Duration = Duration::from_millis(5);

/// How many of them do not wait.
const SETTLED_MAX: usize = 2_000;

/// How often writing is tried while the disk refuses.
const RETRY_EVERY: Duration = Duration::from_secs(1);

/// How long the engine sleeps at most while something waits for its time: the clock may be set.
const CLOCK_CHECK: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) enum Command {
    Publish {
        records: Vec<Record>,
        answer: oneshot::Sender<Result<(), BrokerError>>,
        /// Frees the room the records took once they are committed.
        room: OwnedSemaphorePermit,
    },
    Subscribe {
        subscriber: u64,
        queue: Queue,
        prefetch: u16,
        line: Line,
    },
    Take {
        subscriber: u64,
        queue: Queue,
        limit: usize,
        settle: mpsc::UnboundedSender<u64>,
        answer: oneshot::Sender<Result<Vec<Incoming>, BrokerError>>,
    },
    Settled {
        subscriber: u64,
        tags: Vec<u64>,
    },
    /// The subscriber is gone: what it did not settle goes back.
    Leave {
        subscriber: u64,
    },
    Depth {
        queue: Queue,
        answer: oneshot::Sender<QueueDepth>,
    },
    Close {
        closed: oneshot::Sender<()>,
    },
}

#[derive(Debug)]
struct Subscriber {
    queue: Queue,
    prefetch: usize,
    /// `None` for one that took a handful and gets no more.
    line: Option<Line>,
    unsettled: HashMap<i64, Stored>,
}

/// Where a consumer's messages go, and where its acknowledgements come from.
#[derive(Clone, Debug)]
pub(super) struct Line {
    pub(super) incoming: mpsc::Sender<Incoming>,
    pub(super) settle: mpsc::UnboundedSender<u64>,
}

impl Subscriber {
    fn has_credit(&self) -> bool {
        self.line.is_some() && self.unsettled.len() < self.prefetch
    }

    fn message(
        &mut self,
        id: i64,
        stored: Stored,
        settle: mpsc::UnboundedSender<u64>,
    ) -> Incoming {
        let headers = stored.headers.clone().unwrap_or_else(|| plain_headers(self.queue));
        let ack = Ack { settle, tag: id.cast_unsigned() };
        let (body, redelivered) = (stored.body.clone(), stored.redelivered);
        self.unsettled.insert(id, stored);
        Incoming { headers, body, redelivered, ack }
    }

    /// Sends a message to the consumer. If it was dropped meanwhile, its leaving is on its way
    /// and gives everything back.
    fn send(&mut self, id: i64, stored: Stored) {
        let Some(line) = self.line.clone() else {
            return;
        };
        let message = self.message(id, stored, line.settle);
        if line.incoming.try_send(message).is_err() {
            self.line = None;
        }
    }
}

/// What shares the next commit.
#[derive(Debug, Default)]
struct Group {
    records: Vec<Record>,
    answers: Vec<oneshot::Sender<Result<(), BrokerError>>>,
    rooms: Vec<OwnedSemaphorePermit>,
    closed: Option<oneshot::Sender<()>>,
}

/// Owns the queue file and everything in memory; runs on a thread of its own.
///
/// It repeats: take every command that has come, commit what they publish and acknowledge and
/// what has become due in one transaction, answer, hand out.
pub(super) struct Engine {
    journal: Journal,
    lanes: [Lane; Queue::ALL.len()],
    subscribers: HashMap<u64, Subscriber>,
    next_due_ms: Option<i64>,
    settled: [Vec<i64>; Queue::ALL.len()],
    settled_since: Option<Instant>,
    /// Set while the disk refuses: when to try again.
    retry_at: Option<Instant>,
    status: Arc<RwLock<BrokerStatus>>,
}

impl Engine {
    pub(super) fn open(
        journal: Journal,
        status: Arc<RwLock<BrokerStatus>>,
    ) -> rusqlite::Result<Self> {
        let mut lanes = Vec::with_capacity(Queue::ALL.len());
        for queue in Queue::ALL {
            lanes.push(Lane::open(queue, &journal)?);
        }
        Ok(Self {
            next_due_ms: journal.next_due_ms()?,
            lanes: lanes.try_into().expect("one lane for each queue"),
            journal,
            subscribers: HashMap::new(),
            settled: Default::default(),
            settled_since: None,
            retry_at: None,
            status,
        })
    }

    /// Works until told to close, or until nobody is left who could tell it.
    pub(super) fn run(mut self, commands: &Receiver<Command>) {
        let closed = loop {
            let first = match self.sleep_limit() {
                None => commands.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(limit) => commands.recv_timeout(limit),
            };
            let orphaned = matches!(first, Err(RecvTimeoutError::Disconnected));
            let mut group = Group::default();
            for command in first.into_iter().chain(commands.try_iter()) {
                self.take_in(command, &mut group);
                if group.records.len() >= GROUP_RECORDS_MAX || group.closed.is_some() {
                    break;
                }
            }
            let closed = group.closed.take();
            let ending = orphaned || closed.is_some();
            self.commit(group, ending);
            if ending {
                break closed;
            }
            self.hand_out();
        };
        // The lock on the file is gone before anybody hears of it.
        drop(self);
        if let Some(closed) = closed {
            let _nobody_waits = closed.send(());
        }
    }

    fn take_in(&mut self, command: Command, group: &mut Group) {
        match command {
            Command::Publish { records, answer, room } => {
                group.records.extend(records);
                group.answers.push(answer);
                group.rooms.push(room);
            }
            Command::Subscribe { subscriber, queue, prefetch, line } => {
                let prefetch = usize::from(prefetch);
                let unsettled = HashMap::new();
                let new = Subscriber { queue, prefetch, line: Some(line), unsettled };
                self.subscribers.insert(subscriber, new);
                self.lanes[queue.index()].subscribers.push_back(subscriber);
            }
            Command::Take { subscriber, queue, limit, settle, answer } => {
                let mut taker =
                    Subscriber { queue, prefetch: 0, line: None, unsettled: HashMap::new() };
                let taken = self.give(&mut taker, limit, &settle);
                self.subscribers.insert(subscriber, taker);
                let _caller_gone = answer.send(taken);
            }
            Command::Settled { subscriber, tags } => self.settle(subscriber, &tags),
            Command::Leave { subscriber } => self.leave(subscriber),
            Command::Depth { queue, answer } => {
                let lane = &self.lanes[queue.index()];
                let consumers = u64::try_from(lane.subscribers.len()).unwrap_or(u64::MAX);
                let _caller_gone = answer.send(QueueDepth { ready: lane.ready(), consumers });
            }
            Command::Close { closed } => group.closed = Some(closed),
        }
    }

    fn settle(&mut self, subscriber: u64, tags: &[u64]) {
        let Some(subscriber) = self.subscribers.get_mut(&subscriber) else {
            return;
        };
        let settled = &mut self.settled[subscriber.queue.index()];
        for tag in tags {
            let id = tag.cast_signed();
            if subscriber.unsettled.remove(&id).is_some() {
                settled.push(id);
            }
        }
        self.settled_since.get_or_insert_with(Instant::now);
    }

    fn leave(&mut self, subscriber: u64) {
        let Some(gone) = self.subscribers.remove(&subscriber) else {
            return;
        };
        let lane = &mut self.lanes[gone.queue.index()];
        lane.subscribers.retain(|other| *other != subscriber);
        for (id, stored) in gone.unsettled {
            lane.put_back(id, Stored { redelivered: true, ..stored });
        }
    }

    /// Takes up to `limit` messages out for a subscriber that gets no more.
    fn give(
        &mut self,
        taker: &mut Subscriber,
        limit: usize,
        settle: &mpsc::UnboundedSender<u64>,
    ) -> Result<Vec<Incoming>, BrokerError> {
        let lane = &mut self.lanes[taker.queue.index()];
        let mut taken = Vec::new();
        while taken.len() < limit
            && let Some((id, stored)) = lane.pop(&self.journal).map_err(unreadable)?
        {
            taken.push(taker.message(id, stored, settle.clone()));
        }
        Ok(taken)
    }

    /// Hands ready messages to whoever has room for them, in turn.
    fn hand_out(&mut self) {
        let mut failure = None;
        for lane in &mut self.lanes {
            while let Some(position) = lane
                .subscribers
                .iter()
                .position(|id| self.subscribers.get(id).is_some_and(Subscriber::has_credit))
            {
                let (id, stored) = match lane.pop(&self.journal) {
                    Ok(Some(message)) => message,
                    Ok(None) => break,
                    Err(error) => {
                        failure = Some(error);
                        break;
                    }
                };
                lane.subscribers.rotate_left(position + 1);
                let served = lane.subscribers.back().and_then(|id| self.subscribers.get_mut(id));
                served.expect("the one found above is at the back now").send(id, stored);
            }
        }
        if let Some(error) = failure {
            self.failed(&error);
        }
    }

    /// How long there is nothing to do unless a command comes; `None` if that may be for ever.
    fn sleep_limit(&self) -> Option<Duration> {
        if let Some(retry_at) = self.retry_at {
            return Some(retry_at.saturating_duration_since(Instant::now()));
        }
        let due = self.next_due_ms.map(|due| {
            let wait = Timestamp::from_millis(due).since(ambient::now());
            wait.min(CLOCK_CHECK)
        });
        let settled = self.settled_since.map(|since| SETTLED_WAIT.saturating_sub(since.elapsed()));
        match (due, settled) {
            (Some(due), Some(settled)) => Some(due.min(settled)),
            (due, settled) => due.or(settled),
        }
    }

    fn commit(&mut self, group: Group, ending: bool) {
        let now_ms = ambient::now().as_millis();
        let due = self.next_due_ms.is_some_and(|due| due <= now_ms);
        let settled: usize = self.settled.iter().map(Vec::len).sum();
        let waited = self.settled_since.is_some_and(|since| since.elapsed() >= SETTLED_WAIT);
        let acks_wanted = settled > 0 && (waited || ending || settled >= SETTLED_MAX);
        let wanted = match self.retry_at {
            None => !group.records.is_empty() || due || acks_wanted,
            Some(retry_at) => !group.records.is_empty() || ending || retry_at <= Instant::now(),
        };
        if !wanted {
            if settled == 0 {
                self.settled_since = None;
            }
            return;
        }
        let outcome = self.write(&group.records, due.then_some(now_ms));
        drop(group.rooms);
        match outcome {
            Ok(released) => {
                self.recovered();
                self.committed(group.records, released);
                answer(group.answers, || Ok(()));
            }
            Err(error) => {
                self.failed(&error);
                answer(group.answers, || Err(unavailable(&error)));
            }
        }
    }

    /// One transaction: acknowledged rows go, new ones come, due ones move.
    fn write(&mut self, records: &[Record], due_ms: Option<i64>) -> rusqlite::Result<Vec<Due>> {
        for settled in &mut self.settled {
            settled.sort_unstable();
        }
        let mut last = [0; Queue::ALL.len()];
        for (last, lane) in last.iter_mut().zip(&self.lanes) {
            *last = lane.last_id();
        }
        let mut next = |queue: Queue| {
            last[queue.index()] += 1;
            last[queue.index()]
        };
        let writing = self.journal.begin()?;
        for (queue, settled) in Queue::ALL.into_iter().zip(&self.settled) {
            for run in settled.chunk_by(|a, b| a + 1 == *b) {
                writing.delete(queue, &(run[0]..=run[run.len() - 1]))?;
            }
        }
        for record in records {
            match record.due_at_ms {
                None => writing.insert(next(record.queue), record)?,
                Some(due_at_ms) => writing.wait(record, due_at_ms)?,
            }
        }
        let released = match due_ms {
            Some(now_ms) => writing.due(now_ms, DUE_MAX)?,
            None => Vec::new(),
        };
        for due in &released {
            writing.release(next(due.queue), due)?;
        }
        if self.retry_at.is_some() {
            writing.probe()?;
        }
        writing.commit()?;
        Ok(released)
    }

    /// Brings memory in line with what [`Self::write`] committed.
    fn committed(&mut self, records: Vec<Record>, released: Vec<Due>) {
        for settled in &mut self.settled {
            settled.clear();
        }
        self.settled_since = None;
        for record in records {
            match record.due_at_ms {
                None => self.append(record.queue, record.headers, record.body),
                Some(due) => {
                    self.next_due_ms = Some(self.next_due_ms.map_or(due, |next| next.min(due)));
                }
            }
        }
        if released.is_empty() {
            return;
        }
        for due in released {
            self.append(due.queue, None, due.body);
        }
        match self.journal.next_due_ms() {
            Ok(next) => self.next_due_ms = next,
            // What is known stays known: the next commit looks again.
            Err(error) => tracing::error!(%error, "the queue file cannot be read"),
        }
    }

    fn append(&mut self, queue: Queue, headers: Option<crate::Headers>, body: bytes::Bytes) {
        let lane = &mut self.lanes[queue.index()];
        lane.append(lane.last_id() + 1, headers, body);
    }

    fn recovered(&mut self) {
        if self.retry_at.take().is_some() {
            tracing::info!("the queue file can be used again");
            *self.status.write() = BrokerStatus::Connected;
        }
    }

    fn failed(&mut self, error: &rusqlite::Error) {
        if self.retry_at.is_none() {
            tracing::error!(%error, "the queue file cannot be used");
        }
        self.retry_at = Some(Instant::now() + RETRY_EVERY);
        *self.status.write() = away(error);
    }
}

fn answer(
    answers: Vec<oneshot::Sender<Result<(), BrokerError>>>,
    result: impl Fn() -> Result<(), BrokerError>,
) {
    for answer in answers {
        let _caller_gone = answer.send(result());
    }
}

fn away(error: &rusqlite::Error) -> BrokerStatus {
    BrokerStatus::Blocked { reason: format!("the queue file: {error}") }
}

fn unavailable(error: &rusqlite::Error) -> BrokerError {
    // One error goes to many publishers, so its text has to do as the source.
    BrokerError::Unavailable { reason: format!("the queue file: {error}"), source: None }
}

fn unreadable(error: rusqlite::Error) -> BrokerError {
    BrokerError::Unavailable {
        reason: "the queue file cannot be read".to_owned(),
        source: Some(Box::new(error)),
    }
}
