//! Copying the write-ahead log into the database file, beside the writer.
//!
//! Left to itself, SQLite lets the commit that crosses a limit copy the whole log: tens of
//! milliseconds that every caller behind it waits for. And a checkpoint beside a busy writer never
//! catches up with it, so that the log would grow without end. So it is done in two steps: a
//! thread of its own copies the bulk while commits go on, then the writer itself copies what was
//! added meanwhile, which lets the log begin anew.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use rusqlite::Connection;

use super::connection::DatabaseFile;

/// Pages of 4 KiB in the log from which on it is copied beside the writer, each time it has grown
/// by as many.
pub(super) const START_AT_PAGES: i32 = 4_000;

/// Pages from which on the writer finishes what the checkpointer has just done.
pub(super) const FINISH_AT_PAGES: i32 = 12_000;

/// The handle; the thread ends when it is dropped.
#[derive(Debug)]
pub(super) struct Checkpointer {
    wanted: SyncSender<()>,
    finished: Arc<AtomicBool>,
}

impl Checkpointer {
    pub(super) fn spawn(file: Arc<DatabaseFile>) -> std::io::Result<Self> {
        let (wanted, wants) = sync_channel(1);
        let finished = Arc::new(AtomicBool::new(false));
        let tell = Arc::clone(&finished);
        std::thread::Builder::new()
            .name("store-checkpoint".to_owned())
            .spawn(move || run(&file, &wants, &tell))?;
        Ok(Self { wanted, finished })
    }

    /// Asks for a checkpoint, if none is under way.
    pub(super) fn start(&self) {
        // Full: one is waiting to run already, and it will copy everything.
        let _asked = self.wanted.try_send(());
    }

    /// Whether one has finished since this was asked last.
    pub(super) fn take_finished(&self) -> bool {
        self.finished.swap(false, Ordering::Relaxed)
    }
}

fn run(file: &DatabaseFile, wants: &Receiver<()>, finished: &AtomicBool) {
    let mut open: Option<Connection> = None;
    while wants.recv().is_ok() {
        let connection = match open.take() {
            Some(connection) => Ok(connection),
            None => file.writing(),
        };
        let done = connection.and_then(|connection| checkpoint(&connection).map(|()| connection));
        match done {
            Ok(connection) => {
                finished.store(true, Ordering::Relaxed);
                open = Some(connection);
            }
            // The writer meets the same disk and reports it to those who wait for it.
            Err(error) => tracing::debug!(%error, "a checkpoint failed"),
        }
    }
}

/// Copies what no reader holds back; never waits for anybody.
pub(super) fn checkpoint(connection: &Connection) -> rusqlite::Result<()> {
    connection
        .prepare_cached("PRAGMA wal_checkpoint(PASSIVE)")?
        .query_row([], |_| Ok(()))
}
