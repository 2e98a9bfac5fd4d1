use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use broker::{Ack, Incoming};
use model::Work;
use parking_lot::Mutex;
use tokio::sync::OwnedSemaphorePermit;

use crate::in_hand::Taken;
use crate::lane::Entry;

/// A delivery that this process works on.
pub(crate) struct Arrived {
    pub(crate) work: Work,
    pub(crate) message: Arc<Read>,
    pub(crate) in_hand: Taken,
    /// Its place in the lane, if it may have one.
    pub(crate) entry: Option<Entry>,
    /// Bounds the deliveries in the process.
    pub(crate) place: OwnedSemaphorePermit,
}

/// A message that was read: acknowledged when the last of its deliveries is done with, and
/// not at all if one is not.
#[derive(Debug)]
pub(crate) struct Read {
    pub(crate) redelivered: bool,
    left: AtomicUsize,
    ack: Mutex<Option<Ack>>,
}

impl Read {
    /// One of the deliveries is done with.
    pub(crate) fn done_with_one(&self) {
        if self.left.fetch_sub(1, Ordering::AcqRel) == 1
            && let Some(ack) = self.ack.lock().take()
        {
            ack.ack();
        }
    }
}

/// A message that cannot be read, with the reason.
pub(crate) struct Unreadable {
    pub(crate) message: Incoming,
    pub(crate) reason: String,
}

/// Reads a message.
pub(crate) fn read(message: Incoming) -> Result<(Vec<Work>, Arc<Read>), Box<Unreadable>> {
    match Work::from_json(&message.body) {
        Ok(works) => {
            let read = Read {
                redelivered: message.redelivered,
                left: AtomicUsize::new(works.len()),
                ack: Mutex::new(Some(message.ack)),
            };
            Ok((works, Arc::new(read)))
        }
        Err(error) => Err(Box::new(Unreadable {
            reason: error.to_string(),
            message,
        })),
    }
}
