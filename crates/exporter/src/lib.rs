//! Metrics of the installation as a whole, which no single process can know: what waits in the
//! queues and how many deliveries are in which state.

use std::sync::Arc;
use std::time::Duration;

use broker::{Broker, Queue};
use prometheus::{IntGaugeVec, Opts, Registry};
use store::Store;
use tokio_util::sync::CancellationToken;

/// Pause between two looks at the queues.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Looks at the queues between two counts in the store.
const LOOKS_PER_COUNT: u32 = 12;

/// Looks around now and then; Prometheus reads what it saw.
#[derive(Debug)]
pub struct Exporter {
    store: Arc<dyn Store>,
    broker: Arc<dyn Broker>,
    ready: IntGaugeVec,
    consumers: IntGaugeVec,
    deliveries: IntGaugeVec,
}

impl Exporter {
    /// Registers its metrics in `registry`.
    pub fn new(store: Arc<dyn Store>, broker: Arc<dyn Broker>, registry: &Registry) -> Self {
        let gauges = |name: &str, help: &str, label: &str| {
            let gauges = IntGaugeVec::new(Opts::new(name, help), &[label])
                .expect("metric names and labels are valid");
            registry
                .register(Box::new(gauges.clone()))
                .expect("metric names are unique");
            gauges
        };
        Self {
            ready: gauges(
                "fanfare_queue_ready",
                "Messages that wait in a queue.",
                "queue",
            ),
            consumers: gauges("fanfare_queue_consumers", "Consumers of a queue.", "queue"),
            deliveries: gauges(
                "fanfare_store_deliveries",
                "Deliveries in the store, by status.",
                "status",
            ),
            store,
            broker,
        }
    }

    pub async fn run(self, stop: CancellationToken) {
        stop.run_until_cancelled(async {
            for look in (0..LOOKS_PER_COUNT).cycle() {
                self.look_at_queues().await;
                if look == 0 {
                    self.count_deliveries().await;
                }
                tokio::time::sleep(LOOK_EVERY).await;
            }
        })
        .await;
    }

    async fn look_at_queues(&self) {
        for queue in Queue::ALL {
            let name = queue.as_str();
            match self.broker.depth(queue).await {
                Ok(depth) => {
                    let signed = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
                    self.ready
                        .with_label_values(&[name])
                        .set(signed(depth.ready));
                    self.consumers
                        .with_label_values(&[name])
                        .set(signed(depth.consumers));
                }
                Err(error) => {
                    tracing::debug!(queue = name, error = %error, "queue not seen");
                    let _was_never_seen = self.ready.remove_label_values(&[name]);
                    let _was_never_seen = self.consumers.remove_label_values(&[name]);
                }
            }
        }
    }

    async fn count_deliveries(&self) {
        match self.store.balance().await {
            Ok(balance) => {
                for (status, count) in [
                    ("accepted", balance.accepted),
                    ("queued", balance.queued),
                    ("retrying", balance.retrying),
                    ("held", balance.held),
                    ("delivered", balance.delivered),
                    ("failed", balance.failed),
                    ("discarded", balance.discarded),
                ] {
                    let gauge = self.deliveries.with_label_values(&[status]);
                    gauge.set(i64::try_from(count).unwrap_or(i64::MAX));
                }
            }
            Err(error) => tracing::debug!(error = %error, "deliveries not counted"),
        }
    }
}
