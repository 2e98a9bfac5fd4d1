//! Rows as both adapters read them, and the nouns they become.

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use model::{
    Attempt, AttemptId, Delivery, DeliveryId, EndpointId, ErrorClass, Event, EventId, LicenseId,
    Outcome, TenantId, Timestamp, Work,
};
use serde_json::value::RawValue;

use crate::{Cursor, Page, StoreError, codes};

/// Deliveries whose attempts an endpoint's statistics look at: the newest ones of the window.
pub(crate) const STATS_DELIVERIES_MAX: u32 = 100_000;

type Result<T> = std::result::Result<T, StoreError>;

/// An event's columns.
pub(crate) struct EventRow {
    pub(crate) tenant: String,
    pub(crate) id: String,
    pub(crate) event_type: String,
    pub(crate) occurred_at: Timestamp,
    pub(crate) accepted_at: Timestamp,
    pub(crate) environment: i16,
    pub(crate) product: Option<String>,
    pub(crate) license: Option<String>,
    pub(crate) sequence: Option<i64>,
    pub(crate) data: String,
}

impl EventRow {
    pub(crate) fn event(self) -> Result<Event> {
        Ok(Event {
            tenant: parse(&self.tenant)?,
            id: parse(&self.id)?,
            event_type: parse(&self.event_type)?,
            occurred_at: self.occurred_at,
            accepted_at: self.accepted_at,
            environment: codes::read_environment(self.environment)?,
            product: self.product,
            license: self
                .license
                .as_deref()
                .map(parse::<LicenseId>)
                .transpose()?,
            sequence: self.sequence.map(count).transpose()?,
            data: RawValue::from_string(self.data)
                .map(Arc::from)
                .map_err(|_| StoreError::Corrupt(format!("data of event {}", self.id)))?,
        })
    }
}

/// A delivery's columns with those it shares with its event.
pub(crate) struct DeliveryRow {
    pub(crate) id: DeliveryId,
    pub(crate) tenant: String,
    pub(crate) endpoint: EndpointId,
    pub(crate) event: String,
    pub(crate) event_type: String,
    pub(crate) license: Option<String>,
    pub(crate) status: i16,
    pub(crate) hold_reason: Option<i16>,
    pub(crate) attempts: i32,
    pub(crate) next_attempt_at: Option<Timestamp>,
    pub(crate) updated_at: Timestamp,
}

impl DeliveryRow {
    pub(crate) fn delivery(self) -> Result<Delivery> {
        Ok(Delivery {
            id: self.id,
            tenant: parse::<TenantId>(&self.tenant)?,
            endpoint: self.endpoint,
            event: parse::<EventId>(&self.event)?,
            event_type: parse(&self.event_type)?,
            license: self
                .license
                .as_deref()
                .map(parse::<LicenseId>)
                .transpose()?,
            status: codes::read_status(self.status)?,
            hold_reason: self.hold_reason.map(codes::read_hold_reason).transpose()?,
            attempts: count(self.attempts)?,
            next_attempt_at: self.next_attempt_at,
            created_at: self.id.created_at(),
            updated_at: self.updated_at,
        })
    }
}

/// An attempt's columns.
pub(crate) struct AttemptRow {
    pub(crate) id: AttemptId,
    pub(crate) delivery: DeliveryId,
    pub(crate) number: i32,
    pub(crate) started_at: Timestamp,
    pub(crate) duration_us: i64,
    pub(crate) status_code: Option<i32>,
    pub(crate) retry_after_ms: Option<i64>,
    pub(crate) error_class: Option<String>,
    pub(crate) error_detail: Option<String>,
    pub(crate) response_headers: Option<String>,
    pub(crate) response_body: Vec<u8>,
}

impl AttemptRow {
    /// The columns of an attempt; `None` for what it does not have.
    pub(crate) fn of(attempt: &Attempt) -> Self {
        let (status_code, retry_after, error_class) = match attempt.outcome {
            Outcome::Answered {
                status,
                retry_after,
            } => (Some(status.into()), retry_after, None),
            Outcome::Unanswered(class) => (None, None, Some(class.as_str().to_owned())),
        };
        let response_headers = (!attempt.response_headers.is_empty())
            .then(|| serde_json::to_string(&attempt.response_headers).expect("pairs of strings"));
        Self {
            id: attempt.id,
            delivery: attempt.delivery,
            number: stored_count(attempt.number),
            started_at: attempt.started_at,
            duration_us: i64::try_from(attempt.duration.as_micros()).unwrap_or(i64::MAX),
            status_code,
            retry_after_ms: retry_after
                .map(|after| i64::try_from(after.as_millis()).unwrap_or(i64::MAX)),
            error_class,
            error_detail: attempt.error_detail.clone(),
            response_headers,
            response_body: attempt.response_body.clone(),
        }
    }

    pub(crate) fn attempt(self) -> Result<Attempt> {
        let outcome = match (self.status_code, self.error_class) {
            (Some(status), None) => Outcome::Answered {
                status: count(status)?,
                retry_after: self
                    .retry_after_ms
                    .map(|ms| count(ms).map(Duration::from_millis))
                    .transpose()?,
            },
            (None, Some(class)) => Outcome::Unanswered(parse::<ErrorClass>(&class)?),
            (Some(_), Some(_)) | (None, None) => {
                return Err(StoreError::Corrupt(format!(
                    "outcome of attempt {}",
                    self.id
                )));
            }
        };
        let response_headers = match self.response_headers {
            Some(json) => serde_json::from_str(&json)
                .map_err(|_| StoreError::Corrupt(format!("headers of attempt {}", self.id)))?,
            None => Vec::new(),
        };
        Ok(Attempt {
            id: self.id,
            delivery: self.delivery,
            number: count(self.number)?,
            started_at: self.started_at,
            duration: Duration::from_micros(count(self.duration_us)?),
            outcome,
            error_detail: self.error_detail,
            response_headers,
            response_body: self.response_body,
        })
    }
}

/// A delivery that was made due, with its event.
pub(crate) struct DueRow {
    pub(crate) id: DeliveryId,
    pub(crate) endpoint: EndpointId,
    pub(crate) attempts: i32,
    pub(crate) attempts_before: i32,
    pub(crate) event: EventRow,
}

/// The attempts to make `now`: urgent ones first, then by age, a license's events by sequence.
pub(crate) fn work(rows: Vec<DueRow>, now: Timestamp) -> Result<Vec<Work>> {
    let mut work = rows
        .into_iter()
        .map(|row| {
            let attempts: u32 = count(row.attempts)?;
            Ok(Work {
                delivery: row.id,
                endpoint: row.endpoint,
                attempt: attempts + 1,
                attempts_before: count(row.attempts_before)?,
                due_at_ms: now.as_millis(),
                queued_at_ms: now.as_millis(),
                released: false,
                trace: None,
                event: Arc::new(row.event.event()?),
            })
        })
        .collect::<Result<Vec<_>>>()?;
    work.sort_by_cached_key(|work| {
        (
            !work.is_urgent(),
            work.delivery.created_at(),
            work.event.sequence,
            work.delivery,
        )
    });
    Ok(work)
}

/// The moment with the precision the store keeps: a delivery's id carries no more.
pub(crate) const fn to_the_millisecond(time: Timestamp) -> Timestamp {
    Timestamp::from_millis(time.as_millis())
}

/// The smallest delivery id made at `time` or later.
pub(crate) fn first_delivery_at(time: Timestamp) -> DeliveryId {
    let millis = time.as_micros().div_euclid(1_000) + i64::from(time.as_micros() % 1_000 != 0);
    DeliveryId::new(Timestamp::from_millis(millis), 0)
}

/// A number the schema keeps signed.
pub(crate) fn count<S, U>(stored: S) -> Result<U>
where
    U: TryFrom<S>,
    S: Copy + std::fmt::Display,
{
    U::try_from(stored).map_err(|_| StoreError::Corrupt(format!("the number {stored}")))
}

/// A page of the rows, of which one more than fits was asked for.
pub(crate) fn cut<T>(mut items: Vec<T>, limit: u32, cursor: impl Fn(&T) -> Cursor) -> Page<T> {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let more = items.len() > limit;
    items.truncate(limit);
    let next = more.then(|| items.last().map(cursor)).flatten();
    Page { items, next }
}

/// Where a page of deliveries ends; a made-up id falls back to the time beside it.
pub(crate) fn delivery_cursor(cursor: &Cursor) -> DeliveryId {
    cursor
        .id
        .parse()
        .unwrap_or_else(|_| first_delivery_at(cursor.at))
}

/// The 50th and the 99th percentile (nearest rank), in milliseconds, of durations in microseconds.
pub(crate) fn percentiles(mut durations_us: Vec<i64>) -> (Option<f64>, Option<f64>) {
    durations_us.sort_unstable();
    let at = |hundredths: usize| {
        let rank = (durations_us.len() * hundredths).div_ceil(100);
        durations_us
            .get(rank.checked_sub(1)?)
            .copied()
            .map(milliseconds)
    };
    (at(50), at(99))
}

pub(crate) fn milliseconds(micros: i64) -> f64 {
    Duration::from_micros(u64::try_from(micros).unwrap_or(0)).as_secs_f64() * 1_000.0
}

pub(crate) fn stored_count(count: u32) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

pub(crate) fn parse<T: FromStr<Err: std::fmt::Display>>(text: &str) -> Result<T> {
    text.parse()
        .map_err(|error| StoreError::Corrupt(format!("{text:?}: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_the_nearest_rank() {
        assert_eq!(percentiles(Vec::new()), (None, None));
        assert_eq!(percentiles(vec![7_000]), (Some(7.0), Some(7.0)));
        let hundred = (1..=100).rev().map(|ms| ms * 1_000).collect();
        assert_eq!(percentiles(hundred), (Some(50.0), Some(99.0)));
    }

    #[test]
    fn a_page_names_the_next_only_if_there_is_more() {
        let cursor = |n: &i32| Cursor {
            at: Timestamp::EPOCH,
            id: n.to_string(),
        };
        let full = cut(vec![3, 2, 1], 2, cursor);
        assert_eq!(
            (full.items, full.next.unwrap().id),
            (vec![3, 2], "2".to_owned())
        );
        assert!(cut(vec![2, 1], 2, cursor).next.is_none());
    }

    #[test]
    fn the_first_delivery_at_a_time_is_not_before_it() {
        let millisecond = Timestamp::from_millis(1_776_254_400_123);
        assert_eq!(first_delivery_at(millisecond).created_at(), millisecond);
        let later = Timestamp::from_micros(millisecond.as_micros() + 1);
        assert_eq!(
            first_delivery_at(later).created_at(),
            Timestamp::from_millis(1_776_254_400_124)
        );
        assert!(first_delivery_at(millisecond) <= DeliveryId::new(millisecond, 0));
    }
}
