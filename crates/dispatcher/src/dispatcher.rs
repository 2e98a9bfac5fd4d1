use std::sync::Arc;
use std::time::{Duration, Instant};

use broker::{Broker, Queue};
use model::{Timestamp, Work};
use sender::Sender;
use shared_state::SharedState;
use store::{Directory, Store, StoreWatch};
use telemetry::{Metrics, Traces};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::arrival::{Arrived, Read, Unreadable, read};
use crate::attempt::Exchanges;
use crate::circuits::OpenCircuits;
use crate::claims::Claims;
use crate::delivering::End;
use crate::disabling::Disabling;
use crate::in_hand::InHand;
use crate::lanes::Lanes;
use crate::recorder::{Recorder, Writer, park};
use crate::releaser::Holding;
use crate::watermark::Watermark;

/// Bulk messages, and bulk deliveries, in this process at most: waiting in line, in flight or
/// being recorded.
const PREFETCH: u16 = 2_048;
/// Urgent messages, and urgent deliveries, in this process at most.
const URGENT_PREFETCH: u16 = 256;

/// What a dispatcher works with.
#[derive(Clone, Debug)]
pub struct Parts {
    pub store: Arc<dyn Store>,
    pub store_watch: Arc<StoreWatch>,
    pub broker: Arc<dyn Broker>,
    pub shared_state: Arc<dyn SharedState>,
    pub directory: Arc<Directory>,
    pub sender: Arc<Sender>,
    pub metrics: Metrics,
    pub traces: Traces,
    /// How long records wait for one another: nobody but the broker waits for them, and a larger
    /// group costs the database less. What is not recorded when the process is killed is sent
    /// again, unless the shared state outlives it.
    pub record_linger: Duration,
}

/// Makes the attempts that are due.
#[derive(Debug)]
pub struct Dispatcher {
    pub(crate) parts: Parts,
    pub(crate) exchanges: Arc<Exchanges>,
    pub(crate) lanes: Lanes,
    pub(crate) holding: Holding,
    pub(crate) bulk_watermark: Watermark,
    pub(crate) urgent_watermark: Watermark,
    pub(crate) open_circuits: OpenCircuits,
    pub(crate) claims: Claims,
    pub(crate) recorder: Recorder,
    pub(crate) disabling: Arc<Disabling>,
    in_hand: InHand,
    pub(crate) looked_up_at: tokio::sync::Mutex<Option<Instant>>,
}

impl Dispatcher {
    pub fn new(parts: Parts) -> Arc<Self> {
        let recorder = Recorder::spawn(&parts);
        let claims = Claims::new(
            Arc::clone(&parts.shared_state),
            Arc::clone(&parts.store),
            Arc::clone(&parts.store_watch),
            &parts.metrics,
        );
        Arc::new(Self {
            exchanges: Exchanges::new(
                Arc::clone(&parts.sender),
                Arc::clone(&parts.directory),
                parts.traces.clone(),
            ),
            lanes: Lanes::default(),
            holding: Holding::default(),
            bulk_watermark: Watermark::default(),
            urgent_watermark: Watermark::default(),
            open_circuits: OpenCircuits::new(parts.metrics.circuits_open.clone()),
            in_hand: InHand::default(),
            claims,
            recorder,
            disabling: Disabling::new(Arc::clone(&parts.directory)),
            looked_up_at: tokio::sync::Mutex::default(),
            parts,
        })
    }

    /// Runs until `shutdown`, then finishes the attempts under way, for at most `grace`. What is
    /// not finished by then comes again.
    pub async fn run(self: Arc<Self>, shutdown: CancellationToken, grace: Duration) {
        let writer = Writer::new(&self.parts);
        let outcomes = tokio::spawn(writer.write_outcomes(shutdown.clone()));
        tokio::join!(
            self.consume(Queue::Deliveries, PREFETCH, &shutdown, grace),
            self.consume(Queue::UrgentDeliveries, URGENT_PREFETCH, &shutdown, grace),
        );
        let _stopped = outcomes.await;
    }

    async fn consume(
        self: &Arc<Self>,
        queue: Queue,
        prefetch: u16,
        shutdown: &CancellationToken,
        grace: Duration,
    ) {
        let mut consumer = self.parts.broker.consume(queue, prefetch);
        let places = Arc::new(Semaphore::new(usize::from(prefetch)));
        let attempts = TaskTracker::new();
        while let Some(Some(message)) = shutdown.run_until_cancelled(consumer.next()).await {
            let (works, message) = match read(message) {
                Ok(read) => read,
                Err(unreadable) => {
                    let Unreadable { message, reason } = *unreadable;
                    let (broker, metrics) = (&self.parts.broker, &self.parts.metrics);
                    park(message, queue, &reason, broker, metrics).await;
                    continue;
                }
            };
            self.waited(queue, &works[0]);
            for work in works {
                let place = Arc::clone(&places).acquire_owned().await;
                let place = place.expect("the semaphore is never closed");
                if let Some(arrived) = self.arrived(queue, work, &message, place) {
                    let dispatcher = Arc::clone(self);
                    let shutdown = shutdown.clone();
                    attempts.spawn(async move { dispatcher.deliver(arrived, &shutdown).await });
                }
            }
        }
        attempts.close();
        if tokio::time::timeout(grace, attempts.wait()).await.is_err() {
            tracing::warn!(
                queue = queue.as_str(),
                left = attempts.len(),
                "drained incompletely"
            );
        }
    }

    /// Since a message was queued, or due: all its deliveries left together.
    fn waited(&self, queue: Queue, work: &Work) {
        let since = Timestamp::from_millis(work.queued_at_ms.max(work.due_at_ms));
        let waited = ambient::now().since(since);
        self.parts.metrics.waited(queue.as_str(), waited);
    }

    /// Gives a delivery its place in the endpoint's lane: one after the other, so that deliveries
    /// start in the order in which they were queued. `None` for a repetition of one in hand.
    fn arrived(
        &self,
        queue: Queue,
        work: Work,
        message: &Arc<Read>,
        place: OwnedSemaphorePermit,
    ) -> Option<Arrived> {
        if queue == Queue::UrgentDeliveries {
            self.urgent_watermark.received(&work);
        } else {
            self.bulk_watermark.received(&work);
        }
        let Some(in_hand) = self.in_hand.take(&work) else {
            message.done_with_one();
            return None;
        };
        let snapshot = self.parts.directory.snapshot();
        let entry = snapshot
            .endpoint(work.endpoint)
            .filter(|endpoint| self.may_enter(endpoint, &work))
            .map(|endpoint| {
                self.lanes
                    .of(endpoint)
                    .enter(work.is_urgent(), Instant::now())
            });
        Some(Arrived {
            work,
            message: Arc::clone(message),
            in_hand,
            entry,
            place,
        })
    }

    /// One delivery, from its place in the lane to acknowledgement. What ends here without being
    /// finished is in the store, where the sweeper finds it.
    async fn deliver(&self, arrived: Arrived, shutdown: &CancellationToken) {
        let Arrived {
            work,
            message,
            in_hand,
            entry,
            place,
        } = arrived;
        let end = self
            .work_on(&work, message.redelivered, entry, shutdown)
            .await;
        // From when a hold is recorded it may be released, and come again at once.
        drop(in_hand);
        let durable = match end {
            End::Done => true,
            End::Hold(reason) => self.hold(&work, reason).await,
            End::Unfinished => false,
        };
        drop(place);
        if durable {
            message.done_with_one();
        }
    }
}
