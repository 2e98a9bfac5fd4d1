use model::{Attempt, DeliveryId};
use rusqlite::{CachedStatement, OptionalExtension, Transaction, params};

use super::values::{At, Id};
use crate::rows::{AttemptRow, count, stored_count};
use crate::{Record, Standing, StoreError, codes};

const INSERT_ATTEMPT: &str = "
    INSERT INTO attempts (delivery_id, number, id, started_at, duration_us, status_code,
                          retry_after_ms, error_class, error_detail, response_headers, response_body)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
    ON CONFLICT DO NOTHING";

/// `attempts` is the number of the last attempt recorded, so a number that is not beyond it says
/// nothing new, nor does a step without one that was decided before it; a final status stays.
const AFTER_ATTEMPT: &str = "
    UPDATE deliveries SET
        status = iif(status >= 3, status, ?3),
        hold_reason = iif(status >= 3, hold_reason, ?4),
        next_attempt_at = iif(status >= 3, next_attempt_at, ?5),
        attempts = ?2,
        updated_at = ?6
    WHERE id = ?1 AND attempts < ?2";

const WITHOUT_ATTEMPT: &str = "
    UPDATE deliveries SET status = ?2, hold_reason = ?3, next_attempt_at = ?4, updated_at = ?5
    WHERE id = ?1 AND status < 3 AND attempts = ?6";

const STANDING: &str = "SELECT status, attempts FROM deliveries WHERE id = ?1";

pub(super) fn record(tx: &Transaction<'_>, batch: &[Record]) -> Result<(), StoreError> {
    let mut insert = tx.prepare_cached(INSERT_ATTEMPT)?;
    let mut after_attempt = tx.prepare_cached(AFTER_ATTEMPT)?;
    let mut without_attempt = tx.prepare_cached(WITHOUT_ATTEMPT)?;
    for record in batch {
        let id = Id::new(record.delivery.as_u128());
        let (status, hold_reason) = codes::verdict(record.verdict);
        let due = codes::due_at(record.verdict).map(At);
        match &record.attempt {
            None => {
                let made = stored_count(record.attempts_made);
                let values = params![id, status, hold_reason, due, At(record.at), made];
                without_attempt.execute(values)?;
            }
            Some(attempt) => {
                if insert_attempt(&mut insert, id, attempt)? {
                    let number = stored_count(attempt.number);
                    let values = params![id, number, status, hold_reason, due, At(record.at)];
                    after_attempt.execute(values)?;
                }
            }
        }
    }
    Ok(())
}

/// Whether it was new.
fn insert_attempt(
    insert: &mut CachedStatement<'_>,
    delivery: Id,
    attempt: &Attempt,
) -> Result<bool, StoreError> {
    let row = AttemptRow::of(attempt);
    let inserted = insert.execute(params![
        delivery,
        row.number,
        Id::new(row.id.as_u128()),
        At(row.started_at),
        row.duration_us,
        row.status_code,
        row.retry_after_ms,
        row.error_class,
        row.error_detail,
        row.response_headers,
        row.response_body,
    ])?;
    Ok(inserted == 1)
}

pub(super) fn standings(
    tx: &Transaction<'_>,
    deliveries: &[DeliveryId],
) -> Result<Vec<Option<Standing>>, StoreError> {
    let mut find = tx.prepare_cached(STANDING)?;
    deliveries
        .iter()
        .map(|delivery| {
            let found = find
                .query_row([Id::new(delivery.as_u128())], |row| {
                    Ok((row.get::<_, i16>(0)?, row.get::<_, i32>(1)?))
                })
                .optional()?;
            found
                .map(|(status, attempts)| {
                    let status = codes::read_status(status)?;
                    Ok(Standing {
                        status,
                        attempts: count(attempts)?,
                    })
                })
                .transpose()
        })
        .collect()
}
