//! Group commit: whatever arrives while the last group is under way leaves together in the next.
//!
//! A lone item waits for nothing; under load the groups grow by themselves. Each item gets its own
//! answer.
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
}

impl Default for Limits {
    fn default() -> Self {
        Self { group_max: 1_000, waiting_max: 4_096, groups_in_flight: 1 }
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
        Self { items: self.items.clone() }
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
        let (answer, answered) = oneshot::channel();
        self.items.send((item, answer)).await.map_err(|_| Closed)?;
        answered.await.map_err(|_| Closed)
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

    #[tokio::test]
    async fn what_arrives_meanwhile_leaves_together_up_to_the_limit() {
        let gate = Arc::new(tokio::sync::Semaphore::new(0));
        let limits = Limits { group_max: 4, ..Limits::default() };
        let entered = Arc::clone(&gate);
        let group = Group::spawn(limits, sizes(), move |items: Vec<usize>| {
            let gate = Arc::clone(&entered);
            async move {
                gate.acquire().await.unwrap().forget();
                vec![items.len(); items.len()]
            }
        });
        let submitted: Vec<_> = (0..10)
            .map(|n| {
                let group = group.clone();
                tokio::spawn(async move { group.submit(n).await })
            })
            .collect();
        while group.items.capacity() > limits.waiting_max - 6 {
            tokio::task::yield_now().await;
        }
        gate.add_permits(10);
        for task in submitted {
            let size = task.await.unwrap().unwrap();
            assert!(size <= 4, "a group of {size}");
        }
    }
}
