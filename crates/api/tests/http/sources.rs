use std::time::Duration;

use broker::{Destination, Headers, Publication, Queue};
use model::{KeyKind, Role, SourceId, TenantId, Timestamp};
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use crate::harness::{
    ACME, Api, SOON, UMBRELLA, delete, get, id, items, mistakes, patch, post, read_all,
};

const SECRET: &str = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

async fn source(api: &Api, more: Value) -> Value {
    let mut source = json!({"dialect": "standard"});
    source
        .as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    post(&api.acme, "/v1/sources", &source, 201).await
}

#[tokio::test]
async fn a_made_secret_is_shown_once_and_a_given_one_never() {
    let api = Api::start().await;
    let made = source(&api, json!({"name": "billing", "product": "p"})).await;
    let secret = made["secret"].as_str().unwrap();
    assert!(secret.starts_with("whsec_"), "{made}");
    let path = format!("/v1/sources/{}", made["id"].as_str().unwrap());
    let url = format!(
        "https://fanfare.example/in/{}",
        made["id"].as_str().unwrap()
    );
    assert_eq!(made["url"], url);
    let shown = get(&api.acme, &path, 200).await;
    assert!(!shown.to_string().contains(secret), "{shown}");
    assert_eq!(
        (&shown["name"], &shown["product"], &shown["active"]),
        (&json!("billing"), &json!("p"), &json!(true))
    );
    assert_eq!(shown["public_key"], Value::Null);
    let hint = shown["secret_hint"].as_str().unwrap();
    assert!(secret.ends_with(hint.trim_start_matches('…')), "{hint}");

    let given = source(&api, json!({"secret": SECRET})).await;
    assert!(!given.to_string().contains(SECRET), "{given}");
    assert_eq!(given.get("secret"), None);
    let all = read_all(&api.acme, "/v1/sources", 1, "id").await;
    assert_eq!(
        all,
        [&made["id"], &given["id"]].map(|id| id.as_str().unwrap())
    );
}

#[tokio::test]
async fn every_mistake_in_a_source_is_named() {
    let api = Api::start().await;
    let refused = async |source: Value| {
        let problem = post(&api.acme, "/v1/sources", &source, 422).await;
        mistakes(&problem).into_keys().collect::<Vec<_>>()
    };
    let wrong = json!({"dialect": "morse", "name": "\u{1}", "product": ""});
    assert_eq!(refused(wrong).await, ["/dialect", "/name", "/product"]);
    assert_eq!(refused(json!({})).await, ["/dialect"]);
    let wrong = json!({"dialect": "standard", "secret": "short", "product": "a\nb"});
    assert_eq!(refused(wrong).await, ["/product", "/secret"]);
    let wrong = json!({"dialect": "standard", "secret": SECRET, "public_key": "x"});
    assert_eq!(refused(wrong).await, ["/public_key"]);
    let wrong = json!({"dialect": "keyport", "public_key": "x"});
    assert_eq!(refused(wrong).await, ["/public_key"]);
    let other_systems = "It's a Secret to Everybody";
    source(&api, json!({"dialect": "github", "secret": other_systems})).await;
    let short = source(&api, json!({"dialect": "github", "secret": "tiny"})).await;
    assert_eq!(short["secret_hint"], "…y");
    let wrong = json!({"dialect": "github", "secret": "x".repeat(257)});
    assert_eq!(refused(wrong).await, ["/secret"]);
    let wrong = json!({"dialect": "standard", "url": "https://example.com"});
    assert_eq!(refused(wrong).await, ["/url"]);
}

#[tokio::test]
async fn settings_are_patched_and_the_rest_is_not() {
    let api = Api::start().await;
    let made = source(&api, json!({"name": "billing", "product": "p"})).await;
    let path = format!("/v1/sources/{}", made["id"].as_str().unwrap());
    let change = json!({"name": null, "environment": "staging", "active": false});
    let changed = patch(&api.acme, &path, &change, 200).await;
    assert_eq!(
        (&changed["name"], &changed["environment"]),
        (&Value::Null, &json!("staging"))
    );
    assert_eq!(
        (&changed["product"], &changed["active"]),
        (&json!("p"), &json!(false))
    );
    for (change, pointer) in [
        (json!({"dialect": "keyport"}), "/dialect"),
        (json!({"secret": SECRET}), "/secret"),
        (json!({"product": "x".repeat(257)}), "/product"),
        (json!([]), ""),
    ] {
        let problem = patch(&api.acme, &path, &change, 422).await;
        assert!(mistakes(&problem).contains_key(pointer), "{problem}");
    }
    delete(&api.acme, &path, 204).await;
    delete(&api.acme, &path, 404).await;
    get(&api.acme, &path, 404).await;
}

#[tokio::test]
async fn a_rotated_secret_verifies_on_until_its_grace_is_over() {
    let api = Api::start().await;
    let made = source(&api, json!({"secret": SECRET})).await;
    let source_id: SourceId = id(&made);
    let rotate = format!("/v1/sources/{source_id}/rotate_secret");
    let rotated = post(&api.acme, &rotate, &json!({"grace_s": 60}), 200).await;
    let keys = || {
        let snapshot = api.directory.snapshot();
        let source = snapshot.source(source_id).unwrap();
        assert_eq!(source.key_kind, KeyKind::Secret);
        let now = ambient::now();
        let at = |time: Timestamp| {
            let keys = source.valid_keys(time);
            keys.map(|key| key.value.expose_secret().to_owned())
                .collect::<Vec<_>>()
        };
        (at(now), at(now.plus(Duration::from_secs(61))))
    };
    let new = rotated["secret"].as_str().unwrap().to_owned();
    assert_eq!(keys(), (vec![new.clone(), SECRET.to_owned()], vec![new]));
    for _ in 0..3 {
        post(&api.acme, &rotate, &json!({}), 200).await;
    }
    post(&api.acme, &rotate, &json!({}), 409).await;
    let given = json!({"grace_s": 0, "secret": SECRET});
    let rotated = post(&api.acme, &rotate, &given, 200).await;
    assert_eq!(rotated.get("secret"), None);
    assert_eq!(keys().0, [SECRET]);
    let wrong = post(&api.acme, &rotate, &json!({"public_key": "x"}), 422).await;
    assert!(mistakes(&wrong).contains_key("/public_key"));
}

#[tokio::test]
async fn sources_are_for_editors_of_their_own_tenant_and_keys_for_admins() {
    let api = Api::start().await;
    let made = source(&api, json!({})).await;
    let path = format!("/v1/sources/{}", made["id"].as_str().unwrap());
    let rotate = format!("{path}/rotate_secret");
    let viewer = api.with_role(ACME, Role::Viewer).await;
    let editor = api.with_role(ACME, Role::Editor).await;
    let stranger = api.with_role(UMBRELLA, Role::Admin).await;
    assert_eq!(items(&get(&viewer, "/v1/sources", 200).await).len(), 1);
    let new = json!({"dialect": "standard"});
    post(&viewer, "/v1/sources", &new, 403).await;
    patch(&viewer, &path, &json!({}), 403).await;
    delete(&viewer, &path, 403).await;
    post(&editor, &rotate, &json!({}), 403).await;
    assert_eq!(items(&get(&stranger, "/v1/sources", 200).await).len(), 0);
    get(&stranger, &path, 404).await;
    patch(&stranger, &path, &json!({}), 404).await;
    post(&stranger, &rotate, &json!({}), 404).await;
    delete(&stranger, &path, 404).await;
    patch(&editor, &path, &json!({"name": "ours"}), 200).await;
    delete(&editor, &path, 204).await;
}

#[tokio::test]
async fn a_tenant_has_at_most_100_sources() {
    let api = Api::start().await;
    let new = json!({"dialect": "standard"});
    for _ in 0..100 {
        post(&api.acme, "/v1/sources", &new, 201).await;
    }
    post(&api.acme, "/v1/sources", &new, 409).await;
    let umbrella = api.operator.for_tenant(UMBRELLA);
    post(&umbrella, "/v1/sources", &new, 201).await;
}

async fn set_aside(api: &Api, tenant: &str, source: &str, body: &str) {
    let kept = json!({"webhook-id": "theirs-1", "content-type": "application/json"});
    let to = Destination::Rejected {
        reason: "unknown type".to_owned(),
        at: Timestamp::from_seconds(1_776_254_400),
        headers: Headers {
            tenant: Some(tenant.to_owned()),
            message_id: Some("theirs-1".to_owned()),
            source: Some(source.to_owned()),
            source_headers: Some(kept.to_string()),
            ..Headers::default()
        }
        .into(),
    };
    let body = body.to_owned().into();
    api.broker
        .publish(vec![Publication { to, body }])
        .await
        .unwrap();
}

#[tokio::test]
async fn a_webhook_that_was_set_aside_is_read_by_its_source_once_more() {
    let api = Api::start().await;
    let settings = json!({"environment": "staging", "product": "p"});
    let made = source(&api, settings).await;
    let source_id = made["id"].as_str().unwrap();
    let body = r#"{"type":"seat.assigned","timestamp":"2026-04-15T12:00:00Z","data":{"n":1.0}}"#;
    set_aside(&api, ACME, source_id, body).await;
    let list = get(&api.acme, "/v1/rejected", 200).await;
    assert_eq!(items(&list)[0]["source"], source_id, "{list}");
    let answer = post(&api.acme, "/v1/rejected/retry", &json!({}), 202).await;
    assert_eq!(answer, json!({"sent": 1, "refused": []}));
    let mut intake = api.broker.consume(Queue::Intake, 10);
    let message = tokio::time::timeout(SOON, intake.next())
        .await
        .unwrap()
        .unwrap();
    let event: Value = serde_json::from_slice(&message.body).unwrap();
    let expected = json!({"id": "theirs-1", "type": "seat.assigned", "environment": "staging",
        "occurred_at": "2026-04-15T12:00:00.000Z", "product": "p", "data": {"n": 1.0}});
    assert_eq!(event, expected);
    assert_eq!(message.headers.tenant.as_deref(), Some(ACME));
    assert_eq!(message.headers.message_id.as_deref(), Some("theirs-1"));
    message.ack.ack();
}

#[tokio::test]
async fn of_a_batch_that_was_set_aside_the_good_events_are_sent_again_and_the_rest_stays() {
    let api = Api::start().await;
    let made = source(&api, json!({"dialect": "traffic"})).await;
    let source_id = made["id"].as_str().unwrap();
    let event = |id: &str, name: &str| json!({"id": id, "type": name, "data": {}});
    let body = json!({"id": "b", "type": "events.batch", "data": {"events": [
        event("e1", "license.teleported"), event("e2", "license.created"), 7,
    ]}});
    set_aside(&api, ACME, source_id, &body.to_string()).await;
    let answer = post(&api.acme, "/v1/rejected/retry", &json!({}), 202).await;
    assert_eq!(answer["sent"], 0, "{answer}");
    let detail = answer["refused"][0]["detail"].as_str().unwrap();
    assert!(detail.contains("license.teleported"), "{answer}");
    let mut intake = api.broker.consume(Queue::Intake, 10);
    let message = tokio::time::timeout(SOON, intake.next())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(message.headers.message_id.as_deref(), Some("e2"));
    message.ack.ack();
    assert_eq!(items(&get(&api.acme, "/v1/rejected", 200).await).len(), 1);
}

#[tokio::test]
async fn a_webhook_of_no_source_or_another_tenants_cannot_be_sent_again() {
    let api = Api::start().await;
    let made = source(&api, json!({})).await;
    let source_id = made["id"].as_str().unwrap();
    let body = r#"{"type":"seat.assigned","data":{}}"#;
    set_aside(&api, UMBRELLA, source_id, body).await;
    set_aside(&api, ACME, "src_01JRX5K9Q8ZV3T7Y2M4N6P8R0S", body).await;
    set_aside(&api, ACME, source_id, "[]").await;
    let answer = post(&api.operator, "/v1/rejected/retry", &json!({}), 202).await;
    assert_eq!(answer["sent"], 0, "{answer}");
    let refused: Vec<_> = answer["refused"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["detail"].as_str().unwrap())
        .collect();
    assert_eq!(refused[..2], ["its source does not exist any more"; 2]);
    assert!(refused[2].contains("the body"), "{refused:?}");
    let tenant = TenantId::new(ACME).unwrap();
    let snapshot = api.directory.snapshot();
    assert_eq!(snapshot.tenant(&tenant).unwrap().sources.len(), 1);
}
