use std::sync::Arc;
use std::time::Duration;

use broker::{BrokerError, BrokerStatus, Queue};
use model::Timestamp;
use store::StoreError;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::Dispatcher;
use crate::releaser::publication;

/// A delivery that should have been received this long ago is queued again. A repetition costs a
/// message; a lost one costs this long.
const OVERDUE_GRACE: Duration = Duration::from_secs(5);
/// Pause between two sweeps.
const SWEEP_EVERY: Duration = Duration::from_secs(2);
/// Deliveries queued again at a time.
const SWEEP_MAX: u32 = 2_000;
/// Pause between two balances, and two looks at what time makes necessary.
const BALANCE_EVERY: Duration = Duration::from_secs(60);
/// For how long one process sweeps before another may.
const LOCK_TTL: Duration = Duration::from_secs(10);

/// Queues again whatever the store says is due and nobody has, and proves that every accepted
/// delivery is accounted for.
#[derive(Debug)]
pub struct Sweeper {
    dispatcher: Arc<Dispatcher>,
    /// Names this process as a holder of the lock.
    holder: String,
}

#[derive(Debug, thiserror::Error)]
enum SweepError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Broker(#[from] BrokerError),
}

impl Sweeper {
    pub fn new(dispatcher: Arc<Dispatcher>) -> Self {
        Self {
            dispatcher,
            holder: format!("{:032x}", ambient::random_id()),
        }
    }

    pub async fn run(self, shutdown: CancellationToken) {
        shutdown.run_until_cancelled(self.sweep_for_ever()).await;
    }

    async fn sweep_for_ever(&self) {
        let mut balance_at = Instant::now();
        loop {
            tokio::time::sleep(SWEEP_EVERY).await;
            if !self.may_sweep().await {
                continue;
            }
            if let Err(error) = self.sweep().await {
                self.note(&error);
                continue;
            }
            if balance_at <= Instant::now() {
                balance_at = Instant::now() + BALANCE_EVERY;
                if let Err(error) = self.balance().await {
                    self.note(&error.into());
                }
            }
        }
    }

    fn note(&self, error: &SweepError) {
        match error {
            SweepError::Store(error) => self.dispatcher.parts.store_watch.failed(error),
            SweepError::Broker(error) => tracing::debug!(error = %error, "sweep put off"),
        }
    }

    async fn may_sweep(&self) -> bool {
        let parts = &self.dispatcher.parts;
        let snapshot = parts.directory.snapshot();
        self.dispatcher.lanes.prune(&snapshot);
        let active = |id| snapshot.endpoint(id).is_some_and(|one| one.is_active());
        self.dispatcher.open_circuits.retain(active);
        !parts.store_watch.is_away()
            && parts.broker.status() == BrokerStatus::Connected
            && parts
                .shared_state
                .lock("sweeper", &self.holder, LOCK_TTL)
                .await
                .unwrap_or(false)
    }

    async fn sweep(&self) -> Result<(), SweepError> {
        let parts = &self.dispatcher.parts;
        let due_before = self.received_until().await?.minus(OVERDUE_GRACE);
        loop {
            let now = ambient::now();
            let overdue = parts.store.overdue(due_before, now, SWEEP_MAX).await?;
            let count = overdue.len();
            if count == 0 {
                return Ok(());
            }
            tracing::warn!(deliveries = count, "overdue deliveries are queued again");
            let publications = overdue
                .into_iter()
                .map(|work| publication(work, false))
                .collect();
            parts.broker.publish(publications).await?;
            parts
                .metrics
                .swept
                .inc_by(u64::try_from(count).unwrap_or(u64::MAX));
        }
    }

    /// What was queued before this has been received, or is lost.
    async fn received_until(&self) -> Result<Timestamp, BrokerError> {
        let broker = &self.dispatcher.parts.broker;
        let bulk = broker.depth(Queue::Deliveries).await?;
        let urgent = broker.depth(Queue::UrgentDeliveries).await?;
        let now = ambient::now();
        let bulk = self.dispatcher.bulk_watermark.passed(bulk.ready == 0, now);
        let urgent = self
            .dispatcher
            .urgent_watermark
            .passed(urgent.ready == 0, now);
        Ok(bulk.min(urgent))
    }

    async fn balance(&self) -> Result<(), StoreError> {
        let parts = &self.dispatcher.parts;
        parts.store.maintain(ambient::now()).await?;
        let observation = parts.store.observe(ambient::now()).await?;
        let difference = observation.difference();
        if difference != 0 {
            tracing::error!(difference, "accepted deliveries are not accounted for");
        }
        Ok(())
    }
}
