use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::Connection;

use crate::{OpenError, StoreError};

/// How long a connection waits for another's lock: only recovery and a schema change take one.
const BUSY_TIMEOUT: Duration = Duration::from_secs(2);

/// Prepared statements kept per connection: more than there are.
const STATEMENTS_KEPT: usize = 64;

/// The database's file, held by this process alone.
#[derive(Debug)]
pub(super) struct DatabaseFile {
    path: PathBuf,
    /// Its lock ends with the process, however that ends.
    _lock: File,
}

impl DatabaseFile {
    /// Makes the folder if it is missing and takes the lock.
    pub(super) fn claim(path: &str) -> Result<Self, OpenError> {
        let path = PathBuf::from(path);
        let lock_path = with_suffix(&path, ".lock");
        let folder = path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty());
        if let Some(folder) = folder {
            std::fs::create_dir_all(folder)
                .map_err(|error| unavailable("its folder cannot be made", error))?;
        }
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&lock_path)
            .map_err(|error| unavailable("its lock file cannot be made", error))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path, _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(OpenError::InUse {
                path: path.display().to_string(),
            }),
            Err(TryLockError::Error(error)) => {
                Err(unavailable("its lock cannot be taken", error).into())
            }
        }
    }

    /// A connection that writes. Checkpoints are the checkpointer's.
    pub(super) fn writing(&self) -> rusqlite::Result<Connection> {
        let connection = self.connect()?;
        connection.execute_batch(
            "PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 0; PRAGMA cache_size = -16000;",
        )?;
        Ok(connection)
    }

    /// A connection that only reads.
    pub(super) fn reading(&self) -> rusqlite::Result<Connection> {
        let connection = self.connect()?;
        connection.execute_batch("PRAGMA query_only = ON; PRAGMA cache_size = -2000;")?;
        Ok(connection)
    }

    fn connect(&self) -> rusqlite::Result<Connection> {
        let connection = Connection::open(&self.path)?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS_KEPT);
        let _mode: String =
            connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
        Ok(connection)
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut text = path.as_os_str().to_owned();
    text.push(suffix);
    text.into()
}

fn unavailable(reason: &'static str, error: std::io::Error) -> StoreError {
    StoreError::Unavailable {
        reason,
        source: Box::new(error),
    }
}
