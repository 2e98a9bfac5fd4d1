use std::borrow::Cow;
use std::collections::HashMap;

use model::is_urgent;
use sqlx::Row;

use super::errors::is_repeatable;
use super::pools::{Pool, Pools};
use super::values::{At, Id};
use crate::rows::{count, to_the_millisecond};
use crate::{Acceptance, Accepted, StoreError, codes};

/// The whole batch in one statement, which is one transaction and one round trip.
///
/// Locks are taken in the same order by everybody, so that two batches never wait for each other:
/// first the keys, in the order in which the arrays are sorted, then the licenses, sorted. `n` is
/// the place in the batch, in whose order the sequences are given.
pub(super) const ACCEPT: &str = r#"
WITH input AS MATERIALIZED (
    SELECT * FROM unnest($1::int[], $2::text[], $3::text[], $4::bytea[], $5::text[],
                         $6::timestamptz[], $7::timestamptz[], $8::smallint[], $9::text[],
                         $10::text[], $11::text[], $12::int[], $13::boolean[])
        AS i (n, tenant_id, id, digest, event_type, occurred_at, accepted_at, environment,
              product, license_id, data, fan_out, urgent)
), fresh AS (
    INSERT INTO event_keys (tenant_id, event_id, digest, accepted_at)
    SELECT tenant_id, id, digest, accepted_at FROM input
    ON CONFLICT DO NOTHING
    RETURNING tenant_id, event_id
), accepted AS MATERIALIZED (
    SELECT i.*, row_number() OVER (PARTITION BY i.tenant_id, i.license_id ORDER BY i.n DESC) - 1
               AS behind
    FROM input i JOIN fresh f ON f.tenant_id = i.tenant_id AND f.event_id = i.id
), taken AS (
    INSERT INTO license_sequences AS s (tenant_id, license_id, last)
    SELECT tenant_id, license_id, count(*) FROM accepted WHERE license_id IS NOT NULL
    GROUP BY tenant_id, license_id
    ORDER BY tenant_id COLLATE "C", license_id COLLATE "C"
    ON CONFLICT (tenant_id, license_id) DO UPDATE SET last = s.last + excluded.last
    RETURNING tenant_id, license_id, last
), numbered AS MATERIALIZED (
    SELECT a.*, t.last - a.behind AS sequence
    FROM accepted a
    LEFT JOIN taken t ON t.tenant_id = a.tenant_id AND t.license_id = a.license_id
), stored AS (
    INSERT INTO events (tenant_id, accepted_at, id, event_type, occurred_at, environment,
                        sequence, license_id, product, data)
    SELECT tenant_id, accepted_at, id, event_type, occurred_at, environment,
           sequence, license_id, product, data
    FROM numbered
), fanned_out AS (
    INSERT INTO deliveries (id, created_at, endpoint_id, next_attempt_at, updated_at, status,
                            hold_reason, urgent, tenant_id, event_id)
    SELECT d.id, a.accepted_at, d.endpoint_id,
           CASE WHEN d.hold_reason IS NULL THEN a.accepted_at END, a.accepted_at,
           CASE WHEN d.hold_reason IS NULL THEN 0 ELSE 2 END, d.hold_reason,
           a.urgent, a.tenant_id, a.id
    FROM unnest($14::int[], $15::uuid[], $16::uuid[], $17::smallint[])
             AS d (n, id, endpoint_id, hold_reason)
    JOIN accepted a ON a.n = d.n
), counted AS (
    INSERT INTO accepted_counts AS c (week, shard, deliveries)
    SELECT date_bin('7 days', accepted_at, '2001-01-01T00:00Z'), pg_backend_pid() % 64,
           sum(fan_out)
    FROM accepted GROUP BY 1 HAVING sum(fan_out) > 0 ORDER BY 1
    ON CONFLICT (week, shard) DO UPDATE SET deliveries = c.deliveries + excluded.deliveries
)
SELECT n, sequence FROM numbered"#;

/// What is known of events that were not fresh.
pub(super) const KNOWN: &str = "
SELECT w.n, k.digest, e.sequence
FROM unnest($1::int[], $2::text[], $3::text[]) AS w (n, tenant_id, id)
JOIN event_keys k ON k.tenant_id = w.tenant_id AND k.event_id = w.id
LEFT JOIN events e
    ON e.tenant_id = k.tenant_id AND e.accepted_at = k.accepted_at AND e.id = k.event_id";

pub(super) async fn accept(
    pools: &Pools,
    batch: &[Acceptance],
) -> Result<Vec<Accepted>, StoreError> {
    let firsts = firsts(batch);
    let mut events = firsts.values().copied().collect::<Vec<_>>();
    events.sort_unstable_by_key(|n| {
        let event = &batch[*n].event;
        (&event.tenant, &event.id)
    });
    let columns = Columns::of(batch, &events);
    let fresh = pools
        .accepting
        .within(insert(&pools.accepting, &columns))
        .await?;
    let mut settled: HashMap<usize, Settled> = fresh
        .into_iter()
        .map(|(n, sequence)| {
            (
                n,
                Settled {
                    digest: batch[n].digest,
                    sequence,
                    fresh: true,
                },
            )
        })
        .collect();
    events.retain(|n| !settled.contains_key(n));
    if !events.is_empty() {
        settled.extend(pools.hot.within(known(&pools.hot, batch, &events)).await?);
    }
    batch
        .iter()
        .enumerate()
        .map(|(n, acceptance)| {
            let first = firsts[&(
                acceptance.event.tenant.as_str(),
                acceptance.event.id.as_str(),
            )];
            match settled.get(&first) {
                Some(settled) => settled.answer(acceptance, n == first),
                // Its key was there a moment ago and has been removed since.
                None => Err(StoreError::Unavailable {
                    reason: "PostgreSQL is busy",
                    source: "an old event with this id is being removed".into(),
                }),
            }
        })
        .collect()
}

/// The first place of each event in the batch.
fn firsts(batch: &[Acceptance]) -> HashMap<(&str, &str), usize> {
    let mut firsts = HashMap::with_capacity(batch.len());
    for (n, acceptance) in batch.iter().enumerate() {
        let event = &acceptance.event;
        firsts
            .entry((event.tenant.as_str(), event.id.as_str()))
            .or_insert(n);
    }
    firsts
}

/// What the store holds under an id after the batch.
struct Settled {
    digest: [u8; 16],
    sequence: Option<u64>,
    fresh: bool,
}

impl Settled {
    fn answer(&self, acceptance: &Acceptance, is_first: bool) -> Result<Accepted, StoreError> {
        Ok(if self.fresh && is_first {
            Accepted::New {
                sequence: self.sequence,
            }
        } else if self.digest == acceptance.digest {
            Accepted::Duplicate {
                sequence: self.sequence,
            }
        } else {
            Accepted::Conflict
        })
    }
}

/// The batch as arrays, one per parameter.
#[derive(Default)]
struct Columns<'a> {
    n: Vec<i32>,
    tenant: Vec<&'a str>,
    id: Vec<&'a str>,
    digest: Vec<&'a [u8]>,
    event_type: Vec<&'a str>,
    occurred_at: Vec<At>,
    accepted_at: Vec<At>,
    environment: Vec<i16>,
    product: Vec<Option<Cow<'a, str>>>,
    license: Vec<Option<&'a str>>,
    data: Vec<&'a str>,
    fan_out: Vec<i32>,
    urgent: Vec<bool>,
    delivery_n: Vec<i32>,
    delivery: Vec<Id>,
    endpoint: Vec<Id>,
    hold_reason: Vec<Option<i16>>,
}

impl<'a> Columns<'a> {
    fn of(batch: &'a [Acceptance], events: &[usize]) -> Self {
        let mut columns = Self::default();
        for &at in events {
            let acceptance = &batch[at];
            let event = &*acceptance.event;
            let accepted_at = to_the_millisecond(event.accepted_at);
            let n = place(at);
            columns.n.push(n);
            columns.tenant.push(event.tenant.as_str());
            columns.id.push(event.id.as_str());
            columns.digest.push(&acceptance.digest);
            columns.event_type.push(event.event_type.as_str());
            columns.occurred_at.push(At(event.occurred_at));
            columns.accepted_at.push(At(accepted_at));
            columns
                .environment
                .push(codes::environment(event.environment));
            columns.product.push(event.product.as_deref().map(storable));
            columns.license.push(event.license.as_deref());
            columns.data.push(event.data.get());
            columns.fan_out.push(place(acceptance.deliveries.len()));
            columns.urgent.push(is_urgent(&event.event_type));
            for delivery in &acceptance.deliveries {
                assert_eq!(
                    delivery.id.created_at(),
                    accepted_at,
                    "a delivery's id has its event's time"
                );
                columns.delivery_n.push(n);
                columns.delivery.push(Id(delivery.id.as_u128()));
                columns.endpoint.push(Id(delivery.endpoint.as_u128()));
                columns
                    .hold_reason
                    .push(delivery.held.map(codes::hold_reason));
            }
        }
        columns
    }
}

fn place(n: usize) -> i32 {
    i32::try_from(n).expect("a batch is far smaller than two thousand million")
}

/// PostgreSQL's text holds every character but U+0000.
pub(super) fn storable(text: &str) -> Cow<'_, str> {
    if text.contains('\0') {
        Cow::Owned(text.replace('\0', "\u{FFFD}"))
    } else {
        text.into()
    }
}

/// Answers the places and sequences of those that were fresh. What meets a deadlock all the same,
/// with a statement that is not ours, is repeated once.
async fn insert(
    pool: &Pool,
    columns: &Columns<'_>,
) -> Result<Vec<(usize, Option<u64>)>, StoreError> {
    match insert_once(pool, columns).await {
        Err(error) if is_repeatable(&error) => insert_once(pool, columns).await,
        answer => answer,
    }?
    .into_iter()
    .map(|(n, sequence)| Ok((count(n)?, sequence.map(count).transpose()?)))
    .collect()
}

async fn insert_once(
    pool: &Pool,
    columns: &Columns<'_>,
) -> Result<Vec<(i32, Option<i64>)>, sqlx::Error> {
    let mut connection = pool.lease().await?;
    let rows = sqlx::query_as(ACCEPT)
        .bind(&columns.n)
        .bind(&columns.tenant)
        .bind(&columns.id)
        .bind(&columns.digest)
        .bind(&columns.event_type)
        .bind(&columns.occurred_at)
        .bind(&columns.accepted_at)
        .bind(&columns.environment)
        .bind(&columns.product)
        .bind(&columns.license)
        .bind(&columns.data)
        .bind(&columns.fan_out)
        .bind(&columns.urgent)
        .bind(&columns.delivery_n)
        .bind(&columns.delivery)
        .bind(&columns.endpoint)
        .bind(&columns.hold_reason)
        .fetch_all(&mut *connection)
        .await?;
    connection.done();
    Ok(rows)
}

async fn known(
    pool: &Pool,
    batch: &[Acceptance],
    events: &[usize],
) -> Result<Vec<(usize, Settled)>, StoreError> {
    let columns = Columns::of(batch, events);
    let mut connection = pool.lease().await?;
    let rows = sqlx::query(KNOWN)
        .bind(&columns.n)
        .bind(&columns.tenant)
        .bind(&columns.id)
        .fetch_all(&mut *connection)
        .await?;
    connection.done();
    rows.iter()
        .map(|row| {
            let digest: &[u8] = row.try_get(1)?;
            let digest = digest
                .try_into()
                .map_err(|_| StoreError::Corrupt("the digest of an event".to_owned()))?;
            let sequence = row.try_get::<Option<i64>, _>(2)?.map(count).transpose()?;
            Ok((
                count(row.try_get::<i32, _>(0)?)?,
                Settled {
                    digest,
                    sequence,
                    fresh: false,
                },
            ))
        })
        .collect()
}
