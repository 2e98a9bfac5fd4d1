//! The same in SQLite, with its log on and every commit synced: the rows of the store, and a
//! plain durable queue.

use std::path::Path;

use rusqlite::{Connection, Transaction, params};

use super::{BATCH, FAN, Ground, QueueCosts, Stopwatch, StoreCosts};
use crate::event::{LICENSES, Template};

const PRAGMAS: &str = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;";
const SCHEMA: &str = "
    CREATE TABLE licenses (tenant TEXT, license TEXT, last INTEGER NOT NULL,
        PRIMARY KEY (tenant, license)) WITHOUT ROWID;
    CREATE TABLE events (tenant TEXT, id TEXT, type TEXT NOT NULL, license TEXT,
        environment INTEGER NOT NULL, occurred_at INTEGER NOT NULL, accepted_at INTEGER NOT NULL,
        sequence INTEGER, digest BLOB NOT NULL, data TEXT NOT NULL, PRIMARY KEY (tenant, id));
    CREATE INDEX events_by_time ON events (tenant, accepted_at);
    CREATE INDEX events_by_license ON events (tenant, license, sequence);
    CREATE TABLE deliveries (id INTEGER PRIMARY KEY, tenant TEXT NOT NULL, event TEXT NOT NULL,
        endpoint INTEGER NOT NULL, status INTEGER NOT NULL, attempts INTEGER NOT NULL,
        next_attempt_at INTEGER, created_at INTEGER NOT NULL);
    CREATE INDEX deliveries_by_event ON deliveries (tenant, event);
    CREATE INDEX deliveries_by_endpoint ON deliveries (endpoint, created_at);
    CREATE TABLE attempts (delivery INTEGER, number INTEGER, id INTEGER NOT NULL,
        started_at INTEGER NOT NULL, duration_us INTEGER NOT NULL, status INTEGER NOT NULL,
        response TEXT NOT NULL, PRIMARY KEY (delivery, number)) WITHOUT ROWID;";
const QUEUE_SCHEMA: &str = "CREATE TABLE queue (id INTEGER PRIMARY KEY, body BLOB NOT NULL);";

const NEXT_SEQUENCE: &str = "INSERT INTO licenses VALUES ('bench', ?1, 1)
    ON CONFLICT DO UPDATE SET last = last + 1 RETURNING last";
const INSERT_EVENT: &str = "INSERT INTO events
    VALUES ('bench', ?1, 'license.validated', ?2, 0, 0, ?3, ?4, x'00112233445566778899aabbccddeeff', ?5)
    ON CONFLICT DO NOTHING";
const INSERT_DELIVERY: &str = "INSERT INTO deliveries VALUES (?1, 'bench', ?2, ?3, 0, 0, ?4, ?4)";
const INSERT_ATTEMPT: &str = "INSERT INTO attempts VALUES (?1, 1, ?1, 0, 900, 200, '')";
const UPDATE_DELIVERY: &str =
    "UPDATE deliveries SET status = 1, attempts = 1, next_attempt_at = NULL WHERE id = ?1";

/// An event with what a delivery adds to it.
const MESSAGE_BYTES: usize = 600;

/// A database of the floor's own.
#[derive(Debug)]
pub(super) struct Store {
    connection: Connection,
    template: Template,
}

impl Store {
    pub(super) fn open(ground: &Ground<'_>, file: &Path) -> anyhow::Result<Self> {
        let connection = Connection::open(file)?;
        connection.execute_batch(PRAGMAS)?;
        connection.execute_batch(SCHEMA)?;
        let template = Template::direct(ground.receiver.address(), "/", 0);
        Ok(Self {
            connection,
            template,
        })
    }

    /// Commits events, their sequences and `fan` deliveries of each.
    pub(super) fn accept(&mut self, numbers: &[u32], fan: usize) -> anyhow::Result<()> {
        let transaction = self.connection.transaction()?;
        for number in numbers {
            accept_one(&transaction, *number, &self.template, fan)?;
        }
        transaction.commit()?;
        Ok(())
    }

    fn accept_all(&mut self, numbers: std::ops::Range<u32>, fan: usize) -> anyhow::Result<()> {
        let numbers: Vec<_> = numbers.collect();
        numbers
            .chunks(BATCH)
            .try_for_each(|batch| self.accept(batch, fan))
    }

    fn record_all(&mut self, numbers: std::ops::Range<u32>) -> anyhow::Result<()> {
        let ids: Vec<_> = numbers
            .map(|number| i64::from(number) * FAN as i64)
            .collect();
        for batch in ids.chunks(BATCH) {
            let transaction = self.connection.transaction()?;
            for id in batch {
                transaction.prepare_cached(INSERT_ATTEMPT)?.execute([id])?;
                transaction.prepare_cached(UPDATE_DELIVERY)?.execute([id])?;
            }
            transaction.commit()?;
        }
        Ok(())
    }
}

fn accept_one(
    transaction: &Transaction<'_>,
    number: u32,
    template: &Template,
    fan: usize,
) -> anyhow::Result<()> {
    let id = format!("evt_bench_{number:08}");
    let license = format!("lic_{:08}", number % LICENSES);
    let data = String::from_utf8(template.event(number))?;
    let mut next = transaction.prepare_cached(NEXT_SEQUENCE)?;
    let sequence: i64 = next.query_row([&license], |row| row.get(0))?;
    let event = params![id, license, number, sequence, data];
    transaction.prepare_cached(INSERT_EVENT)?.execute(event)?;
    let mut insert = transaction.prepare_cached(INSERT_DELIVERY)?;
    for endpoint in 0..fan as i64 {
        let delivery = i64::from(number) * FAN as i64 + endpoint;
        insert.execute(params![delivery, id, endpoint, number])?;
    }
    Ok(())
}

pub(super) fn measure(ground: &Ground<'_>) -> anyhow::Result<StoreCosts> {
    let mut store = Store::open(ground, &ground.directory.join("floor-store.db"))?;
    let events = ground.events;
    store.accept_all(0..events / 4, 1)?;

    let stopwatch = Stopwatch::start(None);
    store.accept_all(events..events * 2, 1)?;
    let accept = stopwatch.cost(events);

    let stopwatch = Stopwatch::start(None);
    store.record_all(events..events * 2)?;
    let record = stopwatch.cost(events);

    let stopwatch = Stopwatch::start(None);
    store.accept_all(events * 2..events * 2 + events / FAN as u32, FAN)?;
    let accept_fan = stopwatch.cost(events);
    Ok(StoreCosts {
        accept,
        accept_fan,
        record,
    })
}

/// A queue that keeps each message in a table until it is acknowledged.
pub(super) fn measure_queue(ground: &Ground<'_>) -> anyhow::Result<QueueCosts> {
    let mut connection = Connection::open(ground.directory.join("floor-queue.db"))?;
    connection.execute_batch(PRAGMAS)?;
    connection.execute_batch(QUEUE_SCHEMA)?;
    let batches = ground.events.div_ceil(BATCH as u32);
    let items = batches * BATCH as u32;

    let stopwatch = Stopwatch::start(None);
    for _ in 0..batches {
        publish(&mut connection)?;
        consume(&mut connection)?;
    }
    let hop = stopwatch.cost(items);

    for _ in 0..batches {
        publish(&mut connection)?;
    }
    let stopwatch = Stopwatch::start(None);
    for _ in 0..batches {
        consume(&mut connection)?;
    }
    Ok(QueueCosts {
        hop,
        drain: stopwatch.cost(items),
    })
}

fn publish(connection: &mut Connection) -> anyhow::Result<()> {
    let body = [b'x'; MESSAGE_BYTES];
    let transaction = connection.transaction()?;
    for _ in 0..BATCH {
        let mut insert = transaction.prepare_cached("INSERT INTO queue (body) VALUES (?1)")?;
        insert.execute([&body[..]])?;
    }
    transaction.commit()?;
    Ok(())
}

fn consume(connection: &mut Connection) -> anyhow::Result<()> {
    let transaction = connection.transaction()?;
    let mut ids = Vec::with_capacity(BATCH);
    let mut select =
        transaction.prepare_cached("SELECT id, body FROM queue ORDER BY id LIMIT ?1")?;
    let mut rows = select.query([BATCH as i64])?;
    while let Some(row) = rows.next()? {
        let body: Vec<u8> = row.get(1)?;
        ids.push(row.get::<_, i64>(0)?);
        drop(body);
    }
    drop(rows);
    drop(select);
    for id in ids {
        transaction
            .prepare_cached("DELETE FROM queue WHERE id = ?1")?
            .execute([id])?;
    }
    transaction.commit()?;
    Ok(())
}
