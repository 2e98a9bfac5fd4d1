//! What a receiver sees of tests and of rotated secrets.

use dialect::Dialect;
use secrecy::SecretString;
use serde_json::{Value, json};
use testkit::{Behavior, Received, Receiver};

use crate::harness::{Api, SOON, get, patch, post};

#[tokio::test]
async fn a_test_tells_what_the_receiver_did() {
    let api = Api::start().await;
    let receiver = Receiver::start().await.unwrap();
    let more = json!({"headers": {"x-team": "blue"}});
    let made = api
        .acme
        .create_endpoint(&receiver.url("/hook"), more)
        .await
        .unwrap();
    let path = format!("/v1/endpoints/{}/test", made["id"].as_str().unwrap());
    receiver.script(
        "/hook",
        [
            Behavior::status(204),
            Behavior::status(418),
            Behavior::Reset,
        ],
    );

    let told = post(&api.acme, &path, &json!({}), 200).await;
    assert_eq!(
        (&told["outcome"], &told["status_code"]),
        (&json!("succeeded"), &json!(204))
    );
    assert_eq!(
        (&told["event_type"], &told["error"]),
        (&json!("webhook.test"), &Value::Null)
    );
    let request = receiver.received("/hook").remove(0);
    assert!(verifies(&request, &made["secret"]));
    assert_eq!(
        (request.id(), request.header("x-team")),
        (told["event_id"].as_str().unwrap(), Some("blue"))
    );

    let told = post(&api.acme, &path, &json!({}), 200).await;
    assert_eq!(
        (&told["outcome"], &told["status_code"]),
        (&json!("failed"), &json!(418))
    );
    let told = post(&api.acme, &path, &json!({}), 200).await;
    assert_eq!(
        (&told["outcome"], &told["status_code"]),
        (&json!("failed"), &Value::Null)
    );
    assert!(
        told["error"].as_str().unwrap().starts_with("connection_"),
        "{told}"
    );
    assert!(told["duration_ms"].is_number());
    let recorded = get(&api.acme, "/v1/deliveries", 200).await;
    assert_eq!(recorded["items"], json!([]));
}

fn verifies(request: &Received, secret: &Value) -> bool {
    let secret = SecretString::from(secret.as_str().unwrap());
    let header = |name: &str| request.header(name);
    Dialect::Standard
        .verify(
            &secret,
            &dialect::Received {
                target: &request.path,
                url: None,
                headers: &header,
                body: &request.body,
                now: ambient::now(),
            },
        )
        .is_ok()
}

#[tokio::test]
async fn while_a_secret_is_rotated_both_sign_and_without_grace_the_new_one_alone() {
    let api = Api::start().await;
    let receiver = Receiver::start().await.unwrap();
    let made = api
        .acme
        .create_endpoint(&receiver.url("/hook"), json!({}))
        .await
        .unwrap();
    let path = format!("/v1/endpoints/{}", made["id"].as_str().unwrap());
    let rotate = format!("{path}/rotate_secret");
    let test = format!("{path}/test");

    let second = post(&api.acme, &rotate, &json!({}), 200).await;
    assert_ne!(second["secret"], made["secret"]);
    post(&api.acme, &test, &json!({}), 200).await;
    let request = receiver.received("/hook").remove(0);
    assert!(verifies(&request, &made["secret"]) && verifies(&request, &second["secret"]));
    let read = get(&api.acme, &path, 200).await;
    assert_eq!(read["secret_hint"], second["secret_hint"]);
    assert!(
        !read
            .to_string()
            .contains(second["secret"].as_str().unwrap())
    );

    let third = post(&api.acme, &rotate, &json!({"grace_s": 0}), 200).await;
    post(&api.acme, &test, &json!({}), 200).await;
    let request = receiver.received("/hook").remove(1);
    assert!(verifies(&request, &third["secret"]));
    assert!(!verifies(&request, &made["secret"]) && !verifies(&request, &second["secret"]));
}

#[tokio::test]
async fn rotations_are_bounded_in_grace_and_number() {
    let api = Api::start().await;
    let endpoint = api.endpoint("http://127.0.0.1:9/hook").await;
    let path = format!("/v1/endpoints/{endpoint}/rotate_secret");
    let month = json!({"grace_s": 2_592_001});
    post(&api.acme, &path, &month, 422).await;
    post(&api.acme, &path, &json!({"secret": "short"}), 422).await;
    for _ in 0..4 {
        post(&api.acme, &path, &json!({}), 200).await;
    }
    post(&api.acme, &path, &json!({}), 409).await;
    post(&api.acme, &path, &json!({"grace_s": 0}), 200).await;
    assert_eq!(
        api.directory
            .snapshot()
            .endpoint(endpoint)
            .unwrap()
            .secrets
            .len(),
        1
    );
}

#[tokio::test]
async fn a_new_hook_of_githubs_format_is_greeted_with_a_ping_beside_the_answer() {
    let api = Api::start().await;
    let receiver = Receiver::start().await.unwrap();
    let make = async |path: &str, settings: Value| {
        let url = receiver.url(path);
        api.acme.create_endpoint(&url, settings).await.unwrap()
    };
    receiver.script("/slow", [Behavior::Hang]);
    make("/slow", json!({"dialect": "github"})).await;
    make("/inactive", json!({"dialect": "github", "active": false})).await;
    make("/standard", json!({})).await;
    // The last to be made: what the others would be sent has come by the time of its ping.
    let made = make("/hook", json!({"dialect": "github"})).await;
    let ping = receiver.wait_for("/hook", 1, SOON).await.unwrap().remove(0);
    assert_eq!(ping.header("x-github-event"), Some("ping"));
    assert_eq!(ping.json()["hook"]["config"]["url"], made["url"]);
    let headers = |name: &str| ping.header(name);
    let received = dialect::Received {
        target: &ping.path,
        url: None,
        headers: &headers,
        body: &ping.body,
        now: ambient::now(),
    };
    let secret = SecretString::from(made["secret"].as_str().unwrap());
    assert!(Dialect::GitHub.verify(&secret, &received).is_ok());
    receiver.wait_for("/slow", 1, SOON).await.unwrap();
    assert_eq!(
        (receiver.count("/inactive"), receiver.count("/standard")),
        (0, 0)
    );
}

#[tokio::test]
async fn a_receiver_is_asked_in_the_name_of_this_installation_unless_another_is_given() {
    let api = Api::start().await;
    let receiver = Receiver::start().await.unwrap();
    let make = async |path: &str, options: Value| {
        let settings = json!({"dialect": "cloudevents", "dialect_options": options});
        let url = receiver.url(path);
        api.acme.create_endpoint(&url, settings).await.unwrap()
    };
    let asked = |path: &str| receiver.received(path).pop().unwrap();
    let ours = json!({"handshake": true, "user_agent": "Hooks/2"});
    let made = make("/ours", ours).await;
    assert_eq!(made["dialect_options"]["origin"], "fanfare.example");
    let question = asked("/ours");
    assert_eq!(
        ["webhook-request-origin", "user-agent"].map(|name| question.header(name)),
        [Some("fanfare.example"), Some("Hooks/2")]
    );
    make(
        "/theirs",
        json!({"handshake": true, "origin": "hooks.example.net"}),
    )
    .await;
    let origin = asked("/theirs");
    assert_eq!(
        origin.header("webhook-request-origin"),
        Some("hooks.example.net")
    );

    // A patch that takes the name away goes back to it, and asks again.
    let plain = make("/patched", json!({})).await;
    assert_eq!(plain["dialect_options"], json!({}));
    assert_eq!(receiver.count("/patched"), 0);
    let path = format!("/v1/endpoints/{}", plain["id"].as_str().unwrap());
    let asks = json!({"dialect_options": {"handshake": true}});
    let patched = patch(&api.acme, &path, &asks, 200).await;
    assert_eq!(patched["disabled_reason"], "awaiting_consent");
    let question = asked("/patched");
    assert_eq!(
        question.header("webhook-request-origin"),
        Some("fanfare.example")
    );
}
