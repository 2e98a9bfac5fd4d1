//! Outcomes into the store, in groups; through the broker while the store is away.

use std::sync::Arc;
use std::time::Duration;

use broker::{Ack, Broker, Destination, Incoming, Publication, Queue};
use bytes::Bytes;
use group_commit::{Group, Limits};
use store::{Record, Store, StoreWatch};
use telemetry::Metrics;
use tokio_util::sync::CancellationToken;

/// Records in one transaction at most.
const RECORDS_MAX: usize = 500;
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
    pub(crate) fn new(
        store: Arc<dyn Store>,
        watch: Arc<StoreWatch>,
        broker: Arc<dyn Broker>,
        metrics: Metrics,
        linger: Duration,
    ) -> Self {
        let limits = Limits {
            group_max: RECORDS_MAX,
            linger,
            ..Limits::default()
        };
        let sizes = metrics.group_sizes("record");
        let writer = Arc::new(Writer {
            store,
            watch,
            broker,
            metrics,
        });
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

struct Writer {
    store: Arc<dyn Store>,
    watch: Arc<StoreWatch>,
    broker: Arc<dyn Broker>,
    metrics: Metrics,
}

impl Writer {
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
            let body = serde_json::to_vec(batch).expect("records have only string keys");
            let outcomes = Publication {
                to: Destination::Outcomes,
                body: Bytes::from(body),
            };
            match self.broker.publish(vec![outcomes]).await {
                Ok(()) => return,
                Err(_) => self.metrics.dependency_failed("broker"),
            }
            tokio::time::sleep(RETRY_AFTER).await;
        }
    }
}

/// Writes what went through the broker while the store was away.
pub(crate) async fn write_outcomes(
    store: Arc<dyn Store>,
    watch: Arc<StoreWatch>,
    broker: Arc<dyn Broker>,
    metrics: Metrics,
    shutdown: CancellationToken,
) {
    let mut outcomes = broker.consume(Queue::Outcomes, OUTCOMES_PREFETCH);
    shutdown
        .run_until_cancelled(async {
            while let Some(messages) = outcomes.next_batch(OUTCOMES_PREFETCH.into()).await {
                let (records, acks) = read(messages, &broker, &metrics).await;
                while let Err(error) = store.record(&records).await {
                    watch.failed(&error);
                    tokio::time::sleep(RETRY_AFTER).await;
                }
                acks.into_iter().for_each(Ack::ack);
            }
        })
        .await;
}

async fn read(
    messages: Vec<Incoming>,
    broker: &Arc<dyn Broker>,
    metrics: &Metrics,
) -> (Vec<Record>, Vec<Ack>) {
    let mut records = Vec::new();
    let mut acks = Vec::new();
    for message in messages {
        match serde_json::from_slice::<Vec<Record>>(&message.body) {
            Ok(read) => {
                records.extend(read);
                acks.push(message.ack);
            }
            Err(error) => {
                park(
                    message,
                    Queue::Outcomes,
                    &error.to_string(),
                    broker,
                    metrics,
                )
                .await;
            }
        }
    }
    (records, acks)
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
