use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use super::record::Record;
use crate::{BrokerError, Incoming, Queue, QueueDepth, QueueLook};

/// What the engine is asked to do.
#[derive(Debug)]
pub(super) enum Command {
    Publish {
        records: Vec<Record>,
        answer: oneshot::Sender<Result<(), BrokerError>>,
        /// Frees the room the records took once they are committed.
        room: OwnedSemaphorePermit,
    },
    Subscribe {
        subscriber: u64,
        queue: Queue,
        prefetch: u16,
        line: Line,
    },
    Take {
        subscriber: u64,
        queue: Queue,
        limit: usize,
        settle: mpsc::UnboundedSender<u64>,
        answer: oneshot::Sender<Result<Vec<Incoming>, BrokerError>>,
    },
    Settled {
        subscriber: u64,
        tags: Vec<u64>,
    },
    /// The subscriber is gone: what it did not settle goes back.
    Leave {
        subscriber: u64,
    },
    Depth {
        queue: Queue,
        answer: oneshot::Sender<QueueDepth>,
    },
    Look {
        answer: oneshot::Sender<Vec<QueueLook>>,
    },
    Close {
        closed: oneshot::Sender<()>,
    },
}

/// Where a consumer's messages go, and where its acknowledgements come from.
#[derive(Clone, Debug)]
pub(super) struct Line {
    pub(super) incoming: mpsc::Sender<Incoming>,
    pub(super) settle: mpsc::UnboundedSender<u64>,
}
