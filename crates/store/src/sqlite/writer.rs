//! The one connection that writes, on a thread of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};

use rusqlite::hooks::Wal;
use rusqlite::{Connection, Transaction, TransactionBehavior};
use tokio::sync::{mpsc, oneshot};

use super::checkpoint::{Checkpointer, FINISH_AT_PAGES, START_AT_PAGES, checkpoint};
use super::connection::DatabaseFile;
use crate::StoreError;

/// Transactions waiting for the writer at most; beyond that the callers wait.
const WAITING_MAX: usize = 64;

/// What the thread runs: on the connection, or on the reason why there is none.
type Job = Box<dyn FnOnce(Result<&mut Connection, StoreError>) -> Health + Send>;

enum Health {
    Good,
    /// It failed on the file: open it anew, so that the store is back when the disk is.
    Suspect,
}

/// The handle; the thread ends when it is dropped.
#[derive(Debug)]
pub(super) struct Writer {
    jobs: mpsc::Sender<Job>,
}

impl Writer {
    pub(super) fn spawn(file: Arc<DatabaseFile>) -> std::io::Result<Self> {
        let (jobs, waiting) = mpsc::channel(WAITING_MAX);
        let checkpointer = Checkpointer::spawn(Arc::clone(&file))?;
        std::thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || run(&file, &checkpointer, waiting))?;
        Ok(Self { jobs })
    }

    /// Runs `write` in a transaction, which commits if it answers `Ok`.
    pub(super) async fn write<T: Send + 'static>(
        &self,
        write: impl FnOnce(&Transaction<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move |connection| {
            let result = connection.and_then(|connection| in_transaction(connection, write));
            let health = match &result {
                Err(StoreError::Unavailable { .. }) => Health::Suspect,
                Ok(_) | Err(StoreError::Conflict | StoreError::Corrupt(_)) => Health::Good,
            };
            let _caller_gone = answer.send(result);
            health
        });
        self.jobs.send(job).await.map_err(|_| ended())?;
        answered.await.map_err(|_| ended())?
    }
}

fn ended() -> StoreError {
    StoreError::Unavailable {
        reason: "it is shutting down",
        source: "the writer ended".into(),
    }
}

fn in_transaction<T>(
    connection: &mut Connection,
    write: impl FnOnce(&Transaction<'_>) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let answer = write(&transaction)?;
    transaction.commit()?;
    Ok(answer)
}

fn run(file: &DatabaseFile, checkpointer: &Checkpointer, mut waiting: mpsc::Receiver<Job>) {
    let mut open: Option<(Connection, Log)> = None;
    while let Some(job) = waiting.blocking_recv() {
        let (connection, log) = match &mut open {
            Some(open) => open,
            None => match writing(file) {
                Ok(fresh) => open.insert(fresh),
                Err(error) => {
                    job(Err(error.into()));
                    continue;
                }
            },
        };
        match job(Ok(connection)) {
            Health::Good => keep_short(connection, log, checkpointer),
            Health::Suspect => open = None,
        }
    }
}

/// The length of the write-ahead log.
struct Log {
    /// After the last commit.
    pages: Arc<AtomicI32>,
    /// When a checkpoint was last asked for.
    asked_at: i32,
}

fn writing(file: &DatabaseFile) -> rusqlite::Result<(Connection, Log)> {
    let mut connection = file.writing()?;
    let pages = Arc::new(AtomicI32::new(0));
    let counted = Arc::clone(&pages);
    connection.wal_hook(Some(move |_: &mut Wal, in_log| {
        counted.store(in_log, Ordering::Relaxed);
        Ok(())
    }))?;
    Ok((connection, Log { pages, asked_at: 0 }))
}

/// Keeps the write-ahead log short, see [`super::checkpoint`].
fn keep_short(connection: &Connection, log: &mut Log, checkpointer: &Checkpointer) {
    let pages = log.pages.load(Ordering::Relaxed);
    if pages < log.asked_at {
        // It began anew.
        log.asked_at = 0;
    }
    if checkpointer.take_finished() && pages >= FINISH_AT_PAGES {
        if let Err(error) = checkpoint(connection) {
            tracing::warn!(%error, "the store's log could not be copied into its file");
        }
    } else if pages >= log.asked_at + START_AT_PAGES {
        log.asked_at = pages;
        checkpointer.start();
    }
}
