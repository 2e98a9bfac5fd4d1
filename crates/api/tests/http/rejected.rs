use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use broker::{Destination, Headers, Publication, Queue};
use model::{Role, Timestamp};
use serde_json::json;

use crate::harness::{ACME, Api, SOON, UMBRELLA, get, items, post, read_all};

async fn reject(api: &Api, tenant: Option<&str>, id: &str, content_type: &str, body: &str) {
    let headers = Headers {
        tenant: tenant.map(str::to_owned),
        message_id: Some(id.to_owned()),
        content_type: Some(content_type.to_owned()),
        routing_key: "seat.assigned".to_owned(),
        ..Headers::default()
    };
    // One second after another: the list is in their order.
    static REJECTED: AtomicI64 = AtomicI64::new(1_776_254_400);
    let to = Destination::Rejected {
        reason: "unknown type".to_owned(),
        at: Timestamp::from_seconds(REJECTED.fetch_add(1, Ordering::Relaxed)),
        headers: headers.into(),
    };
    let body = body.to_owned().into();
    api.broker
        .publish(vec![Publication { to, body }])
        .await
        .unwrap();
}

const EVENT: &str = r#"{"type":"seat.assigned","data":{}}"#;

#[tokio::test]
async fn each_tenant_sees_its_own_rejected_events_and_the_operator_all() {
    let api = Api::start().await;
    for n in 0..3 {
        let id = format!("a{n}");
        reject(&api, Some(ACME), &id, "application/json", EVENT).await;
    }
    reject(&api, Some(UMBRELLA), "u0", "application/json", EVENT).await;
    reject(&api, None, "n0", "text/plain", "\u{1}no json").await;
    let viewer = api.with_role(ACME, Role::Viewer).await;
    // Looking takes nothing away, and what went back is there for the next look.
    for _ in 0..30 {
        assert_eq!(
            read_all(&viewer, "/v1/rejected", 2, "message_id").await,
            ["a0", "a1", "a2"]
        );
    }
    let all = read_all(&api.operator, "/v1/rejected", 50, "message_id").await;
    assert_eq!(all, ["a0", "a1", "a2", "u0", "n0"]);
    let list = get(&viewer, "/v1/rejected?limit=1", 200).await;
    let first = &items(&list)[0];
    assert_eq!(
        (&first["tenant"], &first["reason"]),
        (&json!(ACME), &json!("unknown type"))
    );
    assert_eq!(
        (&first["event_type"], &first["body"]),
        (&json!("seat.assigned"), &json!(EVENT))
    );
    assert!(first["rejected_at"].is_string(), "{first}");
}

#[tokio::test]
async fn rejected_events_are_sent_again_once_and_others_stay() {
    let api = Api::start().await;
    reject(&api, Some(ACME), "a0", "application/json", EVENT).await;
    reject(&api, Some(UMBRELLA), "u0", "application/json", EVENT).await;
    reject(&api, Some(ACME), "a1", "application/json", EVENT).await;
    let editor = api.with_role(ACME, Role::Editor).await;
    let only = json!({"message_ids": ["a1", "u0"]});
    let answer = post(&editor, "/v1/rejected/retry", &only, 202).await;
    assert_eq!(answer, json!({"sent": 1, "refused": []}));
    let answer = post(&editor, "/v1/rejected/retry", &json!({}), 202).await;
    assert_eq!(answer["sent"], 1);
    let mut intake = api.broker.consume(Queue::Intake, 10);
    for id in ["a1", "a0"] {
        let message = tokio::time::timeout(SOON, intake.next())
            .await
            .unwrap()
            .unwrap();
        assert_eq!(message.headers.tenant.as_deref(), Some(ACME));
        assert_eq!(message.headers.message_id.as_deref(), Some(id));
        assert_eq!(
            (message.headers.routing_key.as_str(), &*message.body),
            ("seat.assigned", EVENT.as_bytes())
        );
        message.ack.ack();
    }
    let limit = Duration::from_secs(5);
    testkit::eventually("only the other tenant's is left", limit, async || {
        let left = read_all(&api.operator, "/v1/rejected", 50, "message_id").await;
        (left == ["u0"]).then_some(())
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn rejected_events_are_discarded_and_others_stay() {
    let api = Api::start().await;
    for id in ["a0", "a1", "a2"] {
        reject(&api, Some(ACME), id, "application/json", EVENT).await;
    }
    reject(&api, Some(UMBRELLA), "u0", "application/json", EVENT).await;
    let editor = api.with_role(ACME, Role::Editor).await;
    let only = json!({"message_ids": ["a1", "u0"]});
    let answer = post(&editor, "/v1/rejected/discard", &only, 200).await;
    assert_eq!(answer, json!({"discarded": 1}));
    let answer = post(&editor, "/v1/rejected/discard", &json!({"limit": 1}), 200).await;
    assert_eq!(answer, json!({"discarded": 1}));
    let left = read_all(&api.operator, "/v1/rejected", 50, "message_id").await;
    assert_eq!(left, ["a2", "u0"]);
}

#[tokio::test]
async fn what_cannot_be_sent_again_is_named_and_stays() {
    let api = Api::start().await;
    reject(&api, None, "n0", "application/json", EVENT).await;
    reject(&api, Some("nobody"), "x0", "application/json", EVENT).await;
    reject(&api, Some(ACME), "c0", "application/cloudevents+json", "{}").await;
    let answer = post(&api.operator, "/v1/rejected/retry", &json!({}), 202).await;
    let refused: Vec<_> = answer["refused"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["message_id"].as_str().unwrap())
        .collect();
    assert_eq!(
        (&answer["sent"], refused),
        (&json!(0), vec!["n0", "x0", "c0"])
    );
    assert_eq!(
        read_all(&api.operator, "/v1/rejected", 50, "message_id")
            .await
            .len(),
        3
    );
    for limit in [0, 1_001] {
        let body = json!({"limit": limit});
        post(&api.acme, "/v1/rejected/retry", &body, 422).await;
    }
}

#[tokio::test]
async fn an_operator_sees_what_was_parked_but_no_body() {
    let api = Api::start().await;
    let parked = |from: Queue, seconds: i64| Publication {
        to: Destination::Parked {
            from,
            reason: "no delivery".to_owned(),
            at: Timestamp::from_seconds(seconds),
        },
        body: "KP-ABCD-EFGH".into(),
    };
    let publications = [
        parked(Queue::Outcomes, 1_776_254_401),
        parked(Queue::Deliveries, 1_776_254_400),
    ];
    api.broker.publish(publications.into()).await.unwrap();
    for _ in 0..3 {
        let queues = read_all(&api.operator, "/v1/parked", 1, "queue").await;
        assert_eq!(queues, ["fanfare.deliveries", "fanfare.outcomes"]);
    }
    let list = get(&api.operator, "/v1/parked", 200).await;
    let expected = json!({"parked_at": "2026-04-15T12:00:00.000Z", "queue": "fanfare.deliveries",
        "reason": "no delivery", "body_bytes": 12});
    assert_eq!(items(&list)[0], expected);
    let admin = api.with_role(ACME, Role::Admin).await;
    get(&admin, "/v1/parked", 403).await;
}
