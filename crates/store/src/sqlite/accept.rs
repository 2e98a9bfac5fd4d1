use std::collections::HashMap;

use model::{Event, LicenseId, TenantId, is_urgent};
use rusqlite::{CachedStatement, OptionalExtension, Transaction, named_params, params};

use super::values::{At, Id};
use crate::rows::{count, to_the_millisecond};
use crate::{Acceptance, Accepted, StoreError, codes};

const INSERT_EVENT: &str = "
    INSERT INTO events (tenant_id, id, digest, event_type, occurred_at, accepted_at, environment,
                        product, license_id, sequence, data)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
    ON CONFLICT (tenant_id, id) DO NOTHING";

const FIND_EVENT: &str = "SELECT digest, sequence FROM events WHERE tenant_id = ?1 AND id = ?2";

const INSERT_DELIVERY: &str = "
    INSERT INTO deliveries (id, event_n, endpoint_id, urgent, status, hold_reason,
                            next_attempt_at, updated_at)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";

const LAST_SEQUENCE: &str =
    "SELECT last FROM license_sequences WHERE tenant_id = ?1 AND license_id = ?2";

const KEEP_SEQUENCE: &str = "
    INSERT INTO license_sequences (tenant_id, license_id, last) VALUES (?1, ?2, ?3)
    ON CONFLICT (tenant_id, license_id) DO UPDATE SET last = excluded.last";

const COUNT_ACCEPTED: &str = "UPDATE accepted_count SET deliveries = deliveries + :accepted";

pub(super) fn accept(
    tx: &Transaction<'_>,
    batch: &[Acceptance],
) -> Result<Vec<Accepted>, StoreError> {
    let mut insert_event = tx.prepare_cached(INSERT_EVENT)?;
    let mut find_event = tx.prepare_cached(FIND_EVENT)?;
    let mut insert_delivery = tx.prepare_cached(INSERT_DELIVERY)?;
    let mut sequences = Sequences::new(tx)?;
    let mut deliveries = 0_i64;
    let mut answers = Vec::with_capacity(batch.len());
    for acceptance in batch {
        let event = &*acceptance.event;
        let sequence = sequences.next(event)?;
        let inserted = insert_event.execute(params![
            event.tenant.as_str(),
            event.id.as_str(),
            acceptance.digest,
            event.event_type.as_str(),
            At(event.occurred_at),
            At(to_the_millisecond(event.accepted_at)),
            codes::environment(event.environment),
            event.product,
            event.license.as_deref(),
            sequence,
            event.data.get(),
        ])?;
        if inserted == 0 {
            answers.push(known(&mut find_event, acceptance)?);
            continue;
        }
        sequences.take(event, sequence);
        deliveries += fan_out(&mut insert_delivery, acceptance, tx.last_insert_rowid())?;
        answers.push(Accepted::New {
            sequence: sequence.map(count).transpose()?,
        });
    }
    sequences.keep(tx)?;
    if deliveries > 0 {
        tx.prepare_cached(COUNT_ACCEPTED)?
            .execute(named_params! {":accepted": deliveries})?;
    }
    Ok(answers)
}

/// Inserts the deliveries, answers how many there are.
fn fan_out(
    insert: &mut CachedStatement<'_>,
    acceptance: &Acceptance,
    event_n: i64,
) -> Result<i64, StoreError> {
    let mut count = 0;
    let accepted_at = to_the_millisecond(acceptance.event.accepted_at);
    let urgent = is_urgent(&acceptance.event.event_type);
    for delivery in &acceptance.deliveries {
        assert_eq!(
            delivery.id.created_at(),
            accepted_at,
            "a delivery's id has its event's time"
        );
        let (status, due) = match delivery.held {
            Some(_) => (codes::HELD, None),
            None => (codes::QUEUED, Some(At(accepted_at))),
        };
        insert.execute(params![
            Id::new(delivery.id.as_u128()),
            event_n,
            Id::new(delivery.endpoint.as_u128()),
            urgent,
            status,
            delivery.held.map(codes::hold_reason),
            due,
            At(accepted_at),
        ])?;
        count += 1;
    }
    Ok(count)
}

fn known(find: &mut CachedStatement<'_>, acceptance: &Acceptance) -> Result<Accepted, StoreError> {
    let event = &acceptance.event;
    let (digest, sequence): ([u8; 16], Option<i64>) = find
        .query_row([event.tenant.as_str(), event.id.as_str()], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?;
    if digest == acceptance.digest {
        Ok(Accepted::Duplicate {
            sequence: sequence.map(count).transpose()?,
        })
    } else {
        Ok(Accepted::Conflict)
    }
}

/// The last sequence of each license in the batch, read once and written once.
struct Sequences<'tx> {
    read: CachedStatement<'tx>,
    last: HashMap<(TenantId, LicenseId), Last>,
}

struct Last {
    sequence: i64,
    changed: bool,
}

impl<'tx> Sequences<'tx> {
    fn new(tx: &'tx Transaction<'_>) -> Result<Self, StoreError> {
        Ok(Self {
            read: tx.prepare_cached(LAST_SEQUENCE)?,
            last: HashMap::new(),
        })
    }

    /// The sequence that the event would get, `None` if it has no license.
    fn next(&mut self, event: &Event) -> Result<Option<i64>, StoreError> {
        let Some(license) = &event.license else {
            return Ok(None);
        };
        let key = (event.tenant.clone(), license.clone());
        if let Some(last) = self.last.get(&key) {
            return Ok(Some(last.sequence + 1));
        }
        let sequence = self
            .read
            .query_row([key.0.as_str(), key.1.as_str()], |row| row.get(0))
            .optional()?
            .unwrap_or(0);
        self.last.insert(
            key,
            Last {
                sequence,
                changed: false,
            },
        );
        Ok(Some(sequence + 1))
    }

    fn take(&mut self, event: &Event, sequence: Option<i64>) {
        if let (Some(license), Some(sequence)) = (&event.license, sequence) {
            let key = (event.tenant.clone(), license.clone());
            self.last.insert(
                key,
                Last {
                    sequence,
                    changed: true,
                },
            );
        }
    }

    fn keep(self, tx: &Transaction<'_>) -> Result<(), StoreError> {
        let mut write = tx.prepare_cached(KEEP_SEQUENCE)?;
        for ((tenant, license), last) in &self.last {
            if last.changed {
                write.execute(params![tenant.as_str(), license.as_str(), last.sequence])?;
            }
        }
        Ok(())
    }
}
