//! Group commit: whatever arrives while the last group is under way leaves together in the next.
//!
//! A lone item waits for nothing; under load the groups grow by themselves. Where nobody waits for
//! the answer, a group may linger a little, so that fewer and larger ones leave. Each item gets its
//! own answer.
//!
//! ```
//! # let rt = tokio::runtime::Builder::new_current_thread().build().unwrap();
//! # rt.block_on(async {
//! let sizes = prometheus::Histogram::with_opts(prometheus::HistogramOpts::new("n", "n")).unwrap();
//! let group = group_commit::Group::spawn(group_commit::Limits::default(), sizes, |items: Vec<u32>| async {
//!     items.into_iter().map(|n| n * 2).collect()
//! });
//! assert_eq!(group.submit(21).await, Ok(42));
//! # });
//! ```

use std::future::Future;
use std::time::Duration;

use prometheus::Histogram;
use tokio::sync::{mpsc, oneshot};

/// Bounds of a group.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Items in one group at most.
    pub group_max: usize,
    /// Items waiting at most; beyond that `submit` waits.
    pub waiting_max: usize,
    /// Groups under way side by side.
    pub groups_in_flight: usize,
    /// How long a group that is not full waits for more items.
    pub linger: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            group_max: 1_000,
            waiting_max: 4_096,
            groups_in_flight: 1,
            linger: Duration::ZERO,
        }
    }
}

/// The group's task is gone: the process is ending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closed;

/// A handle to submit items with.
#[derive(Debug)]
pub struct Group<T, R> {
    items: mpsc::Sender<(T, oneshot::Sender<R>)>,
}

impl<T, R> Clone for Group<T, R> {
    fn clone(&self) -> Self {
        Self {
            items: self.items.clone(),
        }
    }
}

impl<T: Send + 'static, R: Send + 'static> Group<T, R> {
    /// Starts the task. `commit` gets a group and answers each item, in order.
    pub fn spawn<C, F>(limits: Limits, sizes: Histogram, commit: C) -> Self
    where
        C: Fn(Vec<T>) -> F + Send + 'static,
        F: Future<Output = Vec<R>> + Send + 'static,
    {
        let (items, mut waiting) = mpsc::channel::<(T, oneshot::Sender<R>)>(limits.waiting_max);
        tokio::spawn(async move {
            let mut under_way = tokio::task::JoinSet::new();
            let mut group = Vec::new();
            while waiting.recv_many(&mut group, limits.group_max).await > 0 {
                if !limits.linger.is_zero() && group.len() < limits.group_max {
                    tokio::time::sleep(limits.linger).await;
                    while group.len() < limits.group_max
                        && let Ok(item) = waiting.try_recv()
                    {
                        group.push(item);
                    }
                }
                let (batch, answers): (Vec<_>, Vec<_>) = group.drain(..).unzip();
                sizes.observe(u32::try_from(batch.len()).unwrap_or(u32::MAX).into());
                let commit = commit(batch);
                let run = async move {
                    for (answer, result) in answers.into_iter().zip(commit.await) {
                        let _caller_gone = answer.send(result);
                    }
                };
                if limits.groups_in_flight == 1 {
                    run.await;
                } else {
                    while under_way.len() >= limits.groups_in_flight {
                        under_way.join_next().await;
                    }
                    under_way.spawn(run);
                }
            }
            while under_way.join_next().await.is_some() {}
        });
        Self { items }
    }

    /// Waits for the item's group and answers what `commit` said of it.
    pub async fn submit(&self, item: T) -> Result<R, Closed> {
        self.enqueue(item).await?.await.map_err(|_| Closed)
    }

    /// Puts an item behind those enqueued before it; the answer comes through the receiver.
    pub async fn enqueue(&self, item: T) -> Result<oneshot::Receiver<R>, Closed> {
        let (answer, answered) = oneshot::channel();
        self.items.send((item, answer)).await.map_err(|_| Closed)?;
        Ok(answered)
    }

    /// Whether `submit` would have to wait for room.
    pub fn is_full(&self) -> bool {
        self.items.capacity() == 0
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn sizes() -> Histogram {
        let opts = prometheus::HistogramOpts::new("group_size", "Items per group.");
        Histogram::with_opts(opts).unwrap()
    }

    /// A group of at most 4 whose commits each wait for a permit of `gate`, and answer its size.
    fn gated(gate: &Arc<tokio::sync::Semaphore>, waiting_max: usize) -> Group<usize, usize> {
        let limits = Limits {
            group_max: 4,
            waiting_max,
            ..Limits::default()
        };
        let gate = Arc::clone(gate);
        Group::spawn(limits, sizes(), move |items: Vec<usize>| {
            let gate = Arc::clone(&gate);
            async move {
                gate.acquire().await.unwrap().forget();
                vec![items.len(); items.len()]
            }
        })
    }

    #[tokio::test]
    async fn what_arrives_meanwhile_leaves_together_up_to_the_limit() {
        let gate = Arc::new(tokio::sync::Semaphore::new(0));
        let group = gated(&gate, 100);
        let mut answers = vec![group.enqueue(0).await.unwrap()];
        while group.items.capacity() < 100 {
            tokio::task::yield_now().await;
        }
        for item in 1..10 {
            answers.push(group.enqueue(item).await.unwrap());
        }
        gate.add_permits(10);
        let mut sizes = Vec::new();
        for answer in answers {
            sizes.push(answer.await.unwrap());
        }
        assert_eq!(sizes, [1, 4, 4, 4, 4, 4, 4, 4, 4, 1]);
    }

    #[tokio::test]
    async fn a_group_that_lingers_takes_what_comes_after_its_first_item() {
        // Only a process that stands still for as long, between two turns, makes another group.
        let linger = Duration::from_millis(500);
        let limits = Limits {
            linger,
            group_max: 3,
            ..Limits::default()
        };
        let group = Group::spawn(limits, sizes(), |items: Vec<u32>| async move {
            vec![items.len(); items.len()]
        });
        let mut answers = vec![group.enqueue(0).await.unwrap()];
        while group.items.capacity() < limits.waiting_max {
            tokio::task::yield_now().await;
        }
        for item in 1..4 {
            answers.push(group.enqueue(item).await.unwrap());
        }
        let mut groups = Vec::new();
        for answer in answers {
            groups.push(answer.await.unwrap());
        }
        assert_eq!(groups, [3, 3, 3, 1]);
    }

    #[tokio::test]
    async fn waiting_items_are_bounded() {
        let gate = Arc::new(tokio::sync::Semaphore::new(0));
        let group = gated(&gate, 3);
        let mut answers = Vec::new();
        while !group.is_full() {
            answers.push(group.enqueue(0).await.unwrap());
            tokio::task::yield_now().await;
        }
        assert!(answers.len() <= 4 + 3, "{} items", answers.len());
        let one_more = group.submit(0);
        tokio::pin!(one_more);
        assert!(poll_once(one_more.as_mut()).await.is_none());
        gate.add_permits(10);
        assert!(one_more.await.is_ok());
    }

    async fn poll_once<F: Future>(future: std::pin::Pin<&mut F>) -> Option<F::Output> {
        tokio::select! {
            biased;
            output = future => Some(output),
            () = std::future::ready(()) => None,
        }
    }
}
