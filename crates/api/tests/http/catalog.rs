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
    let gkm = named(&list, "getkeymanager").unwrap();
    let named_so = |name: &str, event_type: &str| {
        let rows = gkm["event_names"].as_array().unwrap().iter();
        let mut found = rows.filter(|row| row["name"] == name && row["event_type"] == event_type);
        found.next().map(|row| row["condition"].clone())
    };
    let condition = named_so("validation.success", "license.validated").unwrap();
    assert_eq!(condition, "dialect_options.extras is true");
    let always = named_so("license.updated", "license.upgraded");
    assert_eq!(always, Some(Value::Null));
    let event_types = gkm["event_types"].as_array().unwrap();
    assert!(!event_types.contains(&json!("validation.success")));

    let licvalidator = named(&list, "licvalidator").unwrap();
    assert_eq!(licvalidator["optional_headers"], json!([]));
    for (name, verified_with, batches, asks_first) in [
        ("standard", json!(["secret", "public_key"]), false, false),
        ("keygen", json!(["public_key"]), false, false),
        ("traffic", json!(["secret"]), true, false),
        ("cloudevents", json!(["secret"]), true, true),
        ("slack", json!([]), false, false),
    ] {
        let shown = named(&list, name).unwrap();
        assert_eq!(shown["verified_with"], verified_with, "{name}");
        assert_eq!(shown["batches"], batches, "{name}");
        assert_eq!(shown["asks_first"], asks_first, "{name}");
        let success = json!({"from": 200, "to": 299});
        assert_eq!(shown["defaults"]["success_statuses"], success, "{name}");
    }
    let addresses = get(&api.acme, "/v1/egress-addresses", 200).await;
    assert_eq!(addresses, json!({"addresses": ["198.51.100.7"]}));
}
