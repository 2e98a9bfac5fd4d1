use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use model::Timestamp;
use parking_lot::RwLock;
use tokio::sync::mpsc;

use super::command::Command;
use super::commit::{Group, SETTLED_WAIT};
use super::journal::Journal;
use super::lane::Lane;
use super::subscriber::Subscriber;
use crate::{BrokerError, BrokerStatus, Incoming, Queue, QueueDepth, QueueLook};

/// Records that share one commit at most, but for those of a single larger batch.
const GROUP_RECORDS_MAX: usize = 2_000;

/// How long the engine sleeps at most while something waits for its time: the clock may be set.
const CLOCK_CHECK: Duration = Duration::from_secs(1);

/// The name under which what waits for its time is looked at.
const WAITING: &str = "fanfare.delay";

/// Owns the queue file and everything in memory; runs on a thread of its own.
///
/// It repeats: take every command that has come, commit what they publish and acknowledge and
/// what has become due in one transaction, answer, hand out.
pub(super) struct Engine {
    pub(super) journal: Journal,
    pub(super) lanes: [Lane; Queue::ALL.len()],
    subscribers: HashMap<u64, Subscriber>,
    pub(super) next_due_ms: Option<i64>,
    /// Messages that wait for their time.
    pub(super) waiting: u64,
    pub(super) settled: [Vec<i64>; Queue::ALL.len()],
    pub(super) settled_since: Option<Instant>,
    /// Set while the disk refuses: when to try again.
    pub(super) retry_at: Option<Instant>,
    pub(super) status: Arc<RwLock<BrokerStatus>>,
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
            waiting: journal.waiting()?,
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
            Command::Publish {
                records,
                answer,
                room,
            } => {
                group.records.extend(records);
                group.answers.push(answer);
                group.rooms.push(room);
            }
            Command::Subscribe {
                subscriber,
                queue,
                prefetch,
                line,
            } => {
                let prefetch = usize::from(prefetch);
                let unsettled = HashSet::new();
                let new = Subscriber {
                    queue,
                    prefetch,
                    line: Some(line),
                    unsettled,
                };
                self.subscribers.insert(subscriber, new);
                self.lanes[queue.index()].subscribers.push_back(subscriber);
            }
            Command::Take {
                subscriber,
                queue,
                limit,
                settle,
                answer,
            } => {
                let mut taker = Subscriber {
                    queue,
                    prefetch: 0,
                    line: None,
                    unsettled: HashSet::new(),
                };
                let taken = self.give(&mut taker, limit, &settle);
                self.subscribers.insert(subscriber, taker);
                let _caller_gone = answer.send(taken);
            }
            Command::Settled { subscriber, tags } => self.settle(subscriber, &tags),
            Command::Leave { subscriber } => self.leave(subscriber),
            Command::Depth { queue, answer } => {
                let _caller_gone = answer.send(self.lanes[queue.index()].depth());
            }
            Command::Look { answer } => {
                let _caller_gone = answer.send(self.look());
            }
            Command::Close { closed } => group.closed = Some(closed),
        }
    }

    fn look(&self) -> Vec<QueueLook> {
        let of = |name: &str, delays, depth| QueueLook {
            name: name.to_owned(),
            delays,
            depth,
        };
        let waiting = QueueDepth {
            ready: self.waiting,
            consumers: 0,
        };
        let lanes = Queue::ALL.into_iter().zip(&self.lanes);
        lanes
            .map(|(queue, lane)| of(queue.as_str(), false, lane.depth()))
            .chain([of(WAITING, true, waiting)])
            .collect()
    }

    fn settle(&mut self, subscriber: u64, tags: &[u64]) {
        let Some(subscriber) = self.subscribers.get_mut(&subscriber) else {
            return;
        };
        let settled = &mut self.settled[subscriber.queue.index()];
        for tag in tags {
            let id = tag.cast_signed();
            if subscriber.unsettled.remove(&id) {
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
        for id in gone.unsettled {
            lane.put_back(id);
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
                let served = lane
                    .subscribers
                    .back()
                    .and_then(|id| self.subscribers.get_mut(id));
                served
                    .expect("the one found above is at the back now")
                    .send(id, stored);
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
        let settled = self
            .settled_since
            .map(|since| SETTLED_WAIT.saturating_sub(since.elapsed()));
        match (due, settled) {
            (Some(due), Some(settled)) => Some(due.min(settled)),
            (due, settled) => due.or(settled),
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        *self.status.write() = BrokerStatus::Away {
            reason: "closed".to_owned(),
        };
    }
}

fn unreadable(error: rusqlite::Error) -> BrokerError {
    BrokerError::Unavailable {
        reason: "the queue file cannot be read".to_owned(),
        source: Some(Box::new(error)),
    }
}
