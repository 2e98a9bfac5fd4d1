use serde_json::{Value, json};
use testkit::Receiver;

use crate::harness::{ACME, Api, UMBRELLA, id, mistakes, patch, post};

const WEBHOOKS: &str = "/api/webhooks";
const TEST: &str = "/api/webhooks/test";

fn webhook(url: &str) -> Value {
    json!({"url": url, "events": ["license.validated"]})
}

#[tokio::test]
async fn a_test_is_as_the_vendors_and_its_delivery_always_has_an_id() {
    let api = Api::start().await;
    let receiver = Receiver::start().await.unwrap();
    let made = post(&api.acme, WEBHOOKS, &webhook(&receiver.url("/hook")), 201).await;
    let test = json!({"webhookId": made["id"]});
    let tested = post(&api.acme, TEST, &test, 200).await;
    let sent = receiver.received("/hook").remove(0).json();
    assert_eq!(sent["deliveryId"], tested["deliveryId"]);
    let data = json!({"webhookId": made["id"], "message": "Test event"});
    assert_eq!(sent["data"], data);

    let webhook = made["id"].as_str().unwrap();
    let path = format!("/v1/endpoints/{}", webhook.replace("webhook_", "ep_"));
    let change = json!({"dialect_options": {"delivery_id": false}});
    patch(&api.acme, &path, &change, 200).await;
    let tested = post(&api.acme, TEST, &test, 200).await;
    let delivery = tested["deliveryId"].as_str().unwrap();
    assert!(delivery.starts_with("delivery_test_"), "{tested}");
    assert!(
        receiver.received("/hook")[1]
            .json()
            .get("deliveryId")
            .is_none()
    );
}

#[tokio::test]
async fn what_is_no_webhook_of_the_tenant_does_not_exist() {
    let api = Api::start().await;
    let url = "http://127.0.0.1:9/hook";
    let endpoint: model::EndpointId = id(&api.acme.create_endpoint(url, json!({})).await.unwrap());
    let other = api.operator.for_tenant(UMBRELLA);
    let others = post(&other, WEBHOOKS, &webhook(url), 201).await;
    let of_another_dialect = endpoint.to_string().replace("ep_", "webhook_");
    for unknown in [
        "webhook_abc123",
        "webhook_01JRX5K9Q8ZV3T7Y2M4N6P8R0S",
        "nonsense",
        &of_another_dialect,
        others["id"].as_str().unwrap(),
    ] {
        let test = json!({"webhookId": unknown});
        post(&api.operator.for_tenant(ACME), TEST, &test, 404).await;
    }
}

#[tokio::test]
async fn mistakes_have_the_names_of_this_api() {
    let api = Api::start().await;
    let url = "http://127.0.0.1:9/hook";
    for (body, pointers) in [
        (json!({}), &["/events", "/url"][..]),
        (json!({"url": url}), &["/events"]),
        (json!({"url": url, "events": []}), &["/events"]),
        (
            json!({"url": url, "events": ["license.*", "x.y"]}),
            &["/events/1"],
        ),
    ] {
        let problem = post(&api.acme, WEBHOOKS, &body, 422).await;
        let found: Vec<_> = mistakes(&problem).into_keys().collect();
        assert_eq!(found, pointers, "{problem}");
        let detail = problem["detail"].as_str().unwrap();
        assert!(!detail.contains("event_types"), "{problem}");
    }
}
