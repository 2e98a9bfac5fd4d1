//! Looks at the whole that cost the same at any size.

use model::{DeliveryId, Timestamp};
use rusqlite::{Transaction, params};

use super::values::{At, Id};
use crate::StoreError;
use crate::observation::{Footprint, LOOK_MAX, Observation};
use crate::rows::count;

const ACCEPTED: &str = "SELECT deliveries FROM accepted_count";

const TALLIES: &str = "SELECT state, deliveries FROM delivery_tallies";

/// By the index of what is due, in which nothing else is.
const DUE: &str = "
    SELECT count(*), min(id), min(next_attempt_at), coalesce(sum(next_attempt_at < ?2), 0)
    FROM (SELECT id, next_attempt_at FROM deliveries INDEXED BY deliveries_due
          WHERE status <= 1 ORDER BY next_attempt_at LIMIT ?1)";

const HELD: &str = "
    SELECT count(*) FROM (SELECT 1 FROM deliveries INDEXED BY deliveries_held
                          WHERE status = 2 LIMIT ?1)";

const BYTES: &str = "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size";

pub(super) fn observe(
    tx: &Transaction<'_>,
    overdue_before: Timestamp,
) -> Result<Observation, StoreError> {
    let mut observation = Observation::default();
    let accepted: i64 = tx
        .prepare_cached(ACCEPTED)?
        .query_row([], |row| row.get(0))?;
    observation.balance.accepted = count(accepted)?;
    let mut tallies = tx.prepare_cached(TALLIES)?;
    let mut rows = tallies.query([])?;
    while let Some(row) = rows.next()? {
        observation.tally(row.get(0)?, row.get(1)?)?;
    }
    let (seen, oldest, first_due, overdue) =
        tx.prepare_cached(DUE)?
            .query_row(params![LOOK_MAX, At(overdue_before)], |row| {
                let seen: i64 = row.get(0)?;
                let oldest: Option<Id> = row.get(1)?;
                let first_due: Option<At> = row.get(2)?;
                let overdue: i64 = row.get(3)?;
                Ok((seen, oldest, first_due, overdue))
            })?;
    observation.unfinished_seen = count(seen)?;
    observation.oldest = oldest.map(|id| DeliveryId::from_u128(id.as_u128()).created_at());
    observation.first_due = first_due.map(|at| at.0);
    observation.overdue = count(overdue)?;
    let held: i64 = tx
        .prepare_cached(HELD)?
        .query_row([LOOK_MAX], |row| row.get(0))?;
    observation.held_seen = count(held)?;
    Ok(observation)
}

pub(super) fn footprint(tx: &Transaction<'_>) -> Result<Footprint, StoreError> {
    let bytes: i64 = tx.query_row(BYTES, [], |row| row.get(0))?;
    let mut footprint = Footprint::default();
    footprint.bytes.insert("database".to_owned(), count(bytes)?);
    Ok(footprint)
}
