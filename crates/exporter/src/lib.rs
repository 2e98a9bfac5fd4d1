//! Metrics of the installation as a whole, which no single process can know: what waits in the
//! queues, how the deliveries stand, which endpoints are in trouble.
//!
//! [`Exporter`] looks around now and then; Prometheus reads what it saw. Each look costs the same
//! however much there is, and one that fails leaves the others alone.

mod agreement;
mod deliveries;
mod management;
mod queues;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use broker::Broker;
use shared_state::SharedState;
use store::{Directory, Store};
use telemetry::{Installation, Metrics};
use tokio_util::sync::CancellationToken;

pub use crate::management::{BadManagementUrl, Management};

/// Pause between two looks at the queues.
const QUEUES_EVERY: Duration = Duration::from_secs(5);
/// Pause between two looks at the deliveries, the broker's management API and the circuits.
const LOOK_EVERY: Duration = Duration::from_secs(15);
/// Pause between two looks at sizes.
const FOOTPRINT_EVERY: Duration = Duration::from_secs(60);

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
}

impl Exporter {
    /// Registers its metrics beside those of the process.
    pub fn new(parts: Parts, metrics: &Metrics) -> Self {
        let seen = Installation::new(metrics);
        seen.up.set(1);
        Self { parts, seen }
    }

    pub async fn run(self, stop: CancellationToken) {
        let looks = async {
            tokio::join!(
                every(QUEUES_EVERY, || self.look_at_queues()),
                every(LOOK_EVERY, || self.look_at_deliveries()),
                every(LOOK_EVERY, || self.look_at_endpoints()),
                every(LOOK_EVERY, || self.look_at_management()),
                every(FOOTPRINT_EVERY, || self.look_at_footprint()),
            )
        };
        stop.run_until_cancelled(looks).await;
    }

    fn looked(&self, part: &str) {
        let now = Duration::from_micros(u64::try_from(ambient::now().as_micros()).unwrap_or(0));
        let gauge = self.seen.last_look.with_label_values(&[part]);
        gauge.set(now.as_secs_f64());
    }
}

async fn every<F: Future<Output = ()>>(pause: Duration, look: impl Fn() -> F) {
    loop {
        look().await;
        tokio::time::sleep(pause).await;
    }
}

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
