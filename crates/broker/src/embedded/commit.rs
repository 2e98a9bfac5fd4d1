use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::engine::Engine;
use super::journal::Due;
use super::record::Record;
use crate::{BrokerError, BrokerStatus, Headers, Queue, SET_ASIDE_MESSAGES_MAX};

/// Waiting messages moved into their queues by one commit at most.
const DUE_MAX: usize = 500;

/// How long acknowledgements wait for a commit that somebody needs before they get their own. What
/// a crash finds uncommitted comes again.
pub(super) const SETTLED_WAIT: Duration = Duration::from_millis(2);

/// How many of them do not wait.
const SETTLED_MAX: usize = 2_000;

/// How often writing is tried while the disk refuses.
const RETRY_EVERY: Duration = Duration::from_secs(1);

/// What shares the next commit.
#[derive(Debug, Default)]
pub(super) struct Group {
    pub(super) records: Vec<Record>,
    pub(super) answers: Vec<oneshot::Sender<Result<(), BrokerError>>>,
    pub(super) rooms: Vec<OwnedSemaphorePermit>,
    pub(super) closed: Option<oneshot::Sender<()>>,
}

impl Engine {
    /// Commits the group, and what is acknowledged and due, if any of it is worth it now.
    pub(super) fn commit(&mut self, group: Group, ending: bool) {
        let now_ms = ambient::now().as_millis();
        let due = self.next_due_ms.is_some_and(|due| due <= now_ms);
        let settled: usize = self.settled.iter().map(Vec::len).sum();
        let waited = self
            .settled_since
            .is_some_and(|since| since.elapsed() >= SETTLED_WAIT);
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
                    self.waiting += 1;
                    self.next_due_ms = Some(self.next_due_ms.map_or(due, |next| next.min(due)));
                }
            }
        }
        if released.is_empty() {
            return;
        }
        self.waiting -= u64::try_from(released.len()).expect("a usize is no larger");
        for due in released {
            self.append(due.queue, None, due.body);
        }
        match self.journal.next_due_ms() {
            Ok(next) => self.next_due_ms = next,
            // What is known stays known: the next commit looks again.
            Err(error) => tracing::error!(%error, "the queue file cannot be read"),
        }
    }

    fn append(&mut self, queue: Queue, headers: Option<Headers>, body: Bytes) {
        let lane = &mut self.lanes[queue.index()];
        lane.append(lane.last_id() + 1, headers, body);
        if queue.is_set_aside() && lane.depth().ready > SET_ASIDE_MESSAGES_MAX.into() {
            match lane.pop(&self.journal) {
                Ok(oldest) => {
                    self.settled[queue.index()].extend(oldest.map(|(id, _)| id));
                    self.settled_since.get_or_insert_with(Instant::now);
                }
                Err(error) => tracing::error!(%error, "the queue file cannot be read"),
            }
        }
    }

    fn recovered(&mut self) {
        if self.retry_at.take().is_some() {
            tracing::info!("the queue file can be used again");
            *self.status.write() = BrokerStatus::Connected;
        }
    }

    pub(super) fn failed(&mut self, error: &rusqlite::Error) {
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
    BrokerStatus::Blocked {
        reason: format!("the queue file: {error}"),
    }
}

fn unavailable(error: &rusqlite::Error) -> BrokerError {
    // One error goes to many publishers, so its text has to do as the source.
    BrokerError::Unavailable {
        reason: format!("the queue file: {error}"),
        source: None,
    }
}
