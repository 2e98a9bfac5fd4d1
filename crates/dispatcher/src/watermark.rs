use std::sync::atomic::{AtomicI64, Ordering};

use model::{Timestamp, Work};

/// How far this process has got with a queue: when the message it received last was put there.
/// Queues are first in, first out, so what was queued earlier has been received, here or
/// elsewhere, or is lost.
#[derive(Debug, Default)]
pub(crate) struct Watermark {
    queued_at_ms: AtomicI64,
}

impl Watermark {
    pub(crate) fn received(&self, work: &Work) {
        self.queued_at_ms
            .store(work.queued_at_ms, Ordering::Relaxed);
    }

    /// Everything queued before this time should have been received. An empty queue says so of
    /// everything.
    pub(crate) fn passed(&self, queue_is_empty: bool, now: Timestamp) -> Timestamp {
        if queue_is_empty {
            return now;
        }
        Timestamp::from_millis(self.queued_at_ms.load(Ordering::Relaxed))
    }
}
