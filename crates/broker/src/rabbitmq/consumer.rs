use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::{FutureExt, StreamExt};
use lapin::message::Delivery;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::FieldTable;
use lapin::{Channel, Connection};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{Instant, interval_at, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::acks::{AckFrame, Acks};
use super::declare;
use super::link::Link;
use super::message::{delay, headers};
use super::onward::{Early, Onward};
use super::publisher::Publisher;
use super::session::{Backoff, refusal};
use crate::delay::{Wait, rest};
use crate::{Ack, Incoming, Queue};

/// Acknowledgements leave at most this often.
const FLUSH_EVERY: Duration = Duration::from_millis(2);

/// Acknowledgements taken in at once.
const SETTLED_MAX: usize = 1_024;

/// Messages taken from the client before anything else gets a turn.
const TURN_MAX: usize = 64;

/// How long nothing may come before the subscription is made anew. RabbitMQ can forget a consumer
/// without a word, as when its queue is deleted and at once made again.
const RENEW_AFTER: Duration = Duration::from_secs(20);

/// How long closing a channel may take.
const CLOSE_LIMIT: Duration = Duration::from_secs(1);

/// The part of the prefetch that messages nearly due may occupy.
const HELD_SHARE: u16 = 4;

/// One `consume` call: a channel, and another one whenever it breaks.
pub(super) struct Subscription {
    pub(super) link: Link,
    pub(super) publisher: Publisher,
    pub(super) queue: Queue,
    pub(super) prefetch: u16,
    pub(super) incoming: mpsc::Sender<Incoming>,
    pub(super) stopped: CancellationToken,
}

/// Why a session ended in good order.
enum End {
    /// Nobody wants more.
    Done,
    /// Nothing came for long.
    Idle,
}

impl Subscription {
    /// Works until the consumer is dropped or the broker handle closed.
    pub(super) async fn run(self) {
        let mut backoff = Backoff::default();
        loop {
            let connection = tokio::select! {
                connection = self.link.connected() => connection,
                () = self.incoming.closed() => return,
                () = self.stopped.cancelled() => return,
            };
            let Some(connection) = connection else {
                return;
            };
            match self.session(&connection, &mut backoff).await {
                Ok(End::Done) => return,
                Ok(End::Idle) => continue,
                Err(error) => {
                    let queue = self.queue.as_str();
                    tracing::warn!(queue, %error, "consuming stopped, will go on");
                    if refusal(&error).is_some() {
                        // The queue may have been deleted.
                        declare::mend(&connection).await;
                    }
                }
            }
            tokio::select! {
                () = backoff.wait() => {}
                () = self.incoming.closed() => return,
                () = self.stopped.cancelled() => return,
            }
        }
    }

    /// Consumes over one channel.
    async fn session(
        &self,
        connection: &Arc<Connection>,
        backoff: &mut Backoff,
    ) -> Result<End, lapin::Error> {
        let channel = connection.create_channel().await?;
        // Per consumer: a quorum queue knows no limit for the whole channel.
        channel
            .basic_qos(self.prefetch, BasicQosOptions::default())
            .await?;
        let (name, options) = (self.queue.as_str().into(), BasicConsumeOptions::default());
        let mut stream = channel
            .basic_consume(name, "".into(), options, FieldTable::default())
            .await?;
        *backoff = Backoff::default();
        let (mut session, mut settled) = Session::new(self, channel);
        let mut tags = Vec::new();
        let mut look = interval_at(Instant::now() + RENEW_AFTER, RENEW_AFTER);
        let mut dropped = std::pin::pin!(self.incoming.closed());
        loop {
            let flush_at = session.flushed + FLUSH_EVERY;
            tokio::select! {
                biased;
                _ = settled.recv_many(&mut tags, SETTLED_MAX) => {
                    tags.drain(..).for_each(|tag| session.acks.settle(tag));
                    if flush_at <= Instant::now() {
                        session.flush()?;
                    }
                }
                () = sleep_until(flush_at), if session.acks.is_pending() => session.flush()?,
                permit = self.incoming.reserve(), if session.held_up.is_some() => {
                    if let (Ok(permit), Some(message)) = (permit, session.held_up.take()) {
                        permit.send(message);
                    }
                }
                delivery = stream.next(), if session.held_up.is_none() => {
                    session.receive(delivery.ok_or_else(ended)??);
                    for _ in 1..TURN_MAX {
                        if session.held_up.is_some() {
                            break;
                        }
                        let Some(next) = stream.next().now_or_never() else { break };
                        session.receive(next.ok_or_else(ended)??);
                    }
                }
                _ = look.tick() => {
                    if session.is_idle() {
                        session.end().await?;
                        return Ok(End::Idle);
                    }
                }
                () = &mut dropped => break,
                () = self.stopped.cancelled() => break,
            }
        }
        while let Ok(tag) = settled.try_recv() {
            session.acks.settle(tag);
        }
        session.end().await?;
        Ok(End::Done)
    }
}

fn ended() -> lapin::Error {
    let reason = "the broker cancelled the consumer";
    std::io::Error::new(std::io::ErrorKind::ConnectionAborted, reason).into()
}

/// What lives as long as a channel.
struct Session<'a> {
    subscription: &'a Subscription,
    channel: Channel,
    acks: Acks,
    flushed: Instant,
    settle: mpsc::UnboundedSender<u64>,
    /// The last message that came.
    last_tag: u64,
    /// That of the last look.
    looked_at: u64,
    /// A message there was no room for.
    held_up: Option<Incoming>,
    /// Room for messages nearly due.
    timers: Arc<Semaphore>,
    onward: Onward,
}

impl<'a> Session<'a> {
    fn new(
        subscription: &'a Subscription,
        channel: Channel,
    ) -> (Self, mpsc::UnboundedReceiver<u64>) {
        let (settle, settled) = mpsc::unbounded_channel();
        let urgent = subscription.queue == Queue::UrgentDeliveries;
        let held_max = usize::from((subscription.prefetch / HELD_SHARE).max(1));
        let session = Self {
            subscription,
            channel,
            acks: Acks::default(),
            flushed: Instant::now(),
            onward: Onward::start(subscription.publisher.clone(), urgent, settle.clone()),
            settle,
            last_tag: 0,
            looked_at: 0,
            held_up: None,
            timers: Arc::new(Semaphore::new(held_max)),
        };
        (session, settled)
    }

    /// Whether nothing came since this was last asked and nothing is worked on.
    fn is_idle(&mut self) -> bool {
        let looked_at = std::mem::replace(&mut self.looked_at, self.last_tag);
        looked_at == self.last_tag && self.acks.is_done(self.last_tag)
    }

    /// Passes a message on, or sends it on to wait for the rest of its time.
    fn receive(&mut self, delivery: Delivery) {
        let tag = delivery.delivery_tag;
        self.last_tag = tag;
        let wait = delay(&delivery)
            .and_then(|delay| Some((delay, rest(delay.due_at, delay.total, ambient::now())?)));
        let timer = match wait {
            None => None,
            Some((delay, wait)) => {
                let timer = self.timer(wait);
                if timer.is_none() {
                    let body = Bytes::from(delivery.data);
                    self.onward.send(Early { tag, delay, body });
                    return;
                }
                timer
            }
        };
        let message = Incoming {
            headers: headers(self.subscription.queue, &delivery),
            body: Bytes::from(delivery.data),
            redelivered: delivery.redelivered,
            ack: Ack {
                settle: self.settle.clone(),
                tag,
            },
        };
        let incoming = &self.subscription.incoming;
        if let Some((hold, room)) = timer {
            let incoming = incoming.clone();
            tokio::spawn(async move {
                tokio::time::sleep(hold).await;
                let _consumer_gone = incoming.send(message).await;
                drop(room);
            });
            return;
        }
        match incoming.try_send(message) {
            Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => {}
            Err(mpsc::error::TrySendError::Full(message)) => self.held_up = Some(message),
        }
    }

    /// The right to wait here, if the wait is short and there is room.
    fn timer(&self, wait: Wait) -> Option<(Duration, OwnedSemaphorePermit)> {
        let Wait::Hold(hold) = wait else { return None };
        let room = Arc::clone(&self.timers).try_acquire_owned().ok()?;
        Some((hold, room))
    }

    fn flush(&mut self) -> Result<(), lapin::Error> {
        self.flushed = Instant::now();
        let frames = self.acks.flush();
        frames
            .into_iter()
            .try_for_each(|frame| send_ack(&self.channel, frame))
    }

    /// Acknowledges what is settled and closes the channel, which gives the rest back.
    async fn end(mut self) -> Result<(), lapin::Error> {
        for frame in self.acks.flush_all() {
            send_ack(&self.channel, frame)?;
        }
        let close = self.channel.close(200, "done".into());
        let _given_back_with_the_connection = timeout(CLOSE_LIMIT, close).await;
        Ok(())
    }
}

/// Hands the frame over without waiting until it is written.
pub(super) fn send_ack(channel: &Channel, frame: AckFrame) -> Result<(), lapin::Error> {
    let (tag, multiple) = match frame {
        AckFrame::UpTo(tag) => (tag, true),
        AckFrame::One(tag) => (tag, false),
    };
    channel
        .basic_ack(tag, BasicAckOptions { multiple })
        .now_or_never()
        .unwrap_or(Ok(()))
}
