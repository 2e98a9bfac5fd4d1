use std::time::Duration;

use model::{Attempt, AttemptId, DeliveryId, EndpointId, ErrorClass, Outcome, Work};
use serde_json::{Value, json};
use store::{Record, Verdict};

use crate::harness::{Api, SOON, Submitted, delete, get, items, post, read_all};

const URL: &str = "http://127.0.0.1:9/hook";

async fn record(api: &Api, delivery: DeliveryId, number: u32, outcome: Outcome, verdict: Verdict) {
    let at = ambient::now();
    let attempt = Attempt {
        id: AttemptId::new(at, ambient::random_id()),
        delivery,
        number,
        started_at: at,
        duration: Duration::from_micros(12_345),
        outcome,
        error_detail: None,
        response_headers: vec![("server".to_owned(), "test".to_owned())],
        response_body: b"sorry".to_vec(),
    };
    let record = Record {
        delivery,
        attempt: Some(attempt),
        attempts_made: number - 1,
        verdict,
        at,
    };
    api.store.record(&[record]).await.unwrap();
}

async fn fail(api: &Api, delivery: DeliveryId) {
    let refused = Outcome::Unanswered(ErrorClass::ConnectionRefused);
    record(api, delivery, 1, refused, Verdict::Failed).await;
}

/// The next delivery that was handed to the dispatchers.
async fn queued(api: &Api) -> Work {
    let mut consumer = api.broker.consume(broker::Queue::Deliveries, 1);
    let message = tokio::time::timeout(SOON, consumer.next())
        .await
        .unwrap()
        .unwrap();
    let work = Work::from_json(&message.body).unwrap().remove(0);
    message.ack.ack();
    work
}

#[tokio::test]
async fn a_delivery_shows_every_attempt() {
    let api = Api::start().await;
    let endpoint = api.endpoint(URL).await;
    let delivery = api
        .accept(Submitted {
            endpoints: &[endpoint],
            ..Submitted::default()
        })
        .await[0];
    let due_at = ambient::now().plus(Duration::from_secs(60));
    let retry_after = Some(Duration::from_secs(7));
    let answered = Outcome::Answered {
        status: 503,
        retry_after,
    };
    record(&api, delivery, 1, answered, Verdict::Retrying { due_at }).await;
    let path = format!("/v1/deliveries/{delivery}");
    let read = get(&api.acme, &path, 200).await;
    assert_eq!(
        (&read["status"], &read["attempt_count"]),
        (&json!("retrying"), &json!(1))
    );
    assert_eq!(read["next_attempt_at"], due_at.to_string());
    assert_eq!(
        (&read["event_id"], &read["license"]),
        (&json!("evt_1"), &json!("lic_1"))
    );
    let attempt = &read["attempts"][0];
    assert_eq!(
        (&attempt["number"], &attempt["status_code"]),
        (&json!(1), &json!(503))
    );
    assert_eq!(
        (&attempt["duration_ms"], &attempt["outcome"]),
        (&json!(12.345), &json!("failed"))
    );
    assert_eq!(attempt["response_headers"], json!({"server": "test"}));
    assert_eq!(attempt["response_body"], "sorry");

    let refused = Outcome::Unanswered(ErrorClass::ConnectionRefused);
    record(&api, delivery, 2, refused, Verdict::Failed).await;
    let read = get(&api.acme, &path, 200).await;
    assert_eq!(
        (&read["status"], &read["next_attempt_at"]),
        (&json!("failed"), &Value::Null)
    );
    assert_eq!(read["attempts"][1]["error"], "connection_refused");
    assert_eq!(read["attempts"][1]["status_code"], Value::Null);
    for unknown in ["dlv_00000000000000000000000000", "nonsense"] {
        get(&api.acme, &format!("/v1/deliveries/{unknown}"), 404).await;
    }
}

#[tokio::test]
async fn an_event_shows_its_deliveries_and_its_data_untouched() {
    let api = Api::start().await;
    let endpoints = [api.endpoint(URL).await, api.endpoint(URL).await];
    api.accept(Submitted {
        endpoints: &endpoints,
        ..Submitted::default()
    })
    .await;
    let answer = api.acme.get("/v1/events/evt_1").await.unwrap();
    assert!(
        answer
            .text()
            .contains(r#""data":{"license":{"id":"lic_1"},"n":1.0}"#),
        "{}",
        answer.text()
    );
    let event = answer.expect(200).unwrap();
    assert_eq!(
        (&event["type"], &event["sequence"]),
        (&json!("license.created"), &json!(1))
    );
    assert_eq!(event["deliveries"].as_array().unwrap().len(), 2);
    assert_eq!(event["more_deliveries"], false);
    get(&api.acme, "/v1/events/evt_2", 404).await;
}

/// Six events of two licenses, each to one endpoint.
async fn six(api: &Api, endpoint: EndpointId) -> Vec<DeliveryId> {
    let mut deliveries = Vec::new();
    for n in 0..6 {
        let (id, license) = (format!("e{n}"), format!("lic_{}", n % 2));
        let event_type = if n == 5 {
            "license.renewed"
        } else {
            "license.created"
        };
        let endpoints = &[endpoint];
        let submitted = Submitted {
            id: &id,
            event_type,
            license: &license,
            endpoints,
            held: None,
        };
        deliveries.extend(api.accept(submitted).await);
    }
    deliveries
}

#[tokio::test]
async fn lists_filter_and_page_from_the_newest() {
    let api = Api::start().await;
    let endpoint = api.endpoint(URL).await;
    let deliveries = six(&api, endpoint).await;
    fail(&api, deliveries[2]).await;
    let all = read_all(&api.acme, "/v1/events", 2, "id").await;
    let mut sorted = all.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, ["e0", "e1", "e2", "e3", "e4", "e5"]);
    assert_eq!(all.last().unwrap(), "e0");
    assert_eq!(
        read_all(&api.acme, "/v1/deliveries", 4, "id").await.len(),
        6
    );
    for (path, count) in [
        ("/v1/events?type=license.renewed", 1),
        ("/v1/events?license=lic_0", 3),
        ("/v1/events?environment=staging", 0),
        ("/v1/events?since=2020-01-01T00:00:00Z", 6),
        ("/v1/events?until=2020-01-01T00:00:00Z&type=", 0),
        ("/v1/deliveries?status=failed", 1),
        ("/v1/deliveries?license=lic_1&status=queued", 3),
        ("/v1/deliveries?event=e3", 1),
        ("/v1/deliveries?endpoint=ep_00000000000000000000000000", 0),
        ("/v1/deliveries?since=2100-01-01T00:00:00Z", 0),
    ] {
        assert_eq!(
            read_all(&api.acme, path, 50, "id").await.len(),
            count,
            "{path}"
        );
    }
    for refused in [
        "events?type=Bad",
        "events?since=yesterday",
        "deliveries?status=lost",
    ] {
        let answer = api.acme.get(&format!("/v1/{refused}")).await.unwrap();
        assert_eq!(answer.status, 400, "{refused}: {}", answer.text());
    }
}

#[tokio::test]
async fn a_licenses_timeline_is_read_in_order_from_any_point() {
    let api = Api::start().await;
    let endpoint = api.endpoint(URL).await;
    six(&api, endpoint).await;
    assert_eq!(
        read_all(&api.acme, "/v1/licenses/lic_0/events", 2, "id").await,
        ["e0", "e2", "e4"]
    );
    let after = get(&api.acme, "/v1/licenses/lic_0/events?after_sequence=1", 200).await;
    let sequences: Vec<_> = items(&after)
        .iter()
        .map(|it| it["sequence"].as_u64().unwrap())
        .collect();
    assert_eq!(sequences, [2, 3]);
    let none = get(&api.acme, "/v1/licenses/a%2Fb/events", 200).await;
    assert!(items(&none).is_empty());
}

#[tokio::test]
async fn a_retry_makes_a_delivery_due_with_the_same_ids() {
    let api = Api::start().await;
    let endpoint = api.endpoint(URL).await;
    let delivery = api
        .accept(Submitted {
            endpoints: &[endpoint],
            ..Submitted::default()
        })
        .await[0];
    fail(&api, delivery).await;
    let path = format!("/v1/deliveries/{delivery}/retry");
    let answer = post(&api.acme, &path, &json!({}), 202).await;
    assert_eq!(
        (&answer["id"], &answer["status"]),
        (&json!(delivery), &json!("queued"))
    );
    let work = queued(&api).await;
    assert_eq!((work.delivery, work.event.id.as_str()), (delivery, "evt_1"));
    assert_eq!((work.attempt, work.position()), (2, 1));

    // Once more while it is queued is fine and queues nothing.
    post(&api.acme, &path, &json!({}), 202).await;
    let depth = api.broker.depth(broker::Queue::Deliveries).await.unwrap();
    assert_eq!(depth.ready, 0);
}

#[tokio::test]
async fn a_delivery_of_a_deleted_endpoint_is_not_retried() {
    let api = Api::start().await;
    let endpoint = api.endpoint(URL).await;
    let delivery = api
        .accept(Submitted {
            endpoints: &[endpoint],
            ..Submitted::default()
        })
        .await[0];
    let endpoint_path = format!("/v1/endpoints/{endpoint}");
    delete(&api.acme, &endpoint_path, 204).await;
    let path = format!("/v1/deliveries/{delivery}");
    let read = get(&api.acme, &path, 200).await;
    assert_eq!(read["status"], "discarded");
    post(&api.acme, &format!("{path}/retry"), &json!({}), 409).await;
}

#[tokio::test]
async fn a_filter_retries_what_failed_and_nothing_else() {
    let api = Api::start().await;
    let endpoint = api.endpoint(URL).await;
    let deliveries = six(&api, endpoint).await;
    for delivery in &deliveries[..3] {
        fail(&api, *delivery).await;
    }
    let delivered = Outcome::Answered {
        status: 204,
        retry_after: None,
    };
    record(&api, deliveries[3], 1, delivered, Verdict::Delivered).await;
    let retry = |body: Value| {
        let client = api.acme.clone();
        async move { client.post("/v1/deliveries/retry", &body).await.unwrap() }
    };
    let answer = retry(json!({"license": "lic_0"}))
        .await
        .expect(202)
        .unwrap();
    assert_eq!(answer, json!({"requeued": 2, "more": false}));
    let answer = retry(json!({})).await.expect(202).unwrap();
    assert_eq!(answer["requeued"], 1);
    let answer = retry(json!({"status": "delivered", "event": "e3"}))
        .await
        .expect(202)
        .unwrap();
    assert_eq!(answer["requeued"], 1);
    retry(json!({"status": "queued"}))
        .await
        .expect(422)
        .unwrap();
    let problem = retry(json!({"status": "lost", "since": "x"}))
        .await
        .expect(422)
        .unwrap();
    assert_eq!(problem["errors"].as_array().unwrap().len(), 2, "{problem}");
}
