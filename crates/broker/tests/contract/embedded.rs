use std::time::Duration;

use broker::{OpenError, Options, Queue};

use crate::place::{LIMIT, Place, delivery, depth_becomes, next, text, to};

#[tokio::test]
async fn a_second_opener_is_told_that_the_queue_is_in_use() {
    let place = Place::embedded();
    let broker = place.open().await;
    let second = broker::open(&place.url, Options::default()).await;
    assert!(matches!(second, Err(OpenError::InUse { .. })), "{second:?}");
    broker.close().await;
    place.open().await.close().await;
}

#[tokio::test]
async fn a_backlog_beyond_what_memory_holds_comes_in_order() {
    const MESSAGES: usize = 25_000;
    let place = Place::embedded();
    let broker = place.open().await;
    for first in (0..MESSAGES).step_by(1_000) {
        broker
            .publish((first..first + 1_000).map(delivery).collect())
            .await
            .unwrap();
    }
    let mut consumer = broker.consume(Queue::Deliveries, 100);
    for expected in 0..MESSAGES {
        let message = next(&mut consumer).await;
        assert_eq!(text(&message), expected.to_string());
        message.ack.ack();
    }
    broker.close().await;
}

#[tokio::test]
async fn the_space_of_acknowledged_messages_is_used_again() {
    let place = Place::embedded();
    let broker = place.open().await;
    let mut consumer = broker.consume(Queue::Outcomes, 1_000);
    let body = "x".repeat(1_000);
    let mut sizes = Vec::new();
    for _round in 0..12 {
        for _batch in 0..5 {
            let publication = to(broker::Destination::Outcomes, &body);
            broker.publish(vec![publication; 1_000]).await.unwrap();
        }
        for _ in 0..5_000 {
            next(&mut consumer).await.ack.ack();
        }
        depth_becomes(&broker, Queue::Outcomes, 0).await;
        sizes.push(place.bytes_on_disk());
    }
    // 60 MB went through. The file and its log level off within a few rounds.
    let (settled, last) = (sizes[5], sizes[11]);
    assert!(last <= settled + (1 << 20), "it grows: {sizes:?}");
    broker.close().await;
}

#[tokio::test]
async fn an_idle_queue_passes_a_message_on_at_once() {
    let place = Place::embedded();
    let broker = place.open().await;
    let mut consumer = broker.consume(Queue::Deliveries, 10);
    let mut fastest = LIMIT;
    for n in 0..100 {
        let began = std::time::Instant::now();
        broker.publish(vec![delivery(n)]).await.unwrap();
        next(&mut consumer).await.ack.ack();
        fastest = fastest.min(began.elapsed());
    }
    // The time of one write to the disk, on a machine that may be busy.
    assert!(fastest < Duration::from_millis(20), "{fastest:?}");
    broker.close().await;
}

#[tokio::test]
async fn a_batch_may_be_larger_than_the_room_for_waiting_records() {
    const MESSAGES: usize = 20_001;
    let place = Place::embedded();
    let broker = place.open().await;
    broker
        .publish((0..MESSAGES).map(delivery).collect())
        .await
        .unwrap();
    depth_becomes(&broker, Queue::Deliveries, u64::try_from(MESSAGES).unwrap()).await;
    broker.close().await;
}
