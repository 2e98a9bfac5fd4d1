use bytes::Bytes;
use lapin::options::{BasicGetOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{Channel, Connection};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::acks::Acks;
use super::consumer::send_ack;
use super::message::headers;
use super::session::{Refusal, refusal};
use crate::topology::Topology;
use crate::{Ack, Incoming, Queue, QueueDepth, QueueLook};

/// Acknowledgements taken in at once.
const SETTLED_MAX: usize = 1_024;

/// Takes messages out over a channel of their own, which lives until each is settled or dropped.
pub(super) async fn take(
    connection: &Connection,
    queue: Queue,
    limit: u32,
    tracker: &TaskTracker,
    stopped: CancellationToken,
) -> Result<Vec<Incoming>, lapin::Error> {
    let channel = connection.create_channel().await?;
    let (settle, settled) = mpsc::unbounded_channel();
    let mut taken = Vec::new();
    for _ in 0..limit {
        let got = channel
            .basic_get(queue.as_str().into(), BasicGetOptions::default())
            .await?;
        let Some(got) = got else { break };
        let delivery = got.delivery;
        let ack = Ack {
            settle: settle.clone(),
            tag: delivery.delivery_tag,
        };
        taken.push(Incoming {
            headers: headers(queue, &delivery),
            redelivered: delivery.redelivered,
            body: Bytes::from(delivery.data),
            ack,
        });
    }
    tracker.spawn(until_settled(channel, settled, stopped));
    Ok(taken)
}

async fn until_settled(
    channel: Channel,
    mut settled: mpsc::UnboundedReceiver<u64>,
    stopped: CancellationToken,
) {
    let mut acks = Acks::default();
    let mut tags = Vec::new();
    loop {
        let received = tokio::select! {
            biased;
            received = settled.recv_many(&mut tags, SETTLED_MAX) => received,
            () = stopped.cancelled() => 0,
        };
        if received == 0 {
            // Given before the stop, but after this was last looked at.
            while let Ok(tag) = settled.try_recv() {
                tags.push(tag);
            }
        }
        tags.drain(..).for_each(|tag| acks.settle(tag));
        let sent = acks
            .flush_all()
            .into_iter()
            .try_for_each(|frame| send_ack(&channel, frame));
        if received == 0 || sent.is_err() {
            break;
        }
    }
    let _given_back_with_the_connection = channel.close(200, "done".into()).await;
}

pub(super) async fn depth(
    connection: &Connection,
    queue: Queue,
) -> Result<QueueDepth, lapin::Error> {
    let channel = connection.create_channel().await?;
    let depth = depth_over(&channel, queue.as_str()).await?;
    channel.close(200, "read".into()).await?;
    Ok(depth)
}

/// Every queue of the topology that is there.
pub(super) async fn look(
    connection: &Connection,
    topology: &Topology,
) -> Result<Vec<QueueLook>, lapin::Error> {
    let mut channel = connection.create_channel().await?;
    let mut looks = Vec::with_capacity(topology.queues.len());
    for queue in &topology.queues {
        match depth_over(&channel, &queue.name).await {
            Ok(depth) => looks.push(QueueLook {
                name: queue.name.clone(),
                delays: queue.delays,
                depth,
            }),
            // The broker has closed the channel over it.
            Err(error) if refusal(&error) == Some(Refusal::NotFound) => {
                channel = connection.create_channel().await?;
            }
            Err(error) => return Err(error),
        }
    }
    channel.close(200, "read".into()).await?;
    Ok(looks)
}

async fn depth_over(channel: &Channel, queue: &str) -> Result<QueueDepth, lapin::Error> {
    let passive = QueueDeclareOptions {
        passive: true,
        ..QueueDeclareOptions::default()
    };
    let found = channel
        .queue_declare(queue.into(), passive, FieldTable::default())
        .await?;
    Ok(QueueDepth {
        ready: u64::from(found.message_count()),
        consumers: u64::from(found.consumer_count()),
    })
}
