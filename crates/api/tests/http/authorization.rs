use model::Role;
use serde_json::{Value, json};
use testkit::{Answer, Client};

use crate::harness::{ACME, Api, Submitted, UMBRELLA, delete, get, id, items, post};

#[tokio::test]
async fn a_missing_wrong_or_expired_key_is_401_with_a_challenge() {
    let api = Api::start().await;
    let expired = api.with_expired_key(ACME).await;
    for client in [
        api.operator.with_key(None),
        api.operator.with_key(Some("fk_wrong")),
        expired,
    ] {
        let answer = client.get("/v1/endpoints").await.unwrap();
        assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
        assert_eq!(
            answer.header("content-type"),
            Some("application/problem+json")
        );
        let problem = answer.expect(401).unwrap();
        assert_eq!(problem["type"], "urn:fanfare:problem:unauthorized");
    }
}

#[tokio::test]
async fn an_operator_names_the_tenant_and_others_cannot_change_theirs() {
    let api = Api::start().await;
    let problem = get(&api.operator, "/v1/endpoints", 400).await;
    assert!(
        problem["detail"]
            .as_str()
            .unwrap()
            .contains("Fanfare-Tenant"),
        "{problem}"
    );
    for unknown in ["nobody", "no body"] {
        let client = api.operator.for_tenant(unknown);
        get(&client, "/v1/endpoints", 404).await;
        get(&client, "/v1/rejected", 404).await;
        get(&client, "/v1/keys", 404).await;
        // These are about no tenant, or about all.
        get(&client, "/v1/tenants", 200).await;
        get(&client, "/v1/parked", 200).await;
        get(&client, "/v1/dialects", 200).await;
    }
    let tenant = json!({"id": "initech", "name": "Initech", "plan": "free"});
    let early = api.operator.for_tenant("initech");
    post(&early, "/v1/tenants", &tenant, 201).await;
    get(&early, "/v1/endpoints", 200).await;
    let viewer = api.with_role(ACME, Role::Viewer).await;
    get(&viewer.for_tenant(ACME), "/v1/endpoints", 200).await;
    for other in [UMBRELLA, "nobody"] {
        get(&viewer.for_tenant(other), "/v1/endpoints", 403).await;
        get(&viewer.for_tenant(other), "/v1/dialects", 403).await;
    }
}

async fn call(client: &Client, method: &str, path: &str, body: &Value) -> Answer {
    match method {
        "GET" => client.get(path).await,
        "POST" => client.post(path, body).await,
        "PATCH" => client.patch(path, body).await,
        "DELETE" => client.delete(path).await,
        other => panic!("{other}"),
    }
    .unwrap()
}

/// Every call, and the least role that may make it. Paths of objects name none that exist, and
/// bodies are wrong: whoever may gets past 403 all the same, and changes nothing.
const CALLS: &[(Role, &str, &str)] = &[
    (Role::Viewer, "GET", "/v1/events"),
    (Role::Viewer, "GET", "/v1/events/none"),
    (Role::Viewer, "GET", "/v1/licenses/l/events"),
    (Role::Viewer, "GET", "/v1/rejected"),
    (Role::Editor, "POST", "/v1/rejected/retry"),
    (Role::Editor, "POST", "/v1/rejected/discard"),
    (Role::Operator, "GET", "/v1/parked"),
    (Role::Viewer, "GET", "/v1/endpoints"),
    (Role::Editor, "POST", "/v1/endpoints"),
    (
        Role::Viewer,
        "GET",
        "/v1/endpoints/ep_00000000000000000000000000",
    ),
    (
        Role::Editor,
        "PATCH",
        "/v1/endpoints/ep_00000000000000000000000000",
    ),
    (
        Role::Editor,
        "DELETE",
        "/v1/endpoints/ep_00000000000000000000000000",
    ),
    (
        Role::Editor,
        "POST",
        "/v1/endpoints/ep_00000000000000000000000000/enable",
    ),
    (
        Role::Editor,
        "POST",
        "/v1/endpoints/ep_00000000000000000000000000/disable",
    ),
    (
        Role::Editor,
        "POST",
        "/v1/endpoints/ep_00000000000000000000000000/test",
    ),
    (
        Role::Admin,
        "POST",
        "/v1/endpoints/ep_00000000000000000000000000/rotate_secret",
    ),
    (
        Role::Viewer,
        "GET",
        "/v1/endpoints/ep_00000000000000000000000000/stats",
    ),
    (Role::Viewer, "GET", "/v1/deliveries"),
    (
        Role::Viewer,
        "GET",
        "/v1/deliveries/dlv_00000000000000000000000000",
    ),
    (
        Role::Editor,
        "POST",
        "/v1/deliveries/dlv_00000000000000000000000000/retry",
    ),
    (Role::Editor, "POST", "/v1/deliveries/retry"),
    (Role::Viewer, "GET", "/v1/event-types"),
    (Role::Editor, "POST", "/v1/event-types"),
    (Role::Viewer, "GET", "/v1/dialects"),
    (Role::Admin, "GET", "/v1/keys"),
    (Role::Admin, "POST", "/v1/keys"),
    (
        Role::Admin,
        "DELETE",
        "/v1/keys/key_00000000000000000000000000",
    ),
    (Role::Operator, "GET", "/v1/tenants"),
    (Role::Operator, "POST", "/v1/tenants"),
    (Role::Operator, "GET", "/v1/tenants/nobody"),
    (Role::Operator, "PATCH", "/v1/tenants/nobody"),
];

#[tokio::test]
async fn each_role_may_what_it_may_and_no_more() {
    let api = Api::start().await;
    for role in [
        Role::Publisher,
        Role::Viewer,
        Role::Editor,
        Role::Admin,
        Role::Operator,
    ] {
        let client = match role {
            Role::Operator => api.acme.clone(),
            role => api.with_role(ACME, role).await,
        };
        for (least, method, path) in CALLS {
            let answer = call(&client, method, path, &json!({})).await;
            let refused = answer.status == 403;
            assert_eq!(
                refused,
                !role.covers(*least),
                "{role} {method} {path}: {}",
                answer.text()
            );
        }
        get(&client, "/v1/egress-addresses", 200).await;
    }
}

#[tokio::test]
async fn another_tenants_objects_do_not_exist() {
    let api = Api::start().await;
    let endpoint = api.endpoint("http://127.0.0.1:9/hook").await;
    let submitted = Submitted {
        endpoints: &[endpoint],
        ..Submitted::default()
    };
    let delivery = api.accept(submitted).await[0];
    let stranger = api.with_role(UMBRELLA, Role::Admin).await;
    for (method, path) in [
        ("GET", format!("/v1/endpoints/{endpoint}")),
        ("PATCH", format!("/v1/endpoints/{endpoint}")),
        ("DELETE", format!("/v1/endpoints/{endpoint}")),
        ("POST", format!("/v1/endpoints/{endpoint}/enable")),
        ("POST", format!("/v1/endpoints/{endpoint}/disable")),
        ("POST", format!("/v1/endpoints/{endpoint}/test")),
        ("POST", format!("/v1/endpoints/{endpoint}/rotate_secret")),
        ("GET", format!("/v1/endpoints/{endpoint}/stats")),
        ("GET", format!("/v1/deliveries/{delivery}")),
        ("POST", format!("/v1/deliveries/{delivery}/retry")),
        ("GET", "/v1/events/evt_1".to_owned()),
    ] {
        let answer = call(&stranger, method, &path, &json!({})).await;
        assert_eq!(answer.status, 404, "{method} {path}: {}", answer.text());
    }
    for path in [
        "/v1/endpoints",
        "/v1/events",
        "/v1/deliveries",
        "/v1/licenses/lic_1/events",
    ] {
        let list = get(&stranger, path, 200).await;
        assert!(items(&list).is_empty(), "{path}: {list}");
    }
    let retried = stranger
        .post("/v1/deliveries/retry", &json!({"status": "retrying"}))
        .await;
    assert_eq!(retried.unwrap().expect(202).unwrap()["requeued"], 0);
    get(&api.acme, &format!("/v1/endpoints/{endpoint}"), 200).await;
}

#[tokio::test]
async fn a_key_of_another_tenant_cannot_be_deleted() {
    let api = Api::start().await;
    let made = post(&api.acme, "/v1/keys", &json!({"role": "viewer"}), 201).await;
    let path = format!("/v1/keys/{}", id::<model::KeyId>(&made));
    let stranger = api.with_role(UMBRELLA, Role::Admin).await;
    delete(&stranger, &path, 404).await;
    delete(&api.acme, &path, 204).await;
}
