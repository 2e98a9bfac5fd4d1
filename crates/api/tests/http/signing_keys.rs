//! Key pairs of tenants, and receivers that hold the public half.

use dialect::Dialect;
use model::Role;
use secrecy::SecretString;
use serde_json::{Value, json};
use testkit::{Client, Received, Receiver};

use crate::harness::{Api, UMBRELLA, get, items, patch, post};

async fn keys(client: &Client) -> Vec<Value> {
    let listed = get(client, "/v1/signing-keys", 200).await;
    listed["items"].as_array().unwrap().clone()
}

/// Tests the endpoint at `/hook`; answers what its receiver got.
async fn tested(api: &Api, receiver: &Receiver, endpoint: &Value) -> Received {
    let path = format!("/v1/endpoints/{}/test", endpoint["id"].as_str().unwrap());
    let before = receiver.received("/hook").len();
    post(&api.acme, &path, &json!({}), 200).await;
    receiver.received("/hook").remove(before)
}

fn verifies(dialect: Dialect, key: &Value, request: &Received) -> bool {
    let key = SecretString::from(key.as_str().unwrap());
    let headers = |name: &str| request.header(name);
    let received = dialect::Received {
        target: &request.path,
        url: None,
        headers: &headers,
        body: &request.body,
        now: ambient::now(),
    };
    dialect.verify(&key, &received).is_ok()
}

#[tokio::test]
async fn a_key_pair_is_made_for_the_first_endpoint_that_needs_it_and_signs() {
    let api = Api::start().await;
    assert_eq!(keys(&api.acme).await, [] as [Value; 0]);
    let receiver = Receiver::start().await.unwrap();
    let url = receiver.url("/hook");
    let make = async |more: Value| api.acme.create_endpoint(&url, more).await.unwrap();

    let hmac = make(json!({})).await;
    assert!(keys(&api.acme).await.is_empty());
    let keygen = make(json!({"dialect": "keygen"})).await;
    let made = keys(&api.acme).await;
    let [ed25519] = made.as_slice() else {
        panic!("{made:?}")
    };
    assert_eq!(ed25519["algorithm"], "ed25519");
    let request = tested(&api, &receiver, &keygen).await;
    for form in ["public_key", "public_key_pem"] {
        assert!(
            verifies(Dialect::Keygen, &ed25519[form], &request),
            "{form}"
        );
    }
    let signature = request.header("keygen-signature").unwrap();
    let key_id = ed25519["key_id"].as_str().unwrap();
    assert!(
        signature.starts_with(&format!("keyid=\"{key_id}\"")),
        "{signature}"
    );

    // The same pair serves the tenant's other endpoints.
    let path = format!("/v1/endpoints/{}", hmac["id"].as_str().unwrap());
    let option = json!({"dialect_options": {"ed25519": true}});
    patch(&api.acme, &path, &option, 200).await;
    let request = tested(&api, &receiver, &hmac).await;
    assert!(verifies(Dialect::Standard, &ed25519["whpk"], &request));
    assert!(verifies(Dialect::Standard, &hmac["secret"], &request));
    assert_eq!(keys(&api.acme).await, made);

    let path = format!("/v1/endpoints/{}", keygen["id"].as_str().unwrap());
    let option = json!({"dialect_options": {"algorithm": "ecdsa-p256"}});
    patch(&api.acme, &path, &option, 200).await;
    let both = keys(&api.acme).await;
    let algorithms: Vec<_> = both.iter().map(|key| &key["algorithm"]).collect();
    assert_eq!(algorithms, ["ed25519", "ecdsa_p256"]);
    let request = tested(&api, &receiver, &keygen).await;
    assert!(verifies(
        Dialect::Keygen,
        &both[1]["public_key_pem"],
        &request
    ));
}

#[tokio::test]
async fn endpoints_made_at_once_share_one_key_pair() {
    let api = Api::start().await;
    let receiver = Receiver::start().await.unwrap();
    let url = receiver.url("/hook");
    let options = json!({"dialect": "keygen", "dialect_options": {"algorithm": "rsa-pss-sha256"}});
    let make = || api.acme.create_endpoint(&url, options.clone());
    let (one, two) = tokio::join!(make(), make());
    let keys = keys(&api.acme).await;
    assert_eq!(keys.len(), 1);
    for endpoint in [one.unwrap(), two.unwrap()] {
        let request = tested(&api, &receiver, &endpoint).await;
        assert!(verifies(
            Dialect::Keygen,
            &keys[0]["public_key_pem"],
            &request
        ));
    }
}

#[tokio::test]
async fn public_keys_are_for_the_tenants_viewers() {
    let api = Api::start().await;
    let endpoint = json!({"dialect": "keygen"});
    let made = api
        .acme
        .create_endpoint("http://127.0.0.1:9/hook", endpoint);
    made.await.unwrap();
    let viewer = api.with_role("acme", Role::Viewer).await;
    assert_eq!(keys(&viewer).await.len(), 1);
    let listed = get(&viewer, "/v1/signing-keys", 200).await.to_string();
    assert!(!listed.contains("PRIVATE"), "{listed}");
    let stranger = api.with_role(UMBRELLA, Role::Admin).await;
    assert!(keys(&stranger).await.is_empty());
    let publisher = api.with_role("acme", Role::Publisher).await;
    get(&publisher, "/v1/signing-keys", 403).await;
}

#[tokio::test]
async fn a_receiver_finds_the_public_key_by_the_account_in_the_signature() {
    let api = Api::start().await;
    let receiver = Receiver::start().await.unwrap();
    let keygen = json!({"dialect": "keygen"});
    let url = receiver.url("/hook");
    let made = api.acme.create_endpoint(&url, keygen).await.unwrap();
    let request = tested(&api, &receiver, &made).await;
    let signature = request.header("keygen-signature").unwrap();
    let account = signature.split('"').nth(1).unwrap();

    let anybody = api.operator.with_key(None);
    let published = get(&anybody, &format!("/v1/signing-keys/{account}"), 200).await;
    assert_eq!(items(&published), keys(&api.acme).await);
    assert!(!published.to_string().contains("PRIVATE"), "{published}");
    let key = &published["items"][0]["public_key"];
    assert!(verifies(Dialect::Keygen, key, &request));

    let without_keys = dialect::SigningKeys::id(&UMBRELLA.parse().unwrap());
    for unknown in [
        without_keys.as_str(),
        "acme",
        "00000000-0000-8000-8000-000000000000",
    ] {
        get(&anybody, &format!("/v1/signing-keys/{unknown}"), 404).await;
    }
    get(&anybody, "/v1/signing-keys", 401).await;
}
