//! Metrics of the installation as a whole, which no single process can know: what waits in the
//! queues, how the deliveries stand, which endpoints are in trouble.
//!
//! [`Exporter`] looks around now and then; Prometheus reads what it saw. Each look costs the same
//! however much there is, and one that fails leaves the others alone: what it showed is soon shown
//! no more.

mod agreement;
mod counted;
mod deliveries;
mod management;
mod queues;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use broker::Broker;
use model::Timestamp;
use shared_state::SharedState;
use store::{Directory, Store};
use telemetry::{Installation, Metrics, Part};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::counted::Counted;
pub use crate::management::{BadManagementUrl, Management};

/// Pause between two looks at the queues.
const QUEUES_EVERY: Duration = Duration::from_secs(5);
/// Pause between two looks at the deliveries, the broker's management API and the circuits.
const LOOK_EVERY: Duration = Duration::from_secs(15);
/// Pause between two looks at sizes.
const FOOTPRINT_EVERY: Duration = Duration::from_secs(60);
/// For how long looks may fail before nothing is shown of a part: longer than a restart takes.
const FORGET_AFTER: Duration = Duration::from_secs(120);

/// The parts of every installation.
const ALWAYS: [Part; 4] = [Part::Queues, Part::Store, Part::Sizes, Part::SharedState];

/// The labels of a metric that has none.
const NONE: &[&str] = &[];

/// Why a look failed.
type NotSeen = Box<dyn std::error::Error + Send + Sync>;

/// What an exporter looks at.
#[derive(Clone, Debug)]
pub struct Parts {
    pub store: Arc<dyn Store>,
    pub broker: Arc<dyn Broker>,
    pub shared_state: Arc<dyn SharedState>,
    pub directory: Arc<Directory>,
    /// RabbitMQ's management API, where it may be asked.
    pub management: Option<Management>,
}

/// Looks around now and then; Prometheus reads what it saw.
#[derive(Debug)]
pub struct Exporter {
    parts: Parts,
    seen: Installation,
    published: Counted,
    delivered: Counted,
}

impl Exporter {
    /// Registers its metrics beside those of the process.
    pub fn new(parts: Parts, metrics: &Metrics) -> Self {
        let seen = Installation::new(metrics);
        seen.up.set(1);
        // One that is never seen must be missed, too.
        let management = parts.management.as_ref().map(|_| Part::Management);
        for part in ALWAYS.into_iter().chain(management) {
            seen.looked(part, seconds(ambient::now()));
        }
        Self {
            parts,
            published: Counted::new(seen.queue_published.clone()),
            delivered: Counted::new(seen.queue_delivered.clone()),
            seen,
        }
    }

    pub async fn run(self, stop: CancellationToken) {
        let seen = &self.seen;
        let looks = async {
            tokio::join!(
                every(seen, QUEUES_EVERY, Part::Queues, || self.look_at_queues()),
                every(seen, LOOK_EVERY, Part::Store, || self.look_at_deliveries()),
                every(seen, LOOK_EVERY, Part::SharedState, || self
                    .look_at_endpoints()),
                every(seen, FOOTPRINT_EVERY, Part::Sizes, || self
                    .look_at_footprint()),
                async {
                    if let Some(management) = &self.parts.management {
                        let look = || self.look_at_management(management);
                        every(seen, LOOK_EVERY, Part::Management, look).await;
                    }
                },
            )
        };
        stop.run_until_cancelled(looks).await;
    }
}

/// Looks for ever. Says once that a part is not seen, and once that it is again.
async fn every<F: Future<Output = Result<(), NotSeen>>>(
    seen: &Installation,
    pause: Duration,
    part: Part,
    look: impl Fn() -> F,
) {
    let name = part.as_str();
    let mut seen_at = Instant::now();
    let mut blind = false;
    loop {
        match look().await {
            Ok(()) => {
                if blind {
                    tracing::info!(part = name, "seen again");
                }
                (blind, seen_at) = (false, Instant::now());
                seen.looked(part, seconds(ambient::now()));
            }
            Err(error) => {
                if !blind {
                    let error = &*error as &dyn std::error::Error;
                    tracing::warn!(part = name, error, "not seen");
                }
                blind = true;
                if seen_at.elapsed() >= FORGET_AFTER {
                    seen.forget(part);
                }
            }
        }
        tokio::time::sleep(pause).await;
    }
}

fn seconds(at: Timestamp) -> f64 {
    at.since(Timestamp::EPOCH).as_secs_f64()
}

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_is_no_longer_seen_is_soon_not_shown_and_comes_back() {
        let seen = Installation::new(&Metrics::new(false));
        let away = AtomicBool::new(false);
        let look = async || {
            if away.load(Ordering::Relaxed) {
                return Err("away".into());
            }
            seen.overdue.with_label_values(NONE).set(7);
            Ok(())
        };
        let shown = || {
            let family = prometheus::core::Collector::collect(&seen.overdue);
            family.iter().any(|one| !one.get_metric().is_empty())
        };
        assert!(!shown());
        let watched = async {
            tokio::time::sleep(LOOK_EVERY).await;
            assert!(shown());
            away.store(true, Ordering::Relaxed);
            tokio::time::sleep(FORGET_AFTER / 2).await;
            assert!(shown(), "a restart is not worth a gap");
            tokio::time::sleep(FORGET_AFTER).await;
            assert!(!shown());
            away.store(false, Ordering::Relaxed);
            tokio::time::sleep(LOOK_EVERY * 2).await;
            assert!(shown());
        };
        tokio::select! {
            () = every(&seen, LOOK_EVERY, Part::Store, &look) => {}
            () = watched => {}
        }
    }
}
