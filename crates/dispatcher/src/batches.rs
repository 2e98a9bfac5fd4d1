//! Rapid events of one endpoint that leave in one request.

use std::future::Future;
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
    pub(crate) bounds: Bounds,
    pub(crate) timeout: Duration,
    pub(crate) exchanges: Arc<Exchanges>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) batch: Batch,
    /// Requests under way side by side.
    pub(crate) requests_max: usize,
    /// How long a delivery may wait for a request before it is given back.
    pub(crate) wait_max: Duration,
}

#[derive(Debug)]
struct Entry {
    work: Work,
    endpoint: Arc<Endpoint>,
    entered: Instant,
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
        let batching = Arc::new(batching);
        tokio::spawn(collect(batching.bounds, entries, move |batch| {
            send(Arc::clone(&batching), batch)
        }));
        Self { entering }
    }

    /// Travels with the next request; `None` if none could be made in time, or the endpoint was
    /// changed meanwhile.
    pub(crate) async fn send(&self, work: &Work, endpoint: &Arc<Endpoint>) -> Option<Sent> {
        let (sent, answer) = oneshot::channel();
        let entry = Entry {
            work: work.clone(),
            endpoint: Arc::clone(endpoint),
            entered: Instant::now(),
            sent,
        };
        self.entering.send(entry).await.ok()?;
        answer.await.ok()
    }
}

/// Gathers entries into batches and hands each to `send`, at most `requests_max` side by side. A
/// batch gathers once a request may be made, so that deliveries wait in front of it and not in it.
async fn collect<F: Future<Output = ()> + Send + 'static>(
    bounds: Bounds,
    mut entries: mpsc::Receiver<Entry>,
    send: impl Fn(Vec<Entry>) -> F,
) {
    let requests = Arc::new(Semaphore::new(bounds.requests_max));
    let mut left_over = None;
    loop {
        let first = match left_over.take() {
            Some(entry) => Some(entry),
            None => entries.recv().await,
        };
        let Some(first) = first else { return };
        let permit = Arc::clone(&requests).acquire_owned().await;
        let permit = permit.expect("the semaphore is never closed");
        if first.entered.elapsed() > bounds.wait_max {
            // Given back: its claim would not last until it is answered.
            continue;
        }
        let batch;
        (batch, left_over) = fill(bounds.batch, first, &mut entries).await;
        let sending = send(batch);
        tokio::spawn(async move {
            sending.await;
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
    let deadline = first.entered + Duration::from_millis(bounds.max_wait_ms.into());
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

async fn send(batching: Arc<Batching>, batch: Vec<Entry>) {
    let started_at = ambient::now();
    let endpoint = Arc::clone(&batch[0].endpoint);
    let Batching {
        exchanges, timeout, ..
    } = &*batching;
    if !exchanges.is_current(&endpoint) {
        // Given back, for the endpoint as it is by now.
        return;
    }
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

    const PATIENT: Batch = Batch {
        max_events: 3,
        max_bytes: 40,
        max_wait_ms: 60_000,
    };
    const SOON: Duration = Duration::from_secs(10);

    fn entry(data: &str) -> Entry {
        Entry {
            work: work(data),
            endpoint: Arc::new(endpoint()),
            entered: Instant::now(),
            sent: oneshot::channel().0,
        }
    }

    fn entries(data: &[&str]) -> (mpsc::Sender<Entry>, mpsc::Receiver<Entry>) {
        let (entering, entries) = mpsc::channel(16);
        for data in data {
            entering.try_send(entry(data)).unwrap();
        }
        (entering, entries)
    }

    #[tokio::test]
    async fn a_batch_is_bounded_by_count() {
        let (_entering, mut entries) = entries(&["a", "b", "c"]);
        let (batch, left_over) = fill(PATIENT, entry("first"), &mut entries).await;
        assert_eq!((batch.len(), left_over.is_none()), (3, true));
    }

    #[tokio::test]
    async fn a_batch_is_bounded_by_bytes_and_what_does_not_fit_comes_next() {
        let large = "x".repeat(40);
        let (_entering, mut entries) = entries(&[&large, "b"]);
        let (batch, left_over) = fill(PATIENT, entry("first"), &mut entries).await;
        assert_eq!(batch.len(), 1);
        assert_eq!(data_bytes(&left_over.unwrap()), data_bytes(&entry(&large)));
    }

    #[tokio::test]
    async fn a_batch_waits_for_others_no_longer_than_since_its_first_entered() {
        let (_entering, mut waiting) = entries(&["a"]);
        let filling = fill(PATIENT, entry("first"), &mut waiting);
        let still = tokio::time::timeout(Duration::ZERO, filling).await;
        assert!(still.is_err(), "there is time left");

        let (_entering, mut waiting) = entries(&["a"]);
        let first = Entry {
            entered: Instant::now() - Duration::from_secs(61),
            ..entry("first")
        };
        let filled = tokio::time::timeout(SOON, fill(PATIENT, first, &mut waiting)).await;
        assert_eq!(filled.unwrap().0.len(), 2, "what is there goes along");
    }

    /// A collector of one request at a time; answers each batch, which goes on until its sender is
    /// dropped.
    fn one_at_a_time(
        wait_max: Duration,
        entries: mpsc::Receiver<Entry>,
    ) -> mpsc::UnboundedReceiver<(Vec<Entry>, oneshot::Sender<()>)> {
        let (sending, sent) = mpsc::unbounded_channel();
        let bounds = Bounds {
            batch: Batch {
                max_wait_ms: 0,
                ..PATIENT
            },
            requests_max: 1,
            wait_max,
        };
        tokio::spawn(collect(bounds, entries, move |batch| {
            let (end, ended) = oneshot::channel();
            sending.send((batch, end)).unwrap();
            async move {
                let _dropped = ended.await;
            }
        }));
        sent
    }

    #[tokio::test]
    async fn what_comes_while_a_request_is_under_way_leaves_in_the_next() {
        let (entering, waiting) = entries(&["a"]);
        let mut sent = one_at_a_time(SOON, waiting);
        let (_first, end) = sent.recv().await.unwrap();
        for data in ["b", "c", "d"] {
            entering.send(entry(data)).await.unwrap();
        }
        assert!(sent.try_recv().is_err());
        drop(end);
        assert_eq!(sent.recv().await.unwrap().0.len(), 3);
    }

    #[tokio::test]
    async fn what_has_waited_too_long_for_a_request_is_given_back() {
        let (entering, waiting) = entries(&["a"]);
        let mut sent = one_at_a_time(SOON, waiting);
        let (_first, end) = sent.recv().await.unwrap();
        let (answer, answered) = oneshot::channel();
        let late = Entry {
            entered: Instant::now() - 2 * SOON,
            sent: answer,
            ..entry("late")
        };
        entering.send(late).await.unwrap();
        entering.send(entry("b")).await.unwrap();
        drop(end);
        assert!(answered.await.is_err());
        assert_eq!(sent.recv().await.unwrap().0.len(), 1);
    }
}
