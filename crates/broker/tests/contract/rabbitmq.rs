use std::time::{Duration, Instant};

use broker::{BrokerError, BrokerStatus, Destination, OpenError, Options, Queue, topology};
use lapin::options::{BasicPublishOptions, QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};
use model::Timestamp;
use testkit::{Service, Services, eventually};

use crate::place::{LIMIT, Place, connected, delayed, delivery, next, open, text, to};

/// How long dispatching may take to go on after the broker is back.
const RESUME_LIMIT: Duration = Duration::from_secs(10);

/// How long `publish` may take to fail while the broker takes nothing.
const REFUSE_LIMIT: Duration = Duration::from_millis(1_500);

/// How long a consumer may take to notice that it is none any more.
const RENEW_LIMIT: Duration = Duration::from_secs(60);

/// A client that is not ours.
async fn stranger(url: &str) -> Channel {
    let connection = Connection::connect(url, ConnectionProperties::default())
        .await
        .unwrap();
    connection.create_channel().await.unwrap()
}

#[tokio::test]
async fn a_license_backend_publishes_to_the_exchange_license_events() {
    let place = Place::rabbitmq().await;
    topology::apply(&place.url).await.unwrap();
    let backend = stranger(&place.url).await;
    let mut headers = FieldTable::default();
    headers.insert(
        "fanfare-tenant".into(),
        AMQPValue::LongString("acme".into()),
    );
    headers.insert("trace".into(), AMQPValue::Boolean(true));
    let properties = BasicProperties::default()
        .with_message_id("evt_1".into())
        .with_timestamp(1_776_254_400)
        .with_user_id("guest".into())
        .with_content_type("application/json".into())
        .with_headers(headers);
    backend
        .basic_publish(
            "license.events".into(),
            "license.created".into(),
            BasicPublishOptions {
                mandatory: true,
                ..BasicPublishOptions::default()
            },
            b"{}",
            properties,
        )
        .await
        .unwrap();

    let broker = place.open().await;
    let message = next(&mut broker.consume(Queue::Intake, 10)).await;
    assert_eq!(text(&message), "{}");
    assert_eq!(message.headers.tenant.as_deref(), Some("acme"));
    assert_eq!(message.headers.message_id.as_deref(), Some("evt_1"));
    assert_eq!(message.headers.user_id.as_deref(), Some("guest"));
    assert_eq!(
        message.headers.content_type.as_deref(),
        Some("application/json")
    );
    assert_eq!(message.headers.routing_key, "license.created");
    let published_at = Timestamp::from_seconds(1_776_254_400);
    assert_eq!(message.headers.published_at, Some(published_at));
    message.ack.ack();

    // As ingest publishes while the store is away.
    let event = Destination::Events {
        tenant: "acme".parse().unwrap(),
        event_type: "license.created".parse().unwrap(),
        id: "evt_2".parse().unwrap(),
        trace: None,
    };
    broker.publish(vec![to(event, "{}")]).await.unwrap();
    let message = next(&mut broker.consume(Queue::Intake, 10)).await;
    let published_at = message.headers.published_at.expect("it has a timestamp");
    assert!(ambient::now().since(published_at) < Duration::from_secs(10));
    broker.close().await;
}

#[tokio::test]
async fn verify_names_what_is_missing_or_different_and_the_cure() {
    let place = Place::rabbitmq().await;
    let missing = topology::verify(&place.url).await.unwrap();
    assert!(
        missing
            .iter()
            .any(|mismatch| mismatch.what == "exchange license.events")
    );
    assert!(
        missing
            .iter()
            .all(|mismatch| mismatch.to_string().contains("topology apply"))
    );
    topology::apply(&place.url).await.unwrap();
    topology::apply(&place.url).await.unwrap();
    assert_eq!(topology::verify(&place.url).await.unwrap(), []);

    let channel = stranger(&place.url).await;
    let queue = "fanfare.delay.60";
    channel
        .queue_delete(queue.into(), QueueDeleteOptions::default())
        .await
        .unwrap();
    let durable = QueueDeclareOptions {
        durable: true,
        ..QueueDeclareOptions::default()
    };
    channel
        .queue_declare(queue.into(), durable, FieldTable::default())
        .await
        .unwrap();
    let found = topology::verify(&place.url).await.unwrap();
    assert_eq!(found.len(), 1, "{found:?}");
    let message = found[0].to_string();
    assert!(
        message.starts_with("queue fanfare.delay.60: differs"),
        "{message}"
    );
    assert!(
        message.contains("rabbitmqctl delete_queue fanfare.delay.60"),
        "{message}"
    );
    let refused = topology::apply(&place.url).await.unwrap_err();
    assert!(
        refused.to_string().contains("fanfare.delay.60"),
        "{refused}"
    );
}

#[tokio::test]
async fn a_queue_from_before_it_had_bounds_is_used_as_it_is() {
    let place = Place::rabbitmq().await;
    let channel = stranger(&place.url).await;
    let mut arguments = FieldTable::default();
    let quorum = AMQPValue::LongString("quorum".into());
    arguments.insert("x-queue-type".into(), quorum);
    arguments.insert(
        "x-delivery-limit".into(),
        AMQPValue::LongLongInt(1_000_000_000),
    );
    let durable = QueueDeclareOptions {
        durable: true,
        ..QueueDeclareOptions::default()
    };
    let queue = "license.events.rejected";
    channel
        .queue_declare(queue.into(), durable, arguments)
        .await
        .unwrap();
    topology::apply(&place.url).await.unwrap();
    let found = topology::verify(&place.url).await.unwrap();
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].to_string().contains(queue), "{found:?}");
    place.open().await.close().await;
}

#[tokio::test]
async fn a_message_no_queue_takes_is_an_error_and_the_queue_is_mended() {
    let place = Place::rabbitmq().await;
    let broker = place.open().await;
    let name = Queue::Outcomes.as_str();
    let channel = stranger(&place.url).await;
    channel
        .queue_delete(name.into(), QueueDeleteOptions::default())
        .await
        .unwrap();
    let lost = broker.publish(vec![to(Destination::Outcomes, 1)]).await;
    let Err(BrokerError::Unavailable { reason, .. }) = lost else {
        panic!("{lost:?}")
    };
    assert!(reason.contains(name), "{reason}");
    eventually("the queue", LIMIT, async || {
        broker
            .publish(vec![to(Destination::Outcomes, 2)])
            .await
            .ok()
    })
    .await
    .unwrap();
    let message = next(&mut broker.consume(Queue::Outcomes, 1)).await;
    assert_eq!(text(&message), "2");
    broker.close().await;
}

#[tokio::test]
async fn a_consumer_goes_on_when_its_queue_was_deleted() {
    let place = Place::rabbitmq().await;
    let broker = place.open().await;
    let mut consumer = broker.consume(Queue::Deliveries, 10);
    broker.publish(vec![delivery(1)]).await.unwrap();
    next(&mut consumer).await.ack.ack();
    let channel = stranger(&place.url).await;
    let name = Queue::Deliveries.as_str();
    channel
        .queue_delete(name.into(), QueueDeleteOptions::default())
        .await
        .unwrap();
    eventually("the queue", LIMIT, async || {
        broker.publish(vec![delivery(2)]).await.ok()
    })
    .await
    .unwrap();
    // RabbitMQ does not always say that the queue is gone.
    let message = tokio::time::timeout(RENEW_LIMIT, consumer.next())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(text(&message), "2");
    broker.close().await;
}

#[tokio::test]
async fn a_broker_that_is_away_fails_publishing_at_once_and_a_bad_url_fails_opening() {
    let url = format!("amqp://guest:guest@127.0.0.1:{}", testkit::free_port());
    let broker = broker::open(&url, Options::default()).await.unwrap();
    let began = Instant::now();
    let refused = broker.publish(vec![delivery(1)]).await;
    assert!(
        matches!(refused, Err(BrokerError::Unavailable { .. })),
        "{refused:?}"
    );
    assert!(broker.take(Queue::Rejected, 1).await.is_err());
    assert!(broker.depth(Queue::Rejected).await.is_err());
    assert!(began.elapsed() < REFUSE_LIMIT);
    assert!(matches!(broker.status(), BrokerStatus::Away { .. }));
    broker.close().await;

    let bad = broker::open("amqp://host:port", Options::default()).await;
    assert!(matches!(bad, Err(OpenError::Url(_))), "{bad:?}");
}

#[tokio::test]
async fn the_next_host_is_tried_when_one_is_away() {
    let place = Place::rabbitmq().await;
    let (user, host) = place.url.split_once('@').unwrap();
    let url = format!("{user}@127.0.0.1:{},{host}", testkit::free_port());
    let broker = open(&url).await;
    broker.publish(vec![delivery(1)]).await.unwrap();
    broker.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_kill_of_the_broker_everything_goes_on_by_itself() {
    let services = Services::private().await.unwrap();
    let broker = open(services.amqp_url()).await;
    let mut consumer = broker.consume(Queue::Deliveries, 10);
    broker
        .publish((0..5).map(delivery).collect())
        .await
        .unwrap();
    broker
        .publish(vec![delayed(true, Duration::from_secs(5))])
        .await
        .unwrap();
    let before = next(&mut consumer).await;
    assert_eq!(text(&before), "0");

    services.kill(Service::RabbitMq).await.unwrap();
    let began = Instant::now();
    eventually("a refusal", LIMIT, async || {
        broker.publish(vec![delivery("refused")]).await.err()
    })
    .await
    .unwrap();
    assert!(began.elapsed() < REFUSE_LIMIT, "{:?}", began.elapsed());
    services.start(Service::RabbitMq).await.unwrap();
    let back = Instant::now();
    // Of the session that broke: it settles nothing, and the message comes again.
    before.ack.ack();
    for expected in 0..5 {
        let message = next(&mut consumer).await;
        assert_eq!(text(&message), expected.to_string());
        assert!(message.redelivered, "{expected}");
        message.ack.ack();
    }
    connected(&broker, RESUME_LIMIT).await;
    broker.publish(vec![delivery("again")]).await.unwrap();
    assert_eq!(text(&next(&mut consumer).await), "again");
    assert!(back.elapsed() < RESUME_LIMIT, "{:?}", back.elapsed());
    let waited = next(&mut broker.consume(Queue::UrgentDeliveries, 1)).await;
    let due_at = Timestamp::from_micros(text(&waited).parse().unwrap());
    assert!(ambient::now() >= due_at);
    broker.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alarmed_broker_is_reported_and_still_takes_acknowledgements() {
    let services = Services::private().await.unwrap();
    let broker = open(services.amqp_url()).await;
    let mut consumer = broker.consume(Queue::Deliveries, 1);
    broker
        .publish((0..3).map(delivery).collect())
        .await
        .unwrap();
    let first = next(&mut consumer).await;
    services
        .rabbitmqctl(&["set_vm_memory_high_watermark", "0.0001"])
        .await
        .unwrap();
    let began = Instant::now();
    eventually("a refusal", LIMIT, async || {
        broker.publish(vec![delivery("refused")]).await.err()
    })
    .await
    .unwrap();
    assert!(began.elapsed() < RESUME_LIMIT, "{:?}", began.elapsed());
    assert!(
        matches!(broker.status(), BrokerStatus::Blocked { .. }),
        "{:?}",
        broker.status()
    );
    let began = Instant::now();
    broker.publish(vec![delivery("refused")]).await.unwrap_err();
    assert!(began.elapsed() < REFUSE_LIMIT);
    first.ack.ack();
    let second = next(&mut consumer).await;
    assert_eq!(text(&second), "1");

    services
        .rabbitmqctl(&["set_vm_memory_high_watermark", "0.4"])
        .await
        .unwrap();
    connected(&broker, RESUME_LIMIT).await;
    broker.publish(vec![delivery("again")]).await.unwrap();
    broker.close().await;
}
