use std::time::Duration;

use model::Role;
use serde_json::{Value, json};

use crate::harness::{ACME, Api, delete, get, items, mistakes, patch, post, read_all};

#[tokio::test]
async fn a_tenant_is_made_listed_and_changed() {
    let api = Api::start().await;
    let body = json!({"id": "globex", "name": "Globex", "plan": "starter"});
    let made = post(&api.operator, "/v1/tenants", &body, 201).await;
    assert_eq!(
        (&made["name"], &made["plan"]),
        (&json!("Globex"), &json!("starter"))
    );
    post(&api.operator, "/v1/tenants", &body, 409).await;
    assert_eq!(
        read_all(&api.operator, "/v1/tenants", 1, "id").await,
        ["acme", "globex", "umbrella"]
    );
    let change = json!({"plan": "professional"});
    let read = patch(&api.operator, "/v1/tenants/globex", &change, 200).await;
    assert_eq!(
        (&read["name"], &read["plan"]),
        (&json!("Globex"), &json!("professional"))
    );
    assert_eq!(read, get(&api.operator, "/v1/tenants/globex", 200).await);
    get(&api.operator.for_tenant("globex"), "/v1/endpoints", 200).await;
    for (body, member) in [
        (json!({}), "/id"),
        (json!({"id": "no spaces"}), "/id"),
        (json!({"id": "x", "plan": "gold"}), "/plan"),
        (json!({"id": "x", "name": "n".repeat(201)}), "/name"),
    ] {
        let problem = post(&api.operator, "/v1/tenants", &body, 422).await;
        assert!(mistakes(&problem).contains_key(member), "{body}: {problem}");
    }
}

#[tokio::test]
async fn a_key_is_shown_once_works_and_is_refused_once_deleted() {
    let api = Api::start().await;
    let admin = api.with_role(ACME, Role::Admin).await;
    let made = post(
        &admin,
        "/v1/keys",
        &json!({"role": "editor", "name": "CI"}),
        201,
    )
    .await;
    let key = made["key"].as_str().unwrap();
    assert!(key.starts_with("fk_"));
    let client = api.operator.with_key(Some(key));
    get(&client, "/v1/endpoints", 200).await;

    let list = get(&admin, "/v1/keys", 200).await;
    assert!(!list.to_string().contains(key));
    let listed = items(&list)
        .iter()
        .find(|item| item["id"] == made["id"])
        .unwrap();
    assert_eq!(
        (&listed["name"], &listed["role"]),
        (&json!("CI"), &json!("editor"))
    );
    assert_eq!(
        (&listed["tenant"], &listed["expires_at"]),
        (&json!(ACME), &Value::Null)
    );

    let path = format!("/v1/keys/{}", made["id"].as_str().unwrap());
    delete(&admin, &path, 204).await;
    get(&client, "/v1/endpoints", 401).await;
    delete(&admin, &path, 404).await;
}

#[tokio::test]
async fn operator_keys_are_made_by_operators_alone_and_listed_apart() {
    let api = Api::start().await;
    let admin = api.with_role(ACME, Role::Admin).await;
    let operator = json!({"role": "operator"});
    post(&admin, "/v1/keys", &operator, 403).await;
    let made = post(&api.acme, "/v1/keys", &operator, 201).await;
    assert_eq!(made["tenant"], Value::Null);
    let new = api.operator.with_key(made["key"].as_str());
    get(&new, "/v1/tenants", 200).await;
    assert_eq!(
        read_all(&new, "/v1/keys", 1, "role").await,
        ["operator", "operator"]
    );
    // A tenant's key needs a tenant.
    let viewer = json!({"role": "viewer"});
    post(&api.operator, "/v1/keys", &viewer, 400).await;
    assert_eq!(read_all(&admin, "/v1/keys", 50, "role").await, ["admin"]);
}

#[tokio::test]
async fn keys_are_checked_and_can_expire() {
    let api = Api::start().await;
    for (body, member) in [
        (json!({}), "/role"),
        (json!({"role": "king"}), "/role"),
        (
            json!({"role": "viewer", "expires_at": "2020-01-01T00:00:00Z"}),
            "/expires_at",
        ),
        (
            json!({"role": "viewer", "expires_at": "soon"}),
            "/expires_at",
        ),
        (json!({"role": "viewer", "name": "n".repeat(201)}), "/name"),
        (json!({"role": "viewer", "tenant": "umbrella"}), "/tenant"),
    ] {
        let problem = post(&api.acme, "/v1/keys", &body, 422).await;
        assert!(mistakes(&problem).contains_key(member), "{body}: {problem}");
    }
    let end = ambient::now().plus(Duration::from_secs(3600));
    let body = json!({"role": "viewer", "expires_at": end});
    let made = post(&api.acme, "/v1/keys", &body, 201).await;
    assert_eq!(made["expires_at"], end.to_string());
}
