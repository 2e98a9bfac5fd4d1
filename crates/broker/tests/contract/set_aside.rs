use std::collections::HashSet;

use broker::{Destination, Headers, Publication, Queue, SET_ASIDE_MESSAGES_MAX};
use bytes::Bytes;
use model::Timestamp;

use crate::place::{Place, depth_becomes, next, text, to};

pub(crate) async fn rejected_and_parked_messages_say_why_and_whence(place: Place) {
    let broker = place.open().await;
    let at = Timestamp::from_seconds(1_776_254_400);
    let headers = Headers {
        tenant: Some("acme".to_owned()),
        message_id: Some("m-1".to_owned()),
        content_type: Some("text/plain".to_owned()),
        user_id: Some("backend".to_owned()),
        routing_key: "license.created".to_owned(),
        source: Some("src_1".to_owned()),
        source_headers: Some(r#"{"webhook-id":"é"}"#.to_owned()),
        ..Headers::default()
    };
    let body = Bytes::from_static(b"\xff\x00 not JSON");
    let reason = "not valid JSON: expected value — zoë".to_owned();
    let rejected = Destination::Rejected {
        reason: reason.clone(),
        at,
        headers: headers.clone().into(),
    };
    let parked = Destination::Parked {
        from: Queue::Outcomes,
        reason: reason.clone(),
        at,
    };
    let publications = [rejected, parked].map(|to| Publication {
        to,
        body: body.clone(),
    });
    broker.publish(publications.into()).await.unwrap();

    let set_aside = Headers {
        reason: Some(reason),
        rejected_at: Some("2026-04-15T12:00:00.000Z".to_owned()),
        ..headers
    };
    let rejected = next(&mut broker.consume(Queue::Rejected, 1)).await;
    assert_eq!(rejected.headers, set_aside);
    assert_eq!(rejected.body, body);
    let parked = next(&mut broker.consume(Queue::Parked, 1)).await;
    assert_eq!(parked.headers.reason, set_aside.reason);
    assert_eq!(parked.headers.rejected_at, set_aside.rejected_at);
    assert_eq!(parked.headers.routing_key, Queue::Outcomes.as_str());
    broker.close().await;
}

pub(crate) async fn what_is_taken_goes_back_unless_acknowledged(place: Place) {
    let broker = place.open().await;
    let rejected = |n: u32| {
        let (reason, headers) = ("no".to_owned(), Headers::default());
        to(
            Destination::Rejected {
                reason,
                at: Timestamp::EPOCH,
                headers: headers.into(),
            },
            n,
        )
    };
    broker
        .publish((0..5).map(rejected).collect())
        .await
        .unwrap();
    let taken = broker.take(Queue::Rejected, 3).await.unwrap();
    assert_eq!(taken.iter().map(text).collect::<Vec<_>>(), ["0", "1", "2"]);
    depth_becomes(&broker, Queue::Rejected, 2).await;
    for message in taken {
        if text(&message) == "1" {
            message.ack.ack();
        }
    }
    depth_becomes(&broker, Queue::Rejected, 4).await;
    let mut left: Vec<_> = broker
        .take(Queue::Rejected, 100)
        .await
        .unwrap()
        .iter()
        .map(text)
        .collect();
    // RabbitMQ puts what comes back where it likes.
    left.sort_unstable();
    assert_eq!(left, ["0", "2", "3", "4"]);
    depth_becomes(&broker, Queue::Rejected, 4).await;
    assert!(broker.take(Queue::Parked, 10).await.unwrap().is_empty());
    broker.close().await;
}

pub(crate) async fn looking_at_what_was_set_aside_loses_nothing(place: Place) {
    // More often than RabbitMQ 4 gives out a message unless told otherwise.
    const LOOKS: usize = 30;
    const MESSAGES: u64 = 40;
    let broker = place.open().await;
    let reason = || "no".to_owned();
    let at = Timestamp::EPOCH;
    let set_aside = |n| {
        let headers = Headers::default();
        let rejected = Destination::Rejected {
            reason: reason(),
            at,
            headers: headers.into(),
        };
        let parked = Destination::Parked {
            from: Queue::Outcomes,
            reason: reason(),
            at,
        };
        [to(rejected, n), to(parked, n)]
    };
    let publications = (0..MESSAGES).flat_map(set_aside).collect();
    broker.publish(publications).await.unwrap();
    for queue in [Queue::Rejected, Queue::Parked] {
        for look in 0..LOOKS {
            depth_becomes(&broker, queue, MESSAGES).await;
            let taken = broker.take(queue, 100).await.unwrap();
            let seen: HashSet<_> = taken.iter().map(text).collect();
            assert_eq!(seen.len() as u64, MESSAGES, "{queue:?}, look {look}");
        }
        depth_becomes(&broker, queue, MESSAGES).await;
    }
    broker.close().await;
}

pub(crate) async fn of_what_was_set_aside_the_oldest_go_beyond_the_bound(place: Place) {
    let broker = place.open().await;
    let parked = |n| {
        let parked = Destination::Parked {
            from: Queue::Outcomes,
            reason: "no".to_owned(),
            at: Timestamp::EPOCH,
        };
        to(parked, n)
    };
    let publish = async |numbers: std::ops::Range<u32>| {
        broker.publish(numbers.map(parked).collect()).await.unwrap();
    };
    publish(0..SET_ASIDE_MESSAGES_MAX).await;
    depth_becomes(&broker, Queue::Parked, SET_ASIDE_MESSAGES_MAX.into()).await;
    let oldest = broker.take(Queue::Parked, 1).await.unwrap();
    assert_eq!(oldest.iter().map(text).collect::<Vec<_>>(), ["0"]);
    oldest.into_iter().for_each(|message| message.ack.ack());
    publish(SET_ASIDE_MESSAGES_MAX..SET_ASIDE_MESSAGES_MAX + 3).await;
    depth_becomes(&broker, Queue::Parked, SET_ASIDE_MESSAGES_MAX.into()).await;
    let oldest = broker.take(Queue::Parked, 1).await.unwrap();
    assert_eq!(oldest.iter().map(text).collect::<Vec<_>>(), ["3"]);
    drop(oldest);
    broker.close().await;
}
