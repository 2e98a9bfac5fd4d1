use model::{DeliveryId, EndpointId, Timestamp};
use rusqlite::{Transaction, params};

use super::values::Id;
use crate::rows::{count, first_delivery_at, percentiles};
use crate::{EndpointStats, StoreError, codes, rows};

const BY_STATUS: &str = "
    SELECT status, count(*) FROM deliveries WHERE endpoint_id = ?1 AND id >= ?2 GROUP BY status";

const ATTEMPTS: &str = "
    SELECT a.duration_us, a.status_code BETWEEN 200 AND 299
    FROM (SELECT id FROM deliveries WHERE endpoint_id = ?1 AND id >= ?2
          ORDER BY id DESC LIMIT ?3) d
    JOIN attempts a ON a.delivery_id = d.id";

pub(super) fn endpoint_stats(
    tx: &Transaction<'_>,
    endpoint: EndpointId,
    since: Timestamp,
) -> Result<EndpointStats, StoreError> {
    let endpoint = Id::new(endpoint.as_u128());
    let first: DeliveryId = first_delivery_at(since);
    let first = Id::new(first.as_u128());
    let mut stats = EndpointStats::default();
    let mut by_status = tx.prepare_cached(BY_STATUS)?;
    let mut rows = by_status.query(params![endpoint, first])?;
    while let Some(row) = rows.next()? {
        let status = codes::read_status(row.get(0)?)?;
        stats
            .deliveries
            .insert(status.as_str(), count(row.get::<_, i64>(1)?)?);
    }
    let mut durations = Vec::new();
    let mut attempts = tx.prepare_cached(ATTEMPTS)?;
    let mut rows = attempts.query(params![endpoint, first, rows::STATS_DELIVERIES_MAX])?;
    while let Some(row) = rows.next()? {
        durations.push(row.get::<_, i64>(0)?);
        stats.attempts += 1;
        stats.succeeded += u64::from(row.get::<_, Option<bool>>(1)?.unwrap_or(false));
    }
    (stats.duration_ms_p50, stats.duration_ms_p99) = percentiles(durations);
    Ok(stats)
}
