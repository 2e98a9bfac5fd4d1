use serde_json::{Value, json};

use crate::harness::{ACME, Api, UMBRELLA, get, items, post};

fn named<'a>(list: &'a Value, name: &str) -> Option<&'a Value> {
    items(list).iter().find(|item| item["name"] == name)
}

#[tokio::test]
async fn a_registered_event_type_is_the_tenants_own() {
    let api = Api::start().await;
    let path = "/v1/event-types";
    let body = json!({"name": "seat.assigned", "description": "A seat is assigned."});
    let made = post(&api.acme, path, &body, 201).await;
    assert_eq!(made["registered"], true);
    let list = get(&api.acme, path, 200).await;
    assert_eq!(
        named(&list, "seat.assigned").unwrap()["description"],
        "A seat is assigned."
    );
    assert_eq!(
        named(&list, "license.revoked").unwrap()["registered"],
        false
    );
    for other in [api.operator.for_tenant(UMBRELLA), api.operator.clone()] {
        let list = get(&other, path, 200).await;
        assert!(named(&list, "seat.assigned").is_none());
    }
    let endpoint = json!({"event_types": ["seat.assigned"]});
    api.acme
        .create_endpoint("http://127.0.0.1:9/", endpoint)
        .await
        .unwrap();
}

#[tokio::test]
async fn event_types_are_checked() {
    let api = Api::start().await;
    for (body, status) in [
        (json!({"name": "license.created"}), 409),
        (json!({"name": "Seat Assigned"}), 422),
        (json!({}), 422),
        (
            json!({"name": "seat.assigned", "description": "d".repeat(501)}),
            422,
        ),
    ] {
        let answer = api.acme.post("/v1/event-types", &body).await.unwrap();
        assert_eq!(answer.status, status, "{body}: {}", answer.text());
    }
}

#[tokio::test]
async fn dialects_and_addresses_are_published() {
    let api = Api::start().await;
    let list = get(&api.operator.for_tenant(ACME), "/v1/dialects", 200).await;
    let standard = named(&list, "standard").unwrap();
    assert_eq!(standard["defaults"]["timeout_s"], 15);
    assert!(
        standard["headers"]
            .as_array()
            .unwrap()
            .contains(&json!("webhook-signature"))
    );
    assert!(
        named(&list, "keyport").unwrap()["event_types"]
            .as_array()
            .unwrap()
            .len()
            >= 9
    );
    let addresses = get(&api.acme, "/v1/egress-addresses", 200).await;
    assert_eq!(addresses, json!({"addresses": ["198.51.100.7"]}));
}
