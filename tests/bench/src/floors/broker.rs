//! A plain loop on RabbitMQ: a quorum queue, publisher confirms in a window, acknowledgements in
//! groups.

use futures::{StreamExt, TryStreamExt};
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions,
    ConfirmSelectOptions, QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Confirmation, Connection, ConnectionProperties, Consumer};

use anyhow::{Context, bail};

use super::{Ground, QueueCosts, Stopwatch};
use crate::services::{Corner, Services};

/// An event with what a delivery adds to it.
const MESSAGE_BYTES: usize = 600;
const CONFIRMS_IN_FLIGHT: usize = 500;
const PREFETCH: u16 = 1000;
const ACK_EVERY: u32 = 50;
const QUEUE: &str = "floor";

pub(super) fn measure(
    ground: &Ground<'_>,
    services: &Services,
    corner: &Corner,
) -> anyhow::Result<QueueCosts> {
    ground.runtime.block_on(async {
        let publishing = Link::open(corner.broker_url.as_str()).await?;
        let consuming = Link::open(corner.broker_url.as_str()).await?;
        let mut consumer = consuming.consume().await?;
        let both = async |count, consumer: &mut Consumer| {
            tokio::try_join!(
                publish(&publishing.channel, count),
                consume(consumer, count)
            )
        };
        both(ground.events / 4, &mut consumer).await?;

        let stopwatch = Stopwatch::start(services.rabbitmq_pid);
        both(ground.events, &mut consumer).await?;
        let hop = stopwatch.cost(ground.events);
        drop(consumer);
        consuming.close().await?;

        publish(&publishing.channel, ground.events).await?;
        let consuming = Link::open(corner.broker_url.as_str()).await?;
        let stopwatch = Stopwatch::start(services.rabbitmq_pid);
        consume(&mut consuming.consume().await?, ground.events).await?;
        let drain = stopwatch.cost(ground.events);
        consuming.close().await?;
        publishing.close().await?;
        Ok(QueueCosts { hop, drain })
    })
}

/// A connection with one channel, and the queue declared.
#[derive(Debug)]
pub(super) struct Link {
    connection: Connection,
    pub(super) channel: Channel,
}

impl Link {
    pub(super) async fn open(url: &str) -> anyhow::Result<Self> {
        let connection = Connection::connect(url, ConnectionProperties::default()).await?;
        let channel = connection.create_channel().await?;
        channel
            .confirm_select(ConfirmSelectOptions::default())
            .await?;
        channel
            .basic_qos(PREFETCH, BasicQosOptions::default())
            .await?;
        let mut arguments = FieldTable::default();
        arguments.insert(
            "x-queue-type".into(),
            AMQPValue::LongString("quorum".into()),
        );
        let options = QueueDeclareOptions {
            durable: true,
            ..QueueDeclareOptions::default()
        };
        channel
            .queue_declare(QUEUE.into(), options, arguments)
            .await?;
        Ok(Self {
            connection,
            channel,
        })
    }

    pub(super) async fn consume(&self) -> anyhow::Result<Consumer> {
        let options = BasicConsumeOptions::default();
        let arguments = FieldTable::default();
        Ok(self
            .channel
            .basic_consume(QUEUE.into(), "".into(), options, arguments)
            .await?)
    }

    async fn close(self) -> anyhow::Result<()> {
        self.connection.close(200, "done".into()).await?;
        Ok(())
    }
}

/// Publishes one message and waits for its confirm.
pub(super) async fn publish_one(channel: &Channel, body: &[u8]) -> anyhow::Result<()> {
    let options = BasicPublishOptions {
        mandatory: true,
        ..BasicPublishOptions::default()
    };
    let properties = BasicProperties::default().with_delivery_mode(2);
    let sent = channel
        .basic_publish("".into(), QUEUE.into(), options, body, properties)
        .await?;
    match sent.await? {
        Confirmation::Ack(None) => Ok(()),
        other => bail!("not confirmed: {other:?}"),
    }
}

async fn publish(channel: &Channel, count: u32) -> anyhow::Result<()> {
    let body = vec![b'x'; MESSAGE_BYTES];
    futures::stream::iter(0..count)
        .map(|_| publish_one(channel, &body))
        .buffer_unordered(CONFIRMS_IN_FLIGHT)
        .try_collect()
        .await
}

async fn consume(consumer: &mut Consumer, count: u32) -> anyhow::Result<()> {
    for number in 1..=count {
        let delivery = consumer.next().await.context("the consumer ended")??;
        if number % ACK_EVERY == 0 || number == count {
            delivery
                .acker
                .ack(BasicAckOptions { multiple: true })
                .await?;
        }
    }
    Ok(())
}
