//! Outcomes into the store, in groups; through the broker while the store is away.

use std::sync::Arc;
use std::time::Duration;

use broker::{Ack, Broker, Destination, Incoming, Publication, Queue};
use bytes::Bytes;
use group_commit::{Group, Limits};
use store::{Record, Store, StoreError, StoreWatch};
use telemetry::Metrics;
use tokio_util::sync::CancellationToken;

use crate::Parts;

/// Records in one transaction at most.
const RECORDS_MAX: usize = 500;
/// Bytes of records in one message at most, unless one alone has more.
const MESSAGE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Messages of records taken from the broker and not yet written at most.
const OUTCOMES_PREFETCH: u16 = 64;
/// How long to wait before a dependency is tried again.
const RETRY_AFTER: Duration = Duration::from_millis(250);

/// Makes records durable; when `record` returns, they are.
#[derive(Clone, Debug)]
pub(crate) struct Recorder {
    records: Group<Record, ()>,
}

impl Recorder {
    pub(crate) fn spawn(parts: &Parts) -> Self {
        let limits = Limits {
            group_max: RECORDS_MAX,
            linger: parts.record_linger,
            ..Limits::default()
        };
        let sizes = parts.metrics.group_sizes("record");
        let writer = Arc::new(Writer::new(parts));
        let records = Group::spawn(limits, sizes, move |batch| {
            let writer = Arc::clone(&writer);
            async move {
                writer.write(&batch).await;
                vec![(); batch.len()]
            }
        });
        Self { records }
    }

    /// Returns once the record is durable, however long that takes. False if the process ends
    /// before: then the delivery's message must not be acknowledged.
    pub(crate) async fn record(&self, record: Record) -> bool {
        self.records.submit(record).await.is_ok()
    }
}

/// Writes records to the store, or hands them to the broker.
pub(crate) struct Writer {
    store: Arc<dyn Store>,
    watch: Arc<StoreWatch>,
    broker: Arc<dyn Broker>,
    metrics: Metrics,
}

impl Writer {
    pub(crate) fn new(parts: &Parts) -> Self {
        Self {
            store: Arc::clone(&parts.store),
            watch: Arc::clone(&parts.store_watch),
            broker: Arc::clone(&parts.broker),
            metrics: parts.metrics.clone(),
        }
    }

    async fn write(&self, batch: &[Record]) {
        loop {
            if !self.watch.is_away() {
                match self.store.record(batch).await {
                    Ok(()) => return,
                    Err(error) => {
                        self.metrics.dependency_failed("store");
                        self.watch.failed(&error);
                    }
                }
            }
            match self.broker.publish(outcomes(batch)).await {
                Ok(()) => return,
                Err(_) => self.metrics.dependency_failed("broker"),
            }
            tokio::time::sleep(RETRY_AFTER).await;
        }
    }

    /// Writes what went through the broker while the store was away.
    pub(crate) async fn write_outcomes(self, shutdown: CancellationToken) {
        let mut outcomes = self.broker.consume(Queue::Outcomes, OUTCOMES_PREFETCH);
        shutdown
            .run_until_cancelled(async {
                while let Some(messages) = outcomes.next_batch(OUTCOMES_PREFETCH.into()).await {
                    let (records, acks) = self.read(messages).await;
                    for chunk in records.chunks(RECORDS_MAX) {
                        self.catch_up(chunk).await;
                    }
                    acks.into_iter().for_each(Ack::ack);
                }
            })
            .await;
    }

    /// Records a chunk. If the store refuses it, each record is tried alone: one that cannot be
    /// recorded keeps none of the others from it.
    async fn catch_up(&self, chunk: &[Record]) {
        if self.insist(chunk).await.is_ok() {
            return;
        }
        for record in chunk {
            if let Err(refusal) = self.insist(std::slice::from_ref(record)).await {
                self.set_aside(record, &refusal).await;
            }
        }
    }

    /// Records, however long the store is away; an error is one that time does not heal.
    async fn insist(&self, records: &[Record]) -> Result<(), StoreError> {
        loop {
            let Err(error) = self.store.record(records).await else {
                return Ok(());
            };
            self.watch.failed(&error);
            match error {
                StoreError::Unavailable { .. } => tokio::time::sleep(RETRY_AFTER).await,
                StoreError::Conflict | StoreError::Corrupt(_) => return Err(error),
            }
        }
    }

    async fn set_aside(&self, record: &Record, refusal: &StoreError) {
        let to = Destination::Parked {
            from: Queue::Outcomes,
            reason: refusal.to_string(),
            at: ambient::now(),
        };
        let body = outcome_bodies(std::slice::from_ref(record)).remove(0);
        let parked = Publication { to, body };
        while self.broker.publish(vec![parked.clone()]).await.is_err() {
            self.metrics.dependency_failed("broker");
            tokio::time::sleep(RETRY_AFTER).await;
        }
        let queue = Queue::Outcomes.as_str();
        self.metrics.parked.with_label_values(&[queue]).inc();
        tracing::error!(delivery.id = %record.delivery, queue, "parked a record that the store refuses");
    }

    async fn read(&self, messages: Vec<Incoming>) -> (Vec<Record>, Vec<Ack>) {
        let mut records = Vec::new();
        let mut acks = Vec::new();
        for message in messages {
            match serde_json::from_slice::<Vec<Record>>(&message.body) {
                Ok(read) => {
                    records.extend(read);
                    acks.push(message.ack);
                }
                Err(error) => {
                    let (broker, metrics) = (&self.broker, &self.metrics);
                    let reason = error.to_string();
                    park(message, Queue::Outcomes, &reason, broker, metrics).await;
                }
            }
        }
        (records, acks)
    }
}

fn outcomes(batch: &[Record]) -> Vec<Publication> {
    let to_outcomes = |body| Publication {
        to: Destination::Outcomes,
        body,
    };
    outcome_bodies(batch).into_iter().map(to_outcomes).collect()
}

/// The records as JSON arrays, each within [`MESSAGE_BYTES_MAX`] if it can be.
fn outcome_bodies(batch: &[Record]) -> Vec<Bytes> {
    let mut bodies = Vec::new();
    let mut body = Vec::new();
    for record in batch {
        let json = serde_json::to_vec(record).expect("records have only string keys");
        if !body.is_empty() && body.len() + json.len() + 2 > MESSAGE_BYTES_MAX {
            body.push(b']');
            bodies.push(Bytes::from(std::mem::take(&mut body)));
        }
        body.push(if body.is_empty() { b'[' } else { b',' });
        body.extend_from_slice(&json);
    }
    if !body.is_empty() {
        body.push(b']');
        bodies.push(Bytes::from(body));
    }
    bodies
}

/// Sets a message aside that cannot be read, with its reason. If the broker does not take it, it
/// comes again.
pub(crate) async fn park(
    message: Incoming,
    from: Queue,
    reason: &str,
    broker: &Arc<dyn Broker>,
    metrics: &Metrics,
) {
    let to = Destination::Parked {
        from,
        reason: reason.to_owned(),
        at: ambient::now(),
    };
    let parked = Publication {
        to,
        body: message.body,
    };
    if broker.publish(vec![parked]).await.is_ok() {
        metrics.parked.with_label_values(&[from.as_str()]).inc();
        tracing::error!(
            queue = from.as_str(),
            reason,
            "parked a message that cannot be read"
        );
        message.ack.ack();
    }
}

#[cfg(test)]
mod tests {
    use broker::Options;
    use model::{Attempt, AttemptId, DeliveryId, Outcome, Timestamp};
    use store::Verdict;
    use testkit::Services;

    use super::*;

    fn record(random: u128, error_detail: &str, body_bytes: usize) -> Record {
        let at = Timestamp::from_millis(ambient::now().as_millis());
        let delivery = DeliveryId::new(at, random);
        let attempt = Attempt {
            id: AttemptId::new(at, random),
            delivery,
            number: 1,
            started_at: at,
            duration: Duration::ZERO,
            outcome: Outcome::Answered {
                status: 500,
                retry_after: None,
            },
            error_detail: Some(error_detail.to_owned()),
            response_headers: Vec::new(),
            response_body: vec![255; body_bytes],
        };
        Record {
            delivery,
            attempt: Some(attempt),
            attempts_made: 0,
            verdict: Verdict::Failed,
            at,
        }
    }

    #[test]
    fn records_travel_in_messages_of_bounded_size_and_none_is_lost() {
        let kib = 1024;
        for (count, body_bytes, messages) in [
            (0, 0, 0),
            (1, 8 * 1024 * kib, 1),
            (RECORDS_MAX, 4 * kib, 1),
            (10, 1024 * kib, 5),
        ] {
            let body = record(1, "", body_bytes);
            let batch: Vec<_> = (0..count).map(|_| body.clone()).collect();
            let bodies = outcome_bodies(&batch);
            assert_eq!(bodies.len(), messages, "{count} of {body_bytes}");
            let read = |body: &Bytes| serde_json::from_slice::<Vec<Record>>(body).unwrap().len();
            assert_eq!(bodies.iter().map(read).sum::<usize>(), count);
            let within = |body: &Bytes| count == 1 || body.len() <= MESSAGE_BYTES_MAX;
            assert!(bodies.iter().all(within));
        }
    }

    /// PostgreSQL takes no NUL in a text.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_record_that_the_store_refuses_is_parked_and_the_others_are_written() {
        let database = Services::shared().unwrap().fresh_database().await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let url = format!("embedded://{}", folder.path().display());
        let store = store::open(&database).await.unwrap();
        store.migrate().await.unwrap();
        let writer = Writer {
            watch: StoreWatch::new(Arc::clone(&store)),
            store: Arc::clone(&store),
            broker: broker::open(&url, Options::default()).await.unwrap(),
            metrics: Metrics::new(false),
        };
        let batch = [record(1, "", 0), record(2, "\0", 0), record(3, "", 0)];
        let broker = Arc::clone(&writer.broker);
        broker.publish(outcomes(&batch)).await.unwrap();
        let shutdown = CancellationToken::new();
        let writing = tokio::spawn(writer.write_outcomes(shutdown.clone()));
        let mut parked = broker.consume(Queue::Parked, 1);
        let parked = tokio::time::timeout(Duration::from_secs(10), parked.next()).await;
        let parked = parked.unwrap().unwrap();
        let refused: Vec<Record> = serde_json::from_slice(&parked.body).unwrap();
        assert_eq!(refused[0].delivery, batch[1].delivery);
        let written = testkit::eventually("the others", Duration::from_secs(10), async || {
            let last = store.attempts(batch[2].delivery).await.ok()?;
            (last.len() == 1).then_some(())
        });
        written.await.unwrap();
        assert_eq!(store.attempts(batch[0].delivery).await.unwrap().len(), 1);
        shutdown.cancel();
        writing.await.unwrap();
    }
}
