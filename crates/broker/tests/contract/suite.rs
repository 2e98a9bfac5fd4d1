use std::collections::HashSet;
use std::time::Duration;

use broker::{BrokerError, BrokerStatus, Destination, Headers, Queue};
use model::Timestamp;

use crate::place::{LIMIT, Place, assert_quiet, delayed, delivery, depth_becomes, next, text, to};

pub(crate) async fn published_messages_come_once_and_in_order(place: Place) {
    let broker = place.open().await;
    for batch in 0..10 {
        broker
            .publish((0..10).map(|n| delivery(batch * 10 + n)).collect())
            .await
            .unwrap();
    }
    depth_becomes(&broker, Queue::Deliveries, 100).await;
    let mut consumer = broker.consume(Queue::Deliveries, 30);
    for expected in 0..100 {
        let message = next(&mut consumer).await;
        assert_eq!(text(&message), expected.to_string());
        assert!(!message.redelivered);
        assert_eq!(message.headers.routing_key, Queue::Deliveries.as_str());
        message.ack.ack();
    }
    assert_quiet(&mut consumer).await;
    let depth = broker.depth(Queue::Deliveries).await.unwrap();
    assert_eq!((depth.ready, depth.consumers), (0, 1));
    broker.close().await;
}

pub(crate) async fn a_batch_may_be_larger_than_every_window(place: Place) {
    let broker = place.open().await;
    broker
        .publish((0..2_500).map(delivery).collect())
        .await
        .unwrap();
    broker.publish(Vec::new()).await.unwrap();
    let mut consumer = broker.consume(Queue::Deliveries, 1_000);
    for expected in 0..2_500 {
        let message = next(&mut consumer).await;
        assert_eq!(text(&message), expected.to_string());
        message.ack.ack();
    }
    broker.close().await;
}

pub(crate) async fn concurrent_publishers_lose_and_double_nothing(place: Place) {
    let broker = place.open().await;
    let publishers: Vec<_> = (0..20)
        .map(|publisher| {
            let broker = std::sync::Arc::clone(&broker);
            tokio::spawn(async move {
                for n in 0..50 {
                    let body = publisher * 50 + n;
                    broker.publish(vec![delivery(body)]).await.unwrap();
                }
            })
        })
        .collect();
    let mut consumer = broker.consume(Queue::Deliveries, 100);
    let mut received = HashSet::new();
    while received.len() < 1_000 {
        let message = next(&mut consumer).await;
        assert!(
            received.insert(text(&message)),
            "{} came twice",
            text(&message)
        );
        message.ack.ack();
    }
    for publisher in publishers {
        publisher.await.unwrap();
    }
    assert_quiet(&mut consumer).await;
    broker.close().await;
}

pub(crate) async fn an_event_brings_its_headers(place: Place) {
    let broker = place.open().await;
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let trace = trace.parse().unwrap();
    let event = Destination::Events {
        tenant: "acme".parse().unwrap(),
        event_type: "license.created".parse().unwrap(),
        id: "evt_1".parse().unwrap(),
        trace: Some(trace),
    };
    broker.publish(vec![to(event, "{}")]).await.unwrap();
    let mut consumer = broker.consume(Queue::Intake, 10);
    let message = next(&mut consumer).await;
    assert_eq!(text(&message), "{}");
    let expected = Headers {
        tenant: Some("acme".to_owned()),
        message_id: Some("evt_1".to_owned()),
        content_type: Some("application/json".to_owned()),
        routing_key: "license.created".to_owned(),
        trace: Some(trace),
        published_at: message.headers.published_at,
        ..Headers::default()
    };
    assert_eq!(message.headers, expected);
    broker.close().await;
}

pub(crate) async fn no_more_than_the_prefetch_is_given_out(place: Place) {
    let broker = place.open().await;
    broker
        .publish((0..30).map(delivery).collect())
        .await
        .unwrap();
    let mut consumer = broker.consume(Queue::Deliveries, 10);
    let mut given = Vec::new();
    for _ in 0..10 {
        given.push(next(&mut consumer).await);
    }
    assert_quiet(&mut consumer).await;
    for message in given.drain(..3) {
        message.ack.ack();
    }
    for expected in 10..13 {
        let message = next(&mut consumer).await;
        assert_eq!(text(&message), expected.to_string());
        given.push(message);
    }
    assert_quiet(&mut consumer).await;
    broker.close().await;
}

pub(crate) async fn one_slow_message_does_not_keep_the_others(place: Place) {
    let broker = place.open().await;
    broker
        .publish((0..50).map(delivery).collect())
        .await
        .unwrap();
    let mut consumer = broker.consume(Queue::Deliveries, 4);
    let slow = next(&mut consumer).await;
    for expected in 1..50 {
        let message = next(&mut consumer).await;
        assert_eq!(text(&message), expected.to_string());
        message.ack.ack();
    }
    slow.ack.ack();
    drop(consumer);
    let mut again = broker.consume(Queue::Deliveries, 4);
    assert_quiet(&mut again).await;
    broker.close().await;
}

pub(crate) async fn a_dropped_consumer_gives_back_what_it_did_not_acknowledge(place: Place) {
    let broker = place.open().await;
    broker
        .publish((0..5).map(delivery).collect())
        .await
        .unwrap();
    let mut consumer = broker.consume(Queue::Deliveries, 5);
    let first = next(&mut consumer).await;
    let second = next(&mut consumer).await;
    assert_eq!(text(&second), "1");
    second.ack.ack();
    // One that was never given out may come before those that are given back.
    depth_becomes(&broker, Queue::Deliveries, 0).await;
    drop(consumer);
    let mut again = broker.consume(Queue::Deliveries, 5);
    for expected in ["0", "2", "3", "4"] {
        let message = next(&mut again).await;
        assert_eq!(text(&message), expected);
        assert!(message.redelivered, "{expected}");
    }
    // Of a consumer that is gone: it settles nothing.
    first.ack.ack();
    assert_quiet(&mut again).await;
    drop(again);
    let mut last = broker.consume(Queue::Deliveries, 1);
    assert_eq!(text(&next(&mut last).await), "0");
    broker.close().await;
}

pub(crate) async fn two_consumers_share_a_queue(place: Place) {
    let broker = place.open().await;
    let mut one = broker.consume(Queue::Deliveries, 5);
    let mut other = broker.consume(Queue::Deliveries, 5);
    testkit::eventually("two consumers", LIMIT, async || {
        (broker.depth(Queue::Deliveries).await.unwrap().consumers == 2).then_some(())
    })
    .await
    .unwrap();
    broker
        .publish((0..10).map(delivery).collect())
        .await
        .unwrap();
    let mut received = HashSet::new();
    for _ in 0..5 {
        received.insert(text(&next(&mut one).await));
        received.insert(text(&next(&mut other).await));
    }
    assert_eq!(received.len(), 10);
    broker.close().await;
}

pub(crate) async fn what_is_published_right_after_connecting_is_taken(place: Place) {
    for _ in 0..10 {
        let broker = place.open().await;
        broker.publish(vec![delivery(1)]).await.unwrap();
        broker.close().await;
    }
}

pub(crate) async fn an_acknowledgement_right_before_the_consumer_is_dropped_counts(place: Place) {
    const ROUNDS: u64 = 100;
    let broker = place.open().await;
    let mut consumer = broker.consume(Queue::Deliveries, 1);
    for n in 0..ROUNDS {
        broker.publish(vec![delivery(n)]).await.unwrap();
        let message = next(&mut consumer).await;
        assert_eq!(text(&message), n.to_string());
        message.ack.ack();
        consumer = broker.consume(Queue::Deliveries, 1);
    }
    broker.close().await;
}

pub(crate) async fn urgent_deliveries_do_not_wait_behind_others(place: Place) {
    let broker = place.open().await;
    broker
        .publish((0..500).map(delivery).collect())
        .await
        .unwrap();
    let urgent = Destination::Delivery {
        urgent: true,
        due_at: None,
    };
    broker.publish(vec![to(urgent, "revoked")]).await.unwrap();
    let mut consumer = broker.consume(Queue::UrgentDeliveries, 10);
    assert_eq!(text(&next(&mut consumer).await), "revoked");
    broker.close().await;
}

pub(crate) async fn a_delay_is_never_early_and_hardly_late(place: Place) {
    let broker = place.open().await;
    let delays = [0.3, 1.0, 1.1, 2.5, 3.0, 4.2];
    let publications = |urgent| delays.map(|delay| delayed(urgent, Duration::from_secs_f64(delay)));
    for urgent in [false, true] {
        broker.publish(publications(urgent).into()).await.unwrap();
    }
    let late_max = Duration::from_millis(if place.is_exact { 50 } else { 1_000 });
    let mut consumers =
        [Queue::Deliveries, Queue::UrgentDeliveries].map(|queue| broker.consume(queue, 10));
    for _ in delays {
        for consumer in &mut consumers {
            let message = next(consumer).await;
            let now = ambient::now();
            let due_at = Timestamp::from_micros(text(&message).parse().unwrap());
            assert!(now >= due_at, "{:?} early", due_at.since(now));
            // The other lane's message may be waited for meanwhile, so its own time is no measure.
            message.ack.ack();
            assert!(now.since(due_at) <= late_max.max(Duration::from_secs(1)));
        }
    }
    let alone = delayed(false, Duration::from_millis(1_200));
    broker.publish(vec![alone]).await.unwrap();
    let message = next(&mut consumers[0]).await;
    let late = ambient::now().since(Timestamp::from_micros(text(&message).parse().unwrap()));
    assert!(late <= late_max, "{late:?} late");
    broker.close().await;
}

pub(crate) async fn a_delay_that_is_over_does_not_wait(place: Place) {
    let broker = place.open().await;
    let mut consumer = broker.consume(Queue::Deliveries, 10);
    let due_at = Some(ambient::now());
    let past = Destination::Delivery {
        urgent: false,
        due_at,
    };
    broker.publish(vec![to(past, "now")]).await.unwrap();
    assert_eq!(text(&next(&mut consumer).await), "now");
    broker.close().await;
}

pub(crate) async fn messages_and_delays_outlive_the_process(place: Place) {
    let broker = place.open().await;
    broker
        .publish((0..100).map(delivery).collect())
        .await
        .unwrap();
    broker
        .publish(vec![delayed(true, Duration::from_secs(2))])
        .await
        .unwrap();
    broker.close().await;
    drop(broker);

    let broker = place.open().await;
    depth_becomes(&broker, Queue::Deliveries, 100).await;
    let mut consumer = broker.consume(Queue::Deliveries, 10);
    for expected in 0..100 {
        let message = next(&mut consumer).await;
        assert_eq!(text(&message), expected.to_string());
        message.ack.ack();
    }
    let message = next(&mut broker.consume(Queue::UrgentDeliveries, 10)).await;
    assert!(!message.redelivered, "it was never given out");
    let due_at = Timestamp::from_micros(text(&message).parse().unwrap());
    assert!(ambient::now() >= due_at);
    broker.close().await;
}

pub(crate) async fn what_was_acknowledged_does_not_come_again(place: Place) {
    let broker = place.open().await;
    broker
        .publish((0..10).map(delivery).collect())
        .await
        .unwrap();
    let mut consumer = broker.consume(Queue::Deliveries, 10);
    for expected in 0..10 {
        let message = next(&mut consumer).await;
        if expected % 2 == 0 {
            message.ack.ack();
        }
    }
    // Acknowledgements given before closing are part of it.
    broker.close().await;
    let broker = place.open().await;
    let mut consumer = broker.consume(Queue::Deliveries, 10);
    for expected in [1, 3, 5, 7, 9] {
        let message = next(&mut consumer).await;
        assert_eq!(text(&message), expected.to_string());
        assert!(message.redelivered);
    }
    assert_quiet(&mut consumer).await;
    broker.close().await;
}

pub(crate) async fn closing_ends_consumers_and_publishing(place: Place) {
    let broker = place.open().await;
    let mut consumer = broker.consume(Queue::Deliveries, 10);
    broker.close().await;
    let ended = tokio::time::timeout(LIMIT, consumer.next()).await.unwrap();
    assert!(ended.is_none());
    let refused = broker.publish(vec![delivery(1)]).await;
    assert!(
        matches!(refused, Err(BrokerError::Unavailable { .. })),
        "{refused:?}"
    );
    assert!(matches!(broker.status(), BrokerStatus::Away { .. }));
    let mut late = broker.consume(Queue::Deliveries, 10);
    let ended = tokio::time::timeout(LIMIT, late.next()).await.unwrap();
    assert!(ended.is_none());
}

pub(crate) async fn a_look_shows_every_queue_and_what_waits_for_its_time(place: Place) {
    let broker = place.open().await;
    let hour = Duration::from_secs(60 * 60);
    let mut batch: Vec<_> = (0..3).map(|_| delayed(false, hour)).collect();
    batch.push(delayed(false, Duration::from_secs(1)));
    batch.push(delivery(0));
    broker.publish(batch).await.unwrap();
    // RabbitMQ's counts lag a little; the one that waits a second has come by then.
    let looks = testkit::eventually("the look", LIMIT, async || {
        let looks = broker.look().await.unwrap();
        let sum = |delays| -> u64 {
            let chosen = looks.iter().filter(|look| look.delays == delays);
            chosen.map(|look| look.depth.ready).sum()
        };
        (sum(true) == 3 && sum(false) == 2).then_some(looks)
    })
    .await
    .unwrap();
    for queue in Queue::ALL {
        let look = looks.iter().find(|look| look.name == queue.as_str());
        let ready = if queue == Queue::Deliveries { 2 } else { 0 };
        assert_eq!(look.unwrap().depth.ready, ready, "{queue:?}");
    }
    broker.close().await;
    let again = place.open().await;
    let waiting = testkit::eventually("what waited before", LIMIT, async || {
        let looks = again.look().await.unwrap();
        let delays = looks.iter().filter(|look| look.delays);
        (delays.map(|look| look.depth.ready).sum::<u64>() == 3).then_some(())
    });
    waiting.await.unwrap();
    again.close().await;
}
