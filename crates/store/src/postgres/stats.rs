use model::{EndpointId, Timestamp};

use super::pools::Pool;
use super::values::{At, Id};
use crate::rows::{self, STATS_DELIVERIES_MAX, count, first_delivery_at};
use crate::{EndpointStats, StoreError, codes};

pub(super) const BY_STATUS: &str = "
SELECT status, count(*) FROM deliveries
WHERE endpoint_id = $1 AND id >= $2 AND created_at >= $3 GROUP BY status";

pub(super) const ATTEMPTS: &str = "
SELECT count(*), count(*) FILTER (WHERE a.status_code BETWEEN 200 AND 299),
       percentile_disc(0.5) WITHIN GROUP (ORDER BY a.duration_us),
       percentile_disc(0.99) WITHIN GROUP (ORDER BY a.duration_us)
FROM (SELECT id, created_at FROM deliveries
      WHERE endpoint_id = $1 AND id >= $2 AND created_at >= $3 ORDER BY id DESC LIMIT $4) d
JOIN attempts a ON a.delivery_id = d.id AND a.delivery_created_at = d.created_at";

pub(super) async fn endpoint_stats(
    pool: &Pool,
    endpoint: EndpointId,
    since: Timestamp,
) -> Result<EndpointStats, StoreError> {
    let endpoint = Id(endpoint.as_u128());
    let first = Id(first_delivery_at(since).as_u128());
    let (by_status, attempts) = pool
        .within(async {
            let mut connection = pool.lease().await?;
            let by_status: Vec<(i16, i64)> = sqlx::query_as(BY_STATUS)
                .bind(endpoint)
                .bind(first)
                .bind(At(since))
                .fetch_all(&mut *connection)
                .await?;
            let attempts: (i64, i64, Option<i64>, Option<i64>) = sqlx::query_as(ATTEMPTS)
                .bind(endpoint)
                .bind(first)
                .bind(At(since))
                .bind(i64::from(STATS_DELIVERIES_MAX))
                .fetch_one(&mut *connection)
                .await?;
            connection.done();
            Ok((by_status, attempts))
        })
        .await?;
    let mut stats = EndpointStats::default();
    for (status, deliveries) in by_status {
        stats
            .deliveries
            .insert(codes::read_status(status)?.as_str(), count(deliveries)?);
    }
    let (all, succeeded, p50, p99) = attempts;
    stats.attempts = count(all)?;
    stats.succeeded = count(succeeded)?;
    stats.duration_ms_p50 = p50.map(rows::milliseconds);
    stats.duration_ms_p99 = p99.map(rows::milliseconds);
    Ok(stats)
}
