use std::sync::Arc;

use broker::Publication;
use model::{Event, WORKS_PER_MESSAGE_MAX, Work};
use store::{Acceptance, Accepted, StoreError};
use tokio::sync::Semaphore;

use crate::acceptor::{Parts, is_away};

/// Committed groups whose deliveries are on their way to the broker at most; what comes beyond
/// is left to the sweeper.
const PUBLISHING_GROUPS_MAX: usize = 256;

/// What a commit answers for one event: sources of errors are shared by the group.
pub(crate) type Committed = Result<Accepted, Arc<StoreError>>;

/// Commits a group and sends its deliveries on their way.
pub(crate) struct Committer {
    parts: Parts,
    publishing: Arc<Semaphore>,
}

impl Committer {
    pub(crate) fn new(parts: Parts) -> Arc<Self> {
        Arc::new(Self {
            parts,
            publishing: Arc::new(Semaphore::new(PUBLISHING_GROUPS_MAX)),
        })
    }

    pub(crate) async fn commit(self: Arc<Self>, batch: Vec<Acceptance>) -> Vec<Committed> {
        match self.store(&batch).await {
            Ok(accepted) => {
                self.publish(batch, &accepted);
                accepted.into_iter().map(Ok).collect()
            }
            Err(error) if batch.len() > 1 && !is_away(&error) => self.one_by_one(batch).await,
            Err(error) => {
                let error = Arc::new(error);
                batch.iter().map(|_| Err(Arc::clone(&error))).collect()
            }
        }
    }

    /// Commits each event of a group that the store refuses by itself: one that cannot be stored
    /// spoils no other.
    async fn one_by_one(self: Arc<Self>, batch: Vec<Acceptance>) -> Vec<Committed> {
        let mut committed = Vec::with_capacity(batch.len());
        for acceptance in batch {
            committed.push(match self.store(std::slice::from_ref(&acceptance)).await {
                Ok(accepted) => {
                    self.publish(vec![acceptance], &accepted);
                    Ok(accepted[0])
                }
                Err(error) => Err(Arc::new(error)),
            });
        }
        committed
    }

    async fn store(&self, batch: &[Acceptance]) -> Result<Vec<Accepted>, StoreError> {
        if self.parts.store_watch.is_away() {
            return Err(StoreError::Unavailable {
                reason: "it does not answer",
                source: "known away".into(),
            });
        }
        let accepted = self.parts.store.accept(batch).await;
        if let Err(error) = &accepted {
            self.parts.metrics.dependency_failed("store");
            self.parts.store_watch.failed(error);
        }
        accepted
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
            self.parts.metrics.publish_failed.inc_by(count);
            return;
        };
        let committer = Arc::clone(self);
        tokio::spawn(async move {
            match committer.parts.broker.publish(publications).await {
                Ok(()) => committer.parts.metrics.published.inc_by(count),
                Err(_) => {
                    committer.parts.metrics.publish_failed.inc_by(count);
                    committer.parts.metrics.dependency_failed("broker");
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
        .map(|works| Publication::of_works(works, None))
        .collect()
}
