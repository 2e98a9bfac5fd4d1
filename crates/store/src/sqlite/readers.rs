use std::sync::Arc;

use parking_lot::Mutex;
use rusqlite::{Connection, Transaction};
use tokio::sync::Semaphore;

use super::connection::DatabaseFile;
use crate::StoreError;

/// Reads under way at once; beyond that the callers wait.
const READERS_MAX: usize = 4;

/// Connections that only read, lent to blocking threads. They never wait for the writer.
#[derive(Debug)]
pub(super) struct Readers {
    file: Arc<DatabaseFile>,
    idle: Arc<Mutex<Vec<Connection>>>,
    free: Arc<Semaphore>,
}

impl Readers {
    pub(super) fn new(file: Arc<DatabaseFile>) -> Self {
        Self {
            file,
            idle: Arc::default(),
            free: Arc::new(Semaphore::new(READERS_MAX)),
        }
    }

    /// Runs `read` on one state of the database.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Transaction<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let permit = Arc::clone(&self.free)
            .acquire_owned()
            .await
            .expect("the semaphore is never closed");
        let (file, idle) = (Arc::clone(&self.file), Arc::clone(&self.idle));
        let reading = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            let lent = idle.lock().pop();
            let mut connection = match lent {
                Some(connection) => connection,
                None => file.reading()?,
            };
            let answer = connection
                .transaction()
                .map_err(StoreError::from)
                .and_then(|tx| read(&tx));
            if !matches!(answer, Err(StoreError::Unavailable { .. })) {
                idle.lock().push(connection);
            }
            answer
        });
        match reading.await {
            Ok(answer) => answer,
            Err(ended) => match ended.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(ended) => Err(StoreError::Unavailable {
                    reason: "it is shutting down",
                    source: Box::new(ended),
                }),
            },
        }
    }
}
