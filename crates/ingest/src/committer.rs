use std::sync::Arc;

use broker::{Broker, Destination, Publication};
use bytes::Bytes;
use model::{Event, WORKS_PER_MESSAGE_MAX, Work};
use store::{Acceptance, Accepted, Store, StoreError, StoreWatch};
use telemetry::Metrics;
use tokio::sync::Semaphore;

/// Committed groups whose deliveries are on their way to the broker at most; what comes beyond
/// is left to the sweeper.
const PUBLISHING_GROUPS_MAX: usize = 256;

/// What a commit answers for one event: sources of errors are shared by the group.
pub(crate) type Committed = Result<Accepted, Arc<StoreError>>;

/// Commits a group and sends its deliveries on their way.
pub(crate) struct Committer {
    store: Arc<dyn Store>,
    broker: Arc<dyn Broker>,
    watch: Arc<StoreWatch>,
    publishing: Arc<Semaphore>,
    metrics: Metrics,
}

impl Committer {
    pub(crate) fn new(
        store: Arc<dyn Store>,
        broker: Arc<dyn Broker>,
        watch: Arc<StoreWatch>,
        metrics: Metrics,
    ) -> Arc<Self> {
        Arc::new(Self {
            store,
            broker,
            watch,
            publishing: Arc::new(Semaphore::new(PUBLISHING_GROUPS_MAX)),
            metrics,
        })
    }

    pub(crate) async fn commit(self: Arc<Self>, batch: Vec<Acceptance>) -> Vec<Committed> {
        let error = if self.watch.is_away() {
            StoreError::Unavailable {
                reason: "it does not answer",
                source: "known away".into(),
            }
        } else {
            match self.store.accept(&batch).await {
                Ok(accepted) => {
                    self.publish(batch, &accepted);
                    return accepted.into_iter().map(Ok).collect();
                }
                Err(error) => {
                    self.metrics.dependency_failed("store");
                    self.watch.failed(&error);
                    error
                }
            }
        };
        let error = Arc::new(error);
        batch.iter().map(|_| Err(Arc::clone(&error))).collect()
    }

    /// Hands the new deliveries to the broker, behind the answer. One that the broker does not
    /// take is in the store, and the sweeper finds it there.
    fn publish(self: &Arc<Self>, batch: Vec<Acceptance>, accepted: &[Accepted]) {
        let mut count = 0;
        let publications: Vec<_> = batch
            .into_iter()
            .zip(accepted)
            .filter_map(|(acceptance, accepted)| match accepted {
                Accepted::New { sequence } => {
                    count += queued(&acceptance);
                    Some(first_attempts(acceptance, *sequence))
                }
                Accepted::Duplicate { .. } | Accepted::Conflict => None,
            })
            .flatten()
            .collect();
        if publications.is_empty() {
            return;
        }
        let Ok(permit) = Arc::clone(&self.publishing).try_acquire_owned() else {
            self.metrics.publish_failed.inc_by(count);
            return;
        };
        let committer = Arc::clone(self);
        tokio::spawn(async move {
            match committer.broker.publish(publications).await {
                Ok(()) => committer.metrics.published.inc_by(count),
                Err(_) => {
                    committer.metrics.publish_failed.inc_by(count);
                    committer.metrics.dependency_failed("broker");
                }
            }
            drop(permit);
        });
    }
}

fn queued(acceptance: &Acceptance) -> u64 {
    let queued = acceptance
        .deliveries
        .iter()
        .filter(|delivery| delivery.held.is_none());
    u64::try_from(queued.count()).unwrap_or(u64::MAX)
}

/// The messages of an accepted event: it travels once with up to a handful of its deliveries.
fn first_attempts(acceptance: Acceptance, sequence: Option<u64>) -> Vec<Publication> {
    let trace = acceptance.trace;
    let event = Arc::new(Event {
        sequence,
        ..Arc::unwrap_or_clone(acceptance.event)
    });
    let works: Vec<_> = acceptance
        .deliveries
        .iter()
        .filter(|delivery| delivery.held.is_none())
        .map(|delivery| Work {
            trace,
            ..Work::first(delivery.id, delivery.endpoint, Arc::clone(&event))
        })
        .collect();
    works
        .chunks(WORKS_PER_MESSAGE_MAX)
        .map(|works| Publication {
            to: Destination::Delivery {
                urgent: works[0].is_urgent(),
                due_at: None,
            },
            body: Bytes::from(Work::all_to_json(works)),
        })
        .collect()
}
