use bytes::Bytes;
use tokio::sync::mpsc;

use super::message::{Delay, Message};
use super::publisher::Publisher;
use super::session::Backoff;
use crate::delay::hop;

/// Early messages sent on together.
const BATCH_MAX: usize = 256;

/// A delivery that came out of a rung before it was due.
#[derive(Debug)]
pub(super) struct Early {
    pub(super) tag: u64,
    pub(super) delay: Delay,
    pub(super) body: Bytes,
}

/// Puts early deliveries on their next rung: published and confirmed first, then settled.
pub(super) struct Onward {
    early: mpsc::UnboundedSender<Early>,
}

impl Onward {
    /// Starts the task; it ends with the session that receives what is settled.
    pub(super) fn start(
        publisher: Publisher,
        urgent: bool,
        settle: mpsc::UnboundedSender<u64>,
    ) -> Self {
        // Bounded by the prefetch: nothing in it is acknowledged.
        let (early, mut waiting) = mpsc::unbounded_channel::<Early>();
        tokio::spawn(async move {
            let mut batch = Vec::new();
            while waiting.recv_many(&mut batch, BATCH_MAX).await > 0 {
                let mut backoff = Backoff::default();
                while !settle.is_closed() {
                    let messages = batch.iter().map(|early| next(urgent, early)).collect();
                    match publisher.send(messages).await {
                        Ok(()) => {
                            batch.iter().for_each(|early| {
                                let _session_over = settle.send(early.tag);
                            });
                            break;
                        }
                        // The link reports why.
                        Err(_) => backoff.wait().await,
                    }
                }
                batch.clear();
            }
        });
        Self { early }
    }

    pub(super) fn send(&self, early: Early) {
        let _ends_with_us = self.early.send(early);
    }
}

fn next(urgent: bool, early: &Early) -> Message {
    let Early { delay, body, .. } = early;
    let rung = hop(delay.due_at.since(ambient::now()), delay.total);
    Message::delayed(urgent, *delay, rung, body.clone())
}
