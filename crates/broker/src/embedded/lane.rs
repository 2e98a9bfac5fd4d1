use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;

use super::journal::{Journal, Row};
use crate::{Headers, Queue, QueueDepth};

/// How many messages that are ready a queue keeps in memory; the rest stays in its table.
pub(super) const WINDOW_MESSAGES_MAX: usize = 10_000;

/// How many bytes their bodies may take.
pub(super) const WINDOW_BYTES_MAX: usize = 8 << 20;

/// How many are read from the table at a time.
const READ_MESSAGES: usize = 500;

/// A message in memory.
#[derive(Clone, Debug)]
pub(super) struct Stored {
    pub(super) headers: Option<Headers>,
    pub(super) body: Bytes,
    pub(super) redelivered: bool,
}

/// One queue: the first of its ready messages in memory, the rest in its table.
///
/// A row up to `read_to` is in the window, returned or given out; one beyond is only in the table.
#[derive(Debug)]
pub(super) struct Lane {
    queue: Queue,
    window: BTreeMap<i64, Stored>,
    window_bytes: usize,
    /// Those that came back unsettled: only in the table, too.
    returned: BTreeSet<i64>,
    read_to: i64,
    last_id: i64,
    /// Ids up to here were in the table when it was opened: they may have been given out before.
    inherited_to: i64,
    ready: u64,
    /// Who consumes it, the next to be served first.
    pub(super) subscribers: VecDeque<u64>,
}

impl Lane {
    pub(super) fn open(queue: Queue, journal: &Journal) -> rusqlite::Result<Self> {
        let (last_id, ready) = journal.extent(queue)?;
        Ok(Self {
            queue,
            window: BTreeMap::new(),
            window_bytes: 0,
            returned: BTreeSet::new(),
            read_to: 0,
            last_id,
            inherited_to: last_id,
            ready,
            subscribers: VecDeque::new(),
        })
    }

    pub(super) fn last_id(&self) -> i64 {
        self.last_id
    }

    pub(super) fn depth(&self) -> QueueDepth {
        QueueDepth {
            ready: self.ready,
            consumers: u64::try_from(self.subscribers.len()).unwrap_or(u64::MAX),
        }
    }

    /// Adds a message that has just been committed.
    pub(super) fn append(&mut self, id: i64, headers: Option<Headers>, body: Bytes) {
        let up_to_date = self.read_to == self.last_id;
        self.last_id = id;
        self.ready += 1;
        if up_to_date && self.has_room() {
            self.read_to = id;
            self.hold(
                id,
                Stored {
                    headers,
                    body,
                    redelivered: false,
                },
            );
        }
    }

    /// The next message, read from the table if need be.
    pub(super) fn pop(&mut self, journal: &Journal) -> rusqlite::Result<Option<(i64, Stored)>> {
        if let Some(&id) = self.returned.first()
            && self.window.keys().next().is_none_or(|first| id < *first)
        {
            return self.pop_returned(id, journal).map(Some);
        }
        if self.window.is_empty() && self.read_to < self.last_id {
            self.read(journal)?;
        }
        let popped = self.window.pop_first();
        if let Some((_, stored)) = &popped {
            self.window_bytes -= stored.body.len();
            self.ready -= 1;
        }
        Ok(popped)
    }

    fn pop_returned(&mut self, id: i64, journal: &Journal) -> rusqlite::Result<(i64, Stored)> {
        let rows = journal.read(self.queue, &(id..=id), 1, WINDOW_BYTES_MAX)?;
        let row = rows.into_iter().next();
        let Row { headers, body, .. } = row.ok_or(rusqlite::Error::QueryReturnedNoRows)?;
        self.returned.remove(&id);
        self.ready -= 1;
        let redelivered = true;
        let stored = Stored {
            headers,
            body,
            redelivered,
        };
        Ok((id, stored))
    }

    /// Takes back a message that somebody was given and did not settle.
    pub(super) fn put_back(&mut self, id: i64) {
        self.ready += 1;
        self.returned.insert(id);
    }

    fn has_room(&self) -> bool {
        self.window.len() < WINDOW_MESSAGES_MAX && self.window_bytes < WINDOW_BYTES_MAX
    }

    fn hold(&mut self, id: i64, stored: Stored) {
        self.window_bytes += stored.body.len();
        self.window.insert(id, stored);
    }

    fn read(&mut self, journal: &Journal) -> rusqlite::Result<()> {
        let ids = self.read_to + 1..=self.last_id;
        let rows = journal.read(self.queue, &ids, READ_MESSAGES, WINDOW_BYTES_MAX)?;
        if rows.is_empty() {
            self.read_to = self.last_id;
        }
        for Row { id, headers, body } in rows {
            self.read_to = id;
            let redelivered = id <= self.inherited_to;
            self.hold(
                id,
                Stored {
                    headers,
                    body,
                    redelivered,
                },
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::embedded::record::Record;

    fn publish(journal: &mut Journal, lane: &mut Lane, count: usize, body: &Bytes) {
        let first = lane.last_id() + 1;
        let ids = first..first + i64::try_from(count).unwrap();
        let record = Record {
            queue: Queue::Outcomes,
            due_at_ms: None,
            headers: None,
            body: body.clone(),
        };
        let writing = journal.begin().unwrap();
        for id in ids.clone() {
            writing.insert(id, &record).unwrap();
        }
        writing.commit().unwrap();
        for id in ids {
            lane.append(id, None, body.clone());
        }
    }

    fn drain(journal: &Journal, lane: &mut Lane) -> Vec<i64> {
        std::iter::from_fn(|| lane.pop(journal).unwrap().map(|(id, _)| id)).collect()
    }

    fn check_bound(count: usize, body: &Bytes, in_memory: usize) {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = Journal::open(&dir.path().join("queue.db")).unwrap();
        let mut lane = Lane::open(Queue::Outcomes, &journal).unwrap();
        publish(&mut journal, &mut lane, count, body);
        assert_eq!(lane.window.len(), in_memory);
        assert_eq!(lane.depth().ready, u64::try_from(count).unwrap());
        publish(&mut journal, &mut lane, 2, body);
        let expected: Vec<i64> = (1..=i64::try_from(count + 2).unwrap()).collect();
        assert_eq!(drain(&journal, &mut lane), expected);
        assert_eq!((lane.depth().ready, lane.window_bytes), (0, 0));
        publish(&mut journal, &mut lane, 1, body);
        assert_eq!(
            lane.window.len(),
            1,
            "caught up, so it is kept in memory again"
        );
    }

    #[test]
    fn messages_beyond_the_bounded_window_come_from_the_table_in_order() {
        check_bound(
            WINDOW_MESSAGES_MAX,
            &Bytes::from_static(b"x"),
            WINDOW_MESSAGES_MAX,
        );
        check_bound(
            WINDOW_MESSAGES_MAX + 1,
            &Bytes::from_static(b"x"),
            WINDOW_MESSAGES_MAX,
        );
    }

    #[test]
    fn the_window_is_bounded_in_bytes_too() {
        let body = Bytes::from(vec![0; WINDOW_BYTES_MAX / 4]);
        check_bound(7, &body, 4);
    }

    #[test]
    fn what_is_put_back_comes_first_and_in_its_old_order() {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = Journal::open(&dir.path().join("queue.db")).unwrap();
        let mut lane = Lane::open(Queue::Outcomes, &journal).unwrap();
        publish(&mut journal, &mut lane, 5, &Bytes::from_static(b"x"));
        let first = lane.pop(&journal).unwrap().unwrap();
        let second = lane.pop(&journal).unwrap().unwrap();
        lane.put_back(second.0);
        lane.put_back(first.0);
        assert_eq!(lane.depth().ready, 5);
        let again = lane.pop(&journal).unwrap().unwrap();
        assert_eq!(
            (again.0, again.1.body, again.1.redelivered),
            (1, first.1.body, true)
        );
        assert_eq!(drain(&journal, &mut lane), [2, 3, 4, 5]);
    }

    #[test]
    fn what_is_put_back_takes_no_memory() {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = Journal::open(&dir.path().join("queue.db")).unwrap();
        let mut lane = Lane::open(Queue::Outcomes, &journal).unwrap();
        let body = Bytes::from(vec![0; WINDOW_BYTES_MAX / 4]);
        publish(&mut journal, &mut lane, 12, &body);
        for id in drain(&journal, &mut lane) {
            lane.put_back(id);
        }
        assert_eq!((lane.window.len(), lane.window_bytes), (0, 0));
        assert_eq!(drain(&journal, &mut lane).len(), 12);
    }
}
