use std::collections::HashSet;

use model::{DeliveryId, Timestamp};
use sqlx::{Connection, PgConnection, Row};

use super::errors::is_repeatable;
use super::pools::Pool;
use super::values::{At, Id};
use crate::rows::{AttemptRow, count, stored_count};
use crate::{Record, Standing, StoreError, codes};

/// At most one record per delivery. `attempts` is the number of the last attempt recorded, so a
/// number that is not beyond it says nothing new, nor does a step without one that was decided before
/// it; a final status stays. The bounds `$18` and `$19`
/// let the plan leave out the other partitions before it starts.
pub(super) const RECORD: &str = "
WITH input AS MATERIALIZED (
    SELECT * FROM unnest($1::uuid[], $2::timestamptz[], $3::smallint[], $4::smallint[],
                         $5::timestamptz[], $6::timestamptz[], $7::int[], $8::uuid[],
                         $9::timestamptz[], $10::bigint[], $11::bigint[], $12::int[],
                         $13::text[], $14::text[], $15::text[], $16::bytea[],
                         $17::int[])
        AS i (delivery_id, created_at, status, hold_reason, due_at, at, number, id, started_at,
              duration_us, retry_after_ms, status_code, error_class, error_detail,
              response_headers, response_body, attempts_made)
), attempted AS (
    INSERT INTO attempts (delivery_created_at, delivery_id, number, id, started_at, duration_us,
                          retry_after_ms, status_code, error_class, error_detail,
                          response_headers, response_body)
    SELECT created_at, delivery_id, number, id, started_at, duration_us, retry_after_ms,
           status_code, error_class, error_detail, response_headers, response_body
    FROM input WHERE number IS NOT NULL
    ON CONFLICT DO NOTHING
)
UPDATE deliveries d SET
    status = CASE WHEN d.status >= 3 THEN d.status ELSE i.status END,
    hold_reason = CASE WHEN d.status >= 3 THEN d.hold_reason ELSE i.hold_reason END,
    next_attempt_at = CASE WHEN d.status >= 3 THEN d.next_attempt_at ELSE i.due_at END,
    attempts = coalesce(i.number, d.attempts),
    updated_at = i.at
FROM input i
WHERE d.id = i.delivery_id AND d.created_at = i.created_at
  AND d.created_at BETWEEN $18 AND $19
  AND CASE WHEN i.number IS NULL THEN d.status < 3 AND d.attempts = i.attempts_made
           ELSE i.number > d.attempts END";

pub(super) const STANDINGS: &str = "
SELECT w.n, d.status, d.attempts
FROM unnest($1::int[], $2::uuid[], $3::timestamptz[]) AS w (n, id, created_at)
JOIN deliveries d ON d.id = w.id AND d.created_at = w.created_at
WHERE d.created_at BETWEEN $4 AND $5";

pub(super) async fn record(pool: &Pool, batch: &[Record]) -> Result<(), StoreError> {
    let rounds: Vec<_> = rounds(batch)
        .iter()
        .map(|round| Columns::of(round))
        .collect();
    if rounds.is_empty() {
        return Ok(());
    }
    pool.within(async {
        match write(pool, &rounds).await {
            Err(error) if is_repeatable(&error) => Ok(write(pool, &rounds).await?),
            answer => Ok(answer?),
        }
    })
    .await
}

/// The batch in rounds with at most one record of each delivery, in order.
fn rounds(batch: &[Record]) -> Vec<Vec<&Record>> {
    let mut rounds = Vec::new();
    let mut left: Vec<_> = batch.iter().collect();
    while !left.is_empty() {
        let mut seen = HashSet::with_capacity(left.len());
        let (mut round, later): (Vec<_>, Vec<_>) = left
            .into_iter()
            .partition(|record| seen.insert(record.delivery));
        // Rows are locked in one order by everybody.
        round.sort_unstable_by_key(|record| record.delivery);
        rounds.push(round);
        left = later;
    }
    rounds
}

async fn write(pool: &Pool, rounds: &[Columns]) -> Result<(), sqlx::Error> {
    let mut connection = pool.lease().await?;
    if let [only] = rounds {
        only.write(&mut connection).await?;
    } else {
        let mut tx = connection.begin().await?;
        for round in rounds {
            round.write(&mut tx).await?;
        }
        tx.commit().await?;
    }
    connection.done();
    Ok(())
}

/// A round as arrays, one per parameter.
struct Columns {
    delivery: Vec<Id>,
    created_at: Vec<At>,
    status: Vec<i16>,
    hold_reason: Vec<Option<i16>>,
    due_at: Vec<Option<At>>,
    at: Vec<At>,
    attempts: Vec<Option<AttemptRow>>,
    attempts_made: Vec<i32>,
}

impl Columns {
    fn of(round: &[&Record]) -> Self {
        let verdicts = || round.iter().map(|record| codes::verdict(record.verdict));
        Self {
            delivery: round
                .iter()
                .map(|record| Id(record.delivery.as_u128()))
                .collect(),
            created_at: round
                .iter()
                .map(|record| At(record.delivery.created_at()))
                .collect(),
            status: verdicts().map(|(status, _)| status).collect(),
            hold_reason: verdicts().map(|(_, hold_reason)| hold_reason).collect(),
            due_at: round
                .iter()
                .map(|record| codes::due_at(record.verdict).map(At))
                .collect(),
            at: round.iter().map(|record| At(record.at)).collect(),
            attempts: round
                .iter()
                .map(|record| record.attempt.as_ref().map(AttemptRow::of))
                .collect(),
            attempts_made: round
                .iter()
                .map(|record| stored_count(record.attempts_made))
                .collect(),
        }
    }

    async fn write(&self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        let (first, last) = bounds(&self.created_at);
        sqlx::query(RECORD)
            .bind(&self.delivery)
            .bind(&self.created_at)
            .bind(&self.status)
            .bind(&self.hold_reason)
            .bind(&self.due_at)
            .bind(&self.at)
            .bind(self.attempts(|attempt| attempt.number))
            .bind(self.attempts(|attempt| Id(attempt.id.as_u128())))
            .bind(self.attempts(|attempt| At(attempt.started_at)))
            .bind(self.attempts(|attempt| attempt.duration_us))
            .bind(self.attempts_with(|attempt| attempt.retry_after_ms))
            .bind(self.attempts_with(|attempt| attempt.status_code))
            .bind(self.attempts_with(|attempt| attempt.error_class.as_deref()))
            .bind(self.attempts_with(|attempt| attempt.error_detail.as_deref()))
            .bind(self.attempts_with(|attempt| attempt.response_headers.as_deref()))
            .bind(self.attempts(|attempt| attempt.response_body.as_slice()))
            .bind(&self.attempts_made)
            .bind(first)
            .bind(last)
            .execute(connection)
            .await?;
        Ok(())
    }

    fn attempts<'a, T>(&'a self, of: impl Fn(&'a AttemptRow) -> T) -> Vec<Option<T>> {
        self.attempts
            .iter()
            .map(|attempt| attempt.as_ref().map(&of))
            .collect()
    }

    fn attempts_with<'a, T>(&'a self, of: impl Fn(&'a AttemptRow) -> Option<T>) -> Vec<Option<T>> {
        self.attempts
            .iter()
            .map(|attempt| attempt.as_ref().and_then(&of))
            .collect()
    }
}

/// The earliest and the latest; of nothing, nothing is between them.
fn bounds(times: &[At]) -> (At, At) {
    let epoch = Timestamp::EPOCH;
    let first = times.iter().map(|at| at.0).min().unwrap_or(epoch);
    let last = times.iter().map(|at| at.0).max().unwrap_or(epoch);
    (At(first), At(last))
}

pub(super) async fn standings(
    pool: &Pool,
    deliveries: &[DeliveryId],
) -> Result<Vec<Option<Standing>>, StoreError> {
    let places: Vec<_> = (0_i32..).take(deliveries.len()).collect();
    let ids: Vec<_> = deliveries.iter().map(|id| Id(id.as_u128())).collect();
    let times: Vec<_> = deliveries.iter().map(|id| At(id.created_at())).collect();
    let (first, last) = bounds(&times);
    let rows = pool
        .within(async {
            let mut connection = pool.lease().await?;
            let rows = sqlx::query(STANDINGS)
                .bind(places)
                .bind(ids)
                .bind(times)
                .bind(first)
                .bind(last)
                .fetch_all(&mut *connection)
                .await?;
            connection.done();
            Ok(rows)
        })
        .await?;
    let mut standings = vec![None; deliveries.len()];
    for row in rows {
        let n: usize = count(row.try_get::<i32, _>(0)?)?;
        standings[n] = Some(Standing {
            status: codes::read_status(row.try_get(1)?)?,
            attempts: count(row.try_get::<i32, _>(2)?)?,
        });
    }
    Ok(standings)
}

#[cfg(test)]
mod tests {
    use model::HoldReason;

    use super::*;
    use crate::Verdict;

    #[test]
    fn two_records_of_a_delivery_are_never_in_one_round() {
        let now = Timestamp::from_seconds(1_776_254_400);
        let record = |random: u128, verdict| Record {
            delivery: DeliveryId::new(now, random),
            attempt: None,
            attempts_made: 0,
            verdict,
            at: now,
        };
        let held = Verdict::Held(HoldReason::RateLimit);
        let batch = [
            record(2, held),
            record(1, Verdict::Failed),
            record(2, Verdict::Delivered),
            record(3, held),
            record(2, Verdict::Failed),
        ];
        let rounds = rounds(&batch);
        let verdicts: Vec<Vec<_>> = rounds
            .iter()
            .map(|round| round.iter().map(|record| record.verdict).collect())
            .collect();
        assert_eq!(
            verdicts,
            [
                vec![Verdict::Failed, held, held],
                vec![Verdict::Delivered],
                vec![Verdict::Failed]
            ]
        );
    }
}
