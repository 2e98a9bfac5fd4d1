use std::time::Duration;

use delivery::CircuitPolicy;
use model::{DeliveryStatus, EndpointId, HoldReason};
use serde_json::{Value, json};
use shared_state::{ClaimRequest, Settled, Settlement};
use store::{DeliveryFilter, PageRequest};

use crate::harness::{ACME, Api, Submitted, get, id, patch, post};

/// Three held deliveries: two of one license, one of another, in this order.
async fn held(api: &Api, endpoint: EndpointId) {
    for (event, license) in [("e1", "lic_1"), ("e2", "lic_2"), ("e3", "lic_1")] {
        api.accept(Submitted {
            id: event,
            license,
            endpoints: &[endpoint],
            held: Some(HoldReason::EndpointDisabled),
            ..Submitted::default()
        })
        .await;
    }
}

/// The events of deliveries with this status, oldest first.
async fn events_with(api: &Api, status: DeliveryStatus) -> Vec<String> {
    let filter = DeliveryFilter {
        status: Some(status),
        ..DeliveryFilter::default()
    };
    let page = PageRequest {
        limit: 50,
        after: None,
    };
    let tenant = ACME.parse().unwrap();
    let found = api.store.deliveries(&tenant, &filter, &page).await.unwrap();
    let mut events: Vec<_> = found.items.iter().map(|it| it.event.to_string()).collect();
    events.sort_unstable();
    events
}

async fn disable_hold_and_enable(choice: &Value) -> (Api, Value) {
    let api = Api::start().await;
    let endpoint = api.endpoint("http://127.0.0.1:9/hook").await;
    let path = format!("/v1/endpoints/{endpoint}");
    let disabled = post(&api.acme, &format!("{path}/disable"), &json!({}), 200).await;
    assert_eq!(
        (&disabled["active"], &disabled["disabled_reason"]),
        (&json!(false), &json!("requested"))
    );
    held(&api, endpoint).await;
    let enabled = post(&api.acme, &format!("{path}/enable"), choice, 200).await;
    assert_eq!(
        (&enabled["active"], &enabled["disabled_reason"]),
        (&json!(true), &Value::Null)
    );
    (api, enabled)
}

#[tokio::test]
async fn enabling_leaves_what_was_held_to_be_delivered() {
    let (api, enabled) = disable_hold_and_enable(&json!({})).await;
    assert_eq!(enabled["discarded"], 0);
    assert_eq!(
        events_with(&api, DeliveryStatus::Held).await,
        ["e1", "e2", "e3"]
    );
}

#[tokio::test]
async fn enabling_can_deliver_the_latest_of_each_license_only() {
    let (api, enabled) = disable_hold_and_enable(&json!({"held": "latest_per_license"})).await;
    assert_eq!(enabled["discarded"], 1);
    assert_eq!(events_with(&api, DeliveryStatus::Held).await, ["e2", "e3"]);
    assert_eq!(events_with(&api, DeliveryStatus::Discarded).await, ["e1"]);
}

#[tokio::test]
async fn enabling_can_discard_what_was_held() {
    let (api, enabled) = disable_hold_and_enable(&json!({"held": "discard"})).await;
    assert_eq!(enabled["discarded"], 3);
    assert_eq!(
        events_with(&api, DeliveryStatus::Discarded).await,
        ["e1", "e2", "e3"]
    );
}

#[tokio::test]
async fn an_unknown_choice_enables_nothing() {
    let api = Api::start().await;
    let made = api
        .acme
        .create_endpoint("http://127.0.0.1:9/", json!({"active": false}))
        .await
        .unwrap();
    let path = format!("/v1/endpoints/{}", made["id"].as_str().unwrap());
    post(
        &api.acme,
        &format!("{path}/enable"),
        &json!({"held": "burn"}),
        422,
    )
    .await;
    let read = get(&api.acme, &path, 200).await;
    assert_eq!(read["active"], false);
}

#[tokio::test]
async fn active_can_be_patched() {
    let api = Api::start().await;
    let endpoint = api.endpoint("http://127.0.0.1:9/hook").await;
    let path = format!("/v1/endpoints/{endpoint}");
    let read = patch(&api.acme, &path, &json!({"active": false}), 200).await;
    assert_eq!(
        (&read["active"], &read["disabled_reason"]),
        (&json!(false), &json!("requested"))
    );
    let read = patch(&api.acme, &path, &json!({"active": true}), 200).await;
    assert_eq!(read["active"], true);
}

#[tokio::test]
async fn an_open_circuit_is_shown_and_enabling_closes_it() {
    let api = Api::start().await;
    let made = api
        .acme
        .create_endpoint("http://127.0.0.1:9/", json!({}))
        .await
        .unwrap();
    let endpoint: EndpointId = id(&made);
    let delivery = api
        .accept(Submitted {
            endpoints: &[endpoint],
            ..Submitted::default()
        })
        .await[0];
    let now = ambient::now();
    let lease = Duration::from_secs(30);
    let claim = ClaimRequest {
        delivery,
        attempt: 1,
        endpoint,
        rate_per_minute: None,
        lease,
    };
    api.shared_state.claim(&[claim], now).await.unwrap();
    let policy = CircuitPolicy { open_after: 1 };
    let settled = Settled::Failed;
    let settlement = Settlement {
        delivery,
        attempt: 1,
        endpoint,
        settled,
        troubled: true,
        policy,
    };
    api.shared_state.settle(&[settlement], now).await.unwrap();

    let path = format!("/v1/endpoints/{endpoint}");
    let read = get(&api.acme, &path, 200).await;
    assert_eq!(
        (&read["circuit"]["state"], &read["circuit"]["failures"]),
        (&json!("open"), &json!(1))
    );
    assert!(read["circuit"]["probe_at"].is_string());
    let stats = get(&api.acme, &format!("{path}/stats"), 200).await;
    assert_eq!(
        (&stats["circuit"]["state"], &stats["deliveries"]["queued"]),
        (&json!("open"), &json!(1))
    );
    assert_eq!(
        (&stats["attempts"], &stats["success_rate"]),
        (&json!(0), &Value::Null)
    );
    let read = api
        .acme
        .post(&format!("{path}/enable"), &json!({}))
        .await
        .unwrap();
    assert_eq!(read.expect(200).unwrap()["circuit"]["state"], "closed");
    get(&api.acme, &format!("{path}/stats?window_s=0"), 400).await;
}
