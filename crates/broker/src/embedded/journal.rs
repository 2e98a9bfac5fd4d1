use std::ops::RangeInclusive;
use std::path::Path;

use bytes::Bytes;
use rusqlite::types::Type;
use rusqlite::{Connection, ErrorCode, OptionalExtension, TransactionBehavior, params};

use super::record::Record;
use crate::{Headers, OpenError, Queue};

/// The layout this code reads and writes.
const LAYOUT: i64 = 1;

/// How long the write-ahead log grows before it is copied into the file, in pages of 4 KiB.
const WAL_PAGES: i64 = 4_000;

/// What a longer log is cut back to, in bytes.
const WAL_BYTES_KEPT: i64 = 64 << 20;

/// SQLite's page cache, in KiB.
const CACHE_KIB: i64 = 8_192;

/// More than the statements there are.
const STATEMENTS_MAX: usize = 64;

/// A row of a queue's table.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) id: i64,
    pub(super) headers: Option<Headers>,
    pub(super) body: Bytes,
}

/// A message whose time has come, still among those that wait.
#[derive(Debug)]
pub(super) struct Due {
    waiting_id: i64,
    pub(super) queue: Queue,
    pub(super) body: Bytes,
}

/// The queue file. Every queue has a table of its own, read in the order of its ids; messages
/// that wait for a time are in one table with an index over that time.
#[derive(Debug)]
pub(super) struct Journal {
    db: Connection,
    tables: [TableSql; Queue::ALL.len()],
}

#[derive(Debug)]
struct TableSql {
    insert: String,
    read: String,
    delete: String,
}

impl TableSql {
    fn new(queue: Queue) -> Self {
        let table = table(queue);
        Self {
            insert: format!("INSERT INTO {table} (id, headers, body) VALUES (?1, ?2, ?3)"),
            read: format!(
                "SELECT id, headers, body FROM {table} WHERE id BETWEEN ?1 AND ?2 ORDER BY id"
            ),
            delete: format!("DELETE FROM {table} WHERE id BETWEEN ?1 AND ?2"),
        }
    }
}

impl Journal {
    /// Opens or makes the file, and locks it until the process ends or the journal is dropped.
    pub(super) fn open(path: &Path) -> Result<Self, OpenError> {
        let failed = |source: rusqlite::Error| match source.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => OpenError::InUse {
                path: path.to_owned(),
            },
            _ => OpenError::Queue {
                path: path.to_owned(),
                source: Box::new(source),
            },
        };
        let db = Connection::open(path).map_err(failed)?;
        configure(&db).map_err(failed)?;
        let layout: i64 = db
            .query_row("PRAGMA user_version", [], |row| row.get(0))
            .map_err(failed)?;
        if layout > LAYOUT {
            return Err(OpenError::Newer {
                path: path.to_owned(),
            });
        }
        create_tables(&db).map_err(failed)?;
        Ok(Self {
            db,
            tables: Queue::ALL.map(TableSql::new),
        })
    }

    pub(super) fn begin(&mut self) -> rusqlite::Result<Writing<'_>> {
        let transaction = self
            .db
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        Ok(Writing {
            transaction,
            tables: &self.tables,
        })
    }

    /// The largest id of a queue and how many messages it holds.
    pub(super) fn extent(&self, queue: Queue) -> rusqlite::Result<(i64, u64)> {
        let sql = format!(
            "SELECT coalesce(max(id), 0), count(*) FROM {}",
            table(queue)
        );
        let (last, count): (i64, i64) = self
            .db
            .query_row(&sql, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok((last, count.unsigned_abs()))
    }

    /// The first messages of a queue with these ids, in order: no more than `limit`, and no
    /// further one once their bodies have reached `bytes_max`.
    pub(super) fn read(
        &self,
        queue: Queue,
        ids: &RangeInclusive<i64>,
        limit: usize,
        bytes_max: usize,
    ) -> rusqlite::Result<Vec<Row>> {
        let mut statement = self.db.prepare_cached(&self.tables[queue.index()].read)?;
        let mut found = statement.query(params![ids.start(), ids.end()])?;
        let mut rows = Vec::new();
        let mut bytes = 0;
        while rows.len() < limit
            && bytes < bytes_max
            && let Some(row) = found.next()?
        {
            let body: Vec<u8> = row.get(2)?;
            bytes += body.len();
            rows.push(Row {
                id: row.get(0)?,
                headers: headers(row)?,
                body: body.into(),
            });
        }
        Ok(rows)
    }

    /// How many messages wait for their time.
    pub(super) fn waiting(&self) -> rusqlite::Result<u64> {
        let count = "SELECT count(*) FROM waiting";
        let count: i64 = self.db.query_row(count, [], |row| row.get(0))?;
        Ok(u64::try_from(count).unwrap_or(0))
    }

    /// The earliest time anything waits for.
    pub(super) fn next_due_ms(&self) -> rusqlite::Result<Option<i64>> {
        let sql = "SELECT due_at_ms FROM waiting ORDER BY due_at_ms LIMIT 1";
        self.db
            .prepare_cached(sql)?
            .query_row([], |row| row.get(0))
            .optional()
    }
}

/// One transaction.
pub(super) struct Writing<'a> {
    transaction: rusqlite::Transaction<'a>,
    tables: &'a [TableSql; Queue::ALL.len()],
}

impl Writing<'_> {
    pub(super) fn insert(&self, id: i64, record: &Record) -> rusqlite::Result<()> {
        let headers = record.headers.as_ref().map(|headers| {
            serde_json::to_string(headers).expect("headers are texts with text keys")
        });
        let mut statement = self
            .transaction
            .prepare_cached(&self.tables[record.queue.index()].insert)?;
        statement.execute(params![id, headers, &record.body[..]])?;
        Ok(())
    }

    /// Keeps a delivery until its time.
    pub(super) fn wait(&self, record: &Record, due_at_ms: i64) -> rusqlite::Result<()> {
        let sql = "INSERT INTO waiting (due_at_ms, queue, body) VALUES (?1, ?2, ?3)";
        let mut statement = self.transaction.prepare_cached(sql)?;
        statement.execute(params![due_at_ms, record.queue.as_str(), &record.body[..]])?;
        Ok(())
    }

    /// Removes messages that are done with.
    pub(super) fn delete(&self, queue: Queue, ids: &RangeInclusive<i64>) -> rusqlite::Result<()> {
        let mut statement = self
            .transaction
            .prepare_cached(&self.tables[queue.index()].delete)?;
        statement.execute(params![ids.start(), ids.end()])?;
        Ok(())
    }

    /// Those due by `now_ms`, earliest first.
    pub(super) fn due(&self, now_ms: i64, limit: usize) -> rusqlite::Result<Vec<Due>> {
        let sql = "SELECT id, queue, body FROM waiting WHERE due_at_ms <= ?1
                   ORDER BY due_at_ms, id LIMIT ?2";
        let mut statement = self.transaction.prepare_cached(sql)?;
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let found = statement.query_map(params![now_ms, limit], |row| {
            let body: Vec<u8> = row.get(2)?;
            Ok(Due {
                waiting_id: row.get(0)?,
                queue: queue(row)?,
                body: body.into(),
            })
        })?;
        found.collect()
    }

    /// Moves a message whose time has come into its queue.
    pub(super) fn release(&self, id: i64, due: &Due) -> rusqlite::Result<()> {
        let mut statement = self
            .transaction
            .prepare_cached(&self.tables[due.queue.index()].insert)?;
        statement.execute(params![id, None::<String>, &due.body[..]])?;
        let sql = "DELETE FROM waiting WHERE id = ?1";
        self.transaction
            .prepare_cached(sql)?
            .execute([due.waiting_id])?;
        Ok(())
    }

    /// Writes something that changes nothing, to see whether writing works.
    pub(super) fn probe(&self) -> rusqlite::Result<()> {
        self.transaction.pragma_update(None, "user_version", LAYOUT)
    }

    /// Returns once everything is on the disk.
    pub(super) fn commit(self) -> rusqlite::Result<()> {
        self.transaction.commit()
    }
}

fn configure(db: &Connection) -> rusqlite::Result<()> {
    db.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
    // Before the first access: the lock is then kept, and the log needs no shared memory.
    db.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
    db.pragma_update(None, "journal_mode", "WAL")?;
    // A confirm means that the message survives a power failure, not only a crash.
    db.pragma_update(None, "synchronous", "FULL")?;
    db.pragma_update(None, "wal_autocheckpoint", WAL_PAGES)?;
    db.pragma_update(None, "journal_size_limit", WAL_BYTES_KEPT)?;
    db.pragma_update(None, "cache_size", -CACHE_KIB)
}

fn create_tables(db: &Connection) -> rusqlite::Result<()> {
    let mut sql = String::from("BEGIN EXCLUSIVE;");
    for queue in Queue::ALL {
        sql.push_str(&format!(
            "CREATE TABLE IF NOT EXISTS {} (id INTEGER PRIMARY KEY, headers TEXT, body BLOB NOT NULL);",
            table(queue)
        ));
    }
    sql.push_str(
        "CREATE TABLE IF NOT EXISTS waiting (
             id INTEGER PRIMARY KEY, due_at_ms INTEGER NOT NULL, queue TEXT NOT NULL,
             body BLOB NOT NULL);
         CREATE INDEX IF NOT EXISTS waiting_due ON waiting (due_at_ms);",
    );
    sql.push_str(&format!("PRAGMA user_version = {LAYOUT}; COMMIT;"));
    db.execute_batch(&sql)
}

const fn table(queue: Queue) -> &'static str {
    match queue {
        Queue::Intake => "intake",
        Queue::Deliveries => "deliveries",
        Queue::UrgentDeliveries => "urgent_deliveries",
        Queue::Outcomes => "outcomes",
        Queue::Rejected => "rejected",
        Queue::Parked => "parked",
    }
}

fn headers(row: &rusqlite::Row<'_>) -> rusqlite::Result<Option<Headers>> {
    let Some(text) = row.get_ref(1)?.as_str_or_null()? else {
        return Ok(None);
    };
    serde_json::from_str(text)
        .map(Some)
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(1, Type::Text, error.into()))
}

fn queue(row: &rusqlite::Row<'_>) -> rusqlite::Result<Queue> {
    let name = row.get_ref(1)?.as_str()?;
    Queue::ALL
        .into_iter()
        .find(|queue| queue.as_str() == name)
        .ok_or_else(|| {
            let error = format!("no queue is named {name}");
            rusqlite::Error::FromSqlConversionFailure(1, Type::Text, error.into())
        })
}
