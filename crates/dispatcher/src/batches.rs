//! Rapid events of one endpoint that leave in one request.

use std::sync::Arc;
use std::time::Duration;

use dialect::Batch;
use model::{Endpoint, Timestamp, Work};
use sender::Reply;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::{Instant, timeout_at};

use crate::attempt::{Exchange, Exchanges};

/// Deliveries on their way into a batch at most; beyond that they wait in the lane.
const ENTERING_MAX: usize = 64;

/// Collects deliveries of one endpoint into requests.
#[derive(Debug)]
pub(crate) struct Batcher {
    entering: mpsc::Sender<Entry>,
}

/// How a batch is made and sent.
#[derive(Debug)]
pub(crate) struct Batching {
    pub(crate) bounds: Batch,
    /// Requests under way side by side.
    pub(crate) requests_max: usize,
    pub(crate) timeout: Duration,
    pub(crate) exchanges: Arc<Exchanges>,
}

#[derive(Debug)]
struct Entry {
    work: Work,
    endpoint: Arc<Endpoint>,
    sent: oneshot::Sender<Sent>,
}

/// What became of the request a delivery travelled in.
#[derive(Debug)]
pub(crate) struct Sent {
    pub(crate) reply: Reply,
    pub(crate) started_at: Timestamp,
    /// One delivery of each request: the one that counts it.
    pub(crate) leads: bool,
}

impl Batcher {
    pub(crate) fn spawn(batching: Batching) -> Self {
        let (entering, entries) = mpsc::channel(ENTERING_MAX);
        tokio::spawn(collect(batching, entries));
        Self { entering }
    }

    /// Travels with the next request; `None` when the process is ending.
    pub(crate) async fn send(&self, work: &Work, endpoint: &Arc<Endpoint>) -> Option<Sent> {
        let (sent, answer) = oneshot::channel();
        let entry = Entry {
            work: work.clone(),
            endpoint: Arc::clone(endpoint),
            sent,
        };
        self.entering.send(entry).await.ok()?;
        answer.await.ok()
    }
}

async fn collect(batching: Batching, mut entries: mpsc::Receiver<Entry>) {
    let requests = Arc::new(Semaphore::new(batching.requests_max));
    let batching = Arc::new(batching);
    let mut left_over = None;
    loop {
        let first = match left_over.take() {
            Some(entry) => Some(entry),
            None => entries.recv().await,
        };
        let Some(first) = first else { return };
        let batch;
        (batch, left_over) = fill(batching.bounds, first, &mut entries).await;
        let permit = Arc::clone(&requests).acquire_owned().await;
        let permit = permit.expect("the semaphore is never closed");
        let batching = Arc::clone(&batching);
        tokio::spawn(async move {
            send(&batching, batch).await;
            drop(permit);
        });
    }
}

/// Waits for more entries until the batch is full or its first has waited long enough; answers
/// too the one that did not fit.
async fn fill(
    bounds: Batch,
    first: Entry,
    entries: &mut mpsc::Receiver<Entry>,
) -> (Vec<Entry>, Option<Entry>) {
    let deadline = Instant::now() + Duration::from_millis(bounds.max_wait_ms.into());
    let [events_max, bytes_max] =
        [bounds.max_events, bounds.max_bytes].map(|max| usize::try_from(max).unwrap_or(usize::MAX));
    let mut bytes = data_bytes(&first);
    let mut batch = vec![first];
    while batch.len() < events_max {
        let Ok(Some(entry)) = timeout_at(deadline, entries.recv()).await else {
            break;
        };
        bytes += data_bytes(&entry);
        if bytes > bytes_max {
            return (batch, Some(entry));
        }
        batch.push(entry);
    }
    (batch, None)
}

fn data_bytes(entry: &Entry) -> usize {
    entry.work.event.data.get().len()
}

async fn send(batching: &Batching, batch: Vec<Entry>) {
    let started_at = ambient::now();
    let endpoint = Arc::clone(&batch[0].endpoint);
    let Batching {
        exchanges, timeout, ..
    } = batching;
    let (mut works, mut answers): (Vec<_>, Vec<_>) = batch
        .into_iter()
        .map(|entry| (entry.work, entry.sent))
        .unzip();
    let mut rendered = exchanges.render(Exchange::new(&works, &endpoint, started_at));
    if rendered.is_err() && works.len() > 1 {
        // What cannot be rendered does not take its neighbours down: they leave without it.
        let alone = |work: &Work| {
            let work = std::slice::from_ref(work);
            exchanges.render(Exchange::new(work, &endpoint, started_at))
        };
        let (good, bad): (Vec<_>, Vec<_>) = works
            .into_iter()
            .zip(answers)
            .partition(|(work, _)| alone(work).is_ok());
        for (work, answer) in bad {
            let work = [work];
            let exchange = Exchange::new(&work, &endpoint, started_at);
            let reply = exchanges.make(exchange, *timeout).await;
            tell(vec![answer], &reply, started_at);
        }
        if good.is_empty() {
            return;
        }
        (works, answers) = good.into_iter().unzip();
        rendered = exchanges.render(Exchange::new(&works, &endpoint, started_at));
    }
    let exchange = Exchange::new(&works, &endpoint, started_at);
    let reply = exchanges.send(exchange, rendered, *timeout).await;
    tell(answers, &reply, started_at);
}

fn tell(answers: Vec<oneshot::Sender<Sent>>, reply: &Reply, started_at: Timestamp) {
    for (index, answer) in answers.into_iter().enumerate() {
        let _gave_up = answer.send(Sent {
            reply: reply.clone(),
            started_at,
            leads: index == 0,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lanes::tests::{endpoint, work};

    fn entry(data: &str) -> Entry {
        Entry {
            work: work(data),
            endpoint: Arc::new(endpoint()),
            sent: oneshot::channel().0,
        }
    }

    const BOUNDS: Batch = Batch {
        max_events: 3,
        max_bytes: 40,
        max_wait_ms: 30,
    };

    #[tokio::test]
    async fn a_batch_is_bounded_by_count_bytes_and_waiting_time() {
        let (entering, mut entries) = mpsc::channel(16);
        for data in ["a", "b", "c", "d"] {
            entering.send(entry(data)).await.unwrap();
        }
        let patient = Batch {
            max_wait_ms: 60_000,
            ..BOUNDS
        };
        let (batch, left_over) = fill(patient, entry("first"), &mut entries).await;
        assert_eq!((batch.len(), left_over.is_none()), (3, true));

        let large = "x".repeat(40);
        entering.send(entry(&large)).await.unwrap();
        let (batch, left_over) = fill(BOUNDS, entry("first"), &mut entries).await;
        assert_eq!(batch.len(), 3, "c and d go before the large one");
        assert!(left_over.is_none());
        let (batch, left_over) = fill(BOUNDS, entry("first"), &mut entries).await;
        assert_eq!(batch.len(), 1);
        assert!(left_over.is_some(), "the large one did not fit");

        let begun = Instant::now();
        let (batch, _) = fill(BOUNDS, entry("first"), &mut entries).await;
        assert_eq!(batch.len(), 1);
        assert!(begun.elapsed() >= Duration::from_millis(30));
    }
}
