use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::vec::IntoIter;

use lapin::options::BasicPublishOptions;
use lapin::{Channel, Confirmation};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::message::Message;
use super::publisher::Job;
use super::session::unavailable;
use crate::BrokerError;

/// Unconfirmed messages: more do not make RabbitMQ faster, and cost the client time.
pub(super) const WINDOW_MESSAGES_MAX: usize = 1_000;

/// Unconfirmed bytes, but for a single larger message.
pub(super) const WINDOW_BYTES_MAX: usize = 8 << 20;

type Confirm = Pin<Box<dyn Future<Output = lapin::Result<Confirmation>> + Send>>;

/// What is published and not yet confirmed, in the order it was written.
///
/// The task that owns it is the only one that publishes on the channel: the client gives out
/// confirm numbers and writes frames in two steps, which two tasks could interleave. Only the
/// oldest message is waited for. Confirms come in order but for a few, so that those behind it are
/// mostly there as well and no task is woken for each.
pub(super) struct Window {
    channel: Arc<Channel>,
    unconfirmed: VecDeque<Unconfirmed>,
    bytes: usize,
    batches: VecDeque<Batch>,
    /// What is still to be written of the last batch.
    unwritten: IntoIter<Message>,
    /// A message found no queue.
    unroutable: bool,
}

struct Unconfirmed {
    confirm: Confirm,
    /// Set if it was there at once: a failure.
    early: Option<lapin::Result<Confirmation>>,
    bytes: usize,
    since: Instant,
}

struct Batch {
    /// Messages not settled yet.
    left: usize,
    failure: Option<String>,
    answer: Option<oneshot::Sender<Result<(), BrokerError>>>,
}

impl Window {
    pub(super) fn new(channel: Arc<Channel>) -> Self {
        Self {
            channel,
            unconfirmed: VecDeque::new(),
            bytes: 0,
            batches: VecDeque::new(),
            unwritten: Vec::new().into_iter(),
            unroutable: false,
        }
    }

    /// Whether a message found no queue since this was last asked.
    pub(super) fn take_unroutable(&mut self) -> bool {
        std::mem::take(&mut self.unroutable)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.unconfirmed.is_empty()
    }

    pub(super) fn has_room(&self) -> bool {
        self.unconfirmed.len() < WINDOW_MESSAGES_MAX && self.bytes < WINDOW_BYTES_MAX
    }

    /// When the oldest unconfirmed message was written.
    pub(super) fn oldest(&self) -> Option<Instant> {
        self.unconfirmed.front().map(|oldest| oldest.since)
    }

    /// Writes what there is room for; whether there is room for another batch.
    pub(super) fn feed(&mut self) -> bool {
        while self.has_room() {
            match self.unwritten.next() {
                Some(message) => self.write(message),
                None => return true,
            }
        }
        false
    }

    /// Takes a batch in; the one before must be written.
    pub(super) fn begin(&mut self, job: Job) {
        let left = job.messages.len();
        self.batches.push_back(Batch {
            left,
            failure: None,
            answer: Some(job.answer),
        });
        self.unwritten = job.messages.into_iter();
        self.feed();
    }

    fn write(&mut self, message: Message) {
        let bytes = message.body.len();
        let mut confirm: Confirm = Box::pin(publish(Arc::clone(&self.channel), message));
        // The first poll hands the frames over. Nobody needs to be woken when they are written.
        let early = match confirm
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()))
        {
            Poll::Ready(early) => Some(early),
            Poll::Pending => None,
        };
        self.bytes += bytes;
        self.unconfirmed.push_back(Unconfirmed {
            confirm,
            early,
            bytes,
            since: Instant::now(),
        });
    }

    /// Settles every message, oldest first, whose confirm is there; pending if there is none.
    pub(super) fn poll_settle(&mut self, cx: &mut Context<'_>) -> Poll<lapin::Result<()>> {
        let mut settled = false;
        while let Some(oldest) = self.unconfirmed.front_mut() {
            let confirmation = match oldest.early.take() {
                Some(early) => early,
                None => match oldest.confirm.as_mut().poll(cx) {
                    Poll::Ready(confirmation) => confirmation,
                    Poll::Pending if settled => return Poll::Ready(Ok(())),
                    Poll::Pending => return Poll::Pending,
                },
            };
            match confirmation {
                Ok(confirmation) => self.settle(confirmation),
                Err(error) => return Poll::Ready(Err(error)),
            }
            settled = true;
        }
        Poll::Ready(Ok(()))
    }

    fn settle(&mut self, confirmation: Confirmation) {
        if let Some(settled) = self.unconfirmed.pop_front() {
            self.bytes -= settled.bytes;
        }
        let batch = self
            .batches
            .front_mut()
            .expect("an unconfirmed message belongs to a batch");
        batch.left -= 1;
        match confirmation {
            Confirmation::Ack(None) => {}
            Confirmation::Ack(Some(returned)) => {
                self.unroutable = true;
                batch.failure = Some(format!(
                    "no queue takes {} from exchange \"{}\"",
                    returned.routing_key, returned.exchange
                ));
            }
            Confirmation::Nack(_) => batch.failure = Some("the broker refused it".to_owned()),
            Confirmation::NotRequested => batch.failure = Some("no confirm".to_owned()),
        }
        if batch.left == 0
            && let Some(Batch {
                failure,
                answer: Some(answer),
                ..
            }) = self.batches.pop_front()
        {
            let result = failure.map_or(Ok(()), |reason| Err(unavailable(reason)));
            let _caller_gone = answer.send(result);
        }
    }

    /// Stops everybody's waiting: the broker takes nothing in. What is written may still arrive.
    pub(super) fn abandon(&mut self, reason: &str) {
        let unwritten = std::mem::replace(&mut self.unwritten, Vec::new().into_iter()).len();
        if let Some(last) = self.batches.back_mut() {
            last.left -= unwritten;
        }
        for batch in &mut self.batches {
            if let Some(answer) = batch.answer.take() {
                let _caller_gone = answer.send(Err(unavailable(reason)));
            }
        }
        self.batches.retain(|batch| batch.left > 0);
    }

    /// Counts the age of everything from `now`.
    pub(super) fn rejuvenate(&mut self, now: Instant) {
        for unconfirmed in &mut self.unconfirmed {
            unconfirmed.since = now;
        }
    }
}

async fn publish(channel: Arc<Channel>, message: Message) -> lapin::Result<Confirmation> {
    let Message {
        exchange,
        routing_key,
        properties,
        body,
    } = message;
    // Without `mandatory` a message that no queue takes is confirmed and gone.
    let options = BasicPublishOptions {
        mandatory: true,
        ..BasicPublishOptions::default()
    };
    let written = channel
        .basic_publish(exchange.into(), routing_key, options, &body, properties)
        .await?;
    written.await
}
