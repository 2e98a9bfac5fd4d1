use std::collections::HashSet;

use tokio::sync::mpsc;

use super::command::Line;
use super::lane::Stored;
use super::record::plain_headers;
use crate::{Ack, Incoming, Queue};

/// Who is given messages of a queue, and which it has.
#[derive(Debug)]
pub(super) struct Subscriber {
    pub(super) queue: Queue,
    pub(super) prefetch: usize,
    /// `None` for one that took a handful and gets no more.
    pub(super) line: Option<Line>,
    pub(super) unsettled: HashSet<i64>,
}

impl Subscriber {
    pub(super) fn has_credit(&self) -> bool {
        self.line.is_some() && self.unsettled.len() < self.prefetch
    }

    pub(super) fn message(
        &mut self,
        id: i64,
        stored: Stored,
        settle: mpsc::UnboundedSender<u64>,
    ) -> Incoming {
        let Stored {
            headers,
            body,
            redelivered,
        } = stored;
        self.unsettled.insert(id);
        Incoming {
            headers: headers.unwrap_or_else(|| plain_headers(self.queue)),
            body,
            redelivered,
            ack: Ack {
                settle,
                tag: id.cast_unsigned(),
            },
        }
    }

    /// Sends a message to the consumer. If it was dropped meanwhile, its leaving is on its way
    /// and gives everything back.
    pub(super) fn send(&mut self, id: i64, stored: Stored) {
        let Some(line) = self.line.clone() else {
            return;
        };
        let message = self.message(id, stored, line.settle);
        if line.incoming.try_send(message).is_err() {
            self.line = None;
        }
    }
}
