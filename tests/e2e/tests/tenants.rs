//! Tenants cannot see or reach each other, and a key may what its role may.

use anyhow::{Context, Result};
use e2e::{Installation, Mode, SOON, event, id_of, in_both_modes};
use serde_json::{Value, json};
use testkit::{Client, Receiver};

in_both_modes!(
    another_tenants_objects_do_not_exist,
    an_event_reaches_its_own_tenants_endpoints_only,
    a_role_may_what_it_may_and_no_more,
    without_a_good_key_there_is_no_answer,
);

async fn another_tenants_objects_do_not_exist(mode: Mode) -> Result<()> {
    let installation = Installation::shared(mode).await?;
    let (own, other) = (installation.tenant().await?, installation.tenant().await?);
    let receiver = Receiver::start().await?;
    let endpoint = own
        .create_endpoint(&receiver.url("/hook"), json!({}))
        .await?;
    own.publish(&json!({"id": "mine", "type": "license.created",
        "data": {"license": {"id": "lic_t"}}}))
        .await?;
    let delivery = own.delivery_with_status("mine", "delivered", SOON).await?;

    let endpoint = id_of(&endpoint);
    for path in [
        "/v1/events/mine".to_owned(),
        format!("/v1/endpoints/{endpoint}"),
        format!("/v1/endpoints/{endpoint}/stats"),
        format!("/v1/deliveries/{}", id_of(&delivery)),
    ] {
        assert_eq!(own.get(&path).await?.status, 200, "{path}");
        assert_eq!(other.get(&path).await?.status, 404, "{path}");
    }
    for path in [
        format!("/v1/endpoints/{endpoint}/disable"),
        format!("/v1/endpoints/{endpoint}/rotate_secret"),
        format!("/v1/endpoints/{endpoint}/test"),
        format!("/v1/deliveries/{}/retry", id_of(&delivery)),
    ] {
        assert_eq!(other.post(&path, &json!({})).await?.status, 404, "{path}");
    }
    let change = json!({"name": "taken"});
    assert_eq!(
        other
            .patch(&format!("/v1/endpoints/{endpoint}"), &change)
            .await?
            .status,
        404
    );
    assert_eq!(
        other
            .delete(&format!("/v1/endpoints/{endpoint}"))
            .await?
            .status,
        404
    );
    for path in [
        "/v1/events",
        "/v1/endpoints",
        "/v1/deliveries",
        "/v1/licenses/lic_t/events",
    ] {
        let list = other.get(path).await?.expect(200).context(path)?;
        assert_eq!(list["items"], json!([]), "{path}");
    }
    // Ids and sequences are each tenant's own.
    let answer = other
        .publish(&json!({"id": "mine", "type": "license.created",
        "data": {"license": {"id": "lic_t"}}}))
        .await?;
    assert_eq!(
        answer,
        json!({"id": "mine", "sequence": 1, "duplicate": false})
    );
    Ok(())
}

async fn an_event_reaches_its_own_tenants_endpoints_only(mode: Mode) -> Result<()> {
    let installation = Installation::shared(mode).await?;
    let (own, other) = (installation.tenant().await?, installation.tenant().await?);
    let receiver = Receiver::start().await?;
    own.create_endpoint(&receiver.url("/own"), json!({}))
        .await?;
    other
        .create_endpoint(&receiver.url("/other"), json!({}))
        .await?;
    for _ in 0..20 {
        own.publish(&event("license.created", "l")).await?;
    }
    receiver.wait_for_distinct("/own", 20, SOON).await?;
    other.publish(&event("license.created", "l")).await?;
    receiver.wait_for_distinct("/other", 1, SOON).await?;
    assert_eq!((receiver.count("/own"), receiver.count("/other")), (20, 1));
    Ok(())
}

async fn key(client: &Client, role: &str) -> Result<Client> {
    let made = client
        .post("/v1/keys", &json!({"role": role}))
        .await?
        .expect(201)?;
    Ok(client.with_key(Some(made["key"].as_str().context("the key, this once")?)))
}

async fn a_role_may_what_it_may_and_no_more(mode: Mode) -> Result<()> {
    let client = Installation::shared(mode).await?.tenant().await?;
    let receiver = Receiver::start().await?;
    let endpoint = client
        .create_endpoint(&receiver.url("/hook"), json!({}))
        .await?;
    let path = format!("/v1/endpoints/{}", id_of(&endpoint));
    let new = json!({"url": receiver.url("/new"), "dialect": "standard", "event_types": ["*"]});
    // What each may: publish, read, change, handle secrets and keys, handle tenants.
    for (role, may) in [
        ("publisher", [true, false, false, false, false]),
        ("viewer", [false, true, false, false, false]),
        ("editor", [true, true, true, false, false]),
        ("admin", [true, true, true, true, false]),
    ] {
        let caller = key(&client, role).await?;
        let rotation = format!("{path}/rotate_secret");
        let calls = [
            (
                "publish",
                caller
                    .post("/v1/events", &event("license.created", "l"))
                    .await?,
            ),
            ("read", caller.get(&path).await?),
            ("change", caller.post("/v1/endpoints", &new).await?),
            (
                "rotate",
                caller.post(&rotation, &json!({"grace_s": 0})).await?,
            ),
            (
                "tenants",
                caller
                    .post(
                        "/v1/tenants",
                        &json!({"id": "x", "name": "x", "plan": "free"}),
                    )
                    .await?,
            ),
        ];
        for ((what, answer), allowed) in calls.iter().zip(may) {
            let permitted = answer.status != 403;
            assert_eq!(
                permitted,
                allowed,
                "{role} {what}: {} {}",
                answer.status,
                answer.text()
            );
        }
        let keys = caller.get("/v1/keys").await?.status;
        assert_eq!(keys == 200, role == "admin", "{role} reads keys: {keys}");
    }
    let listed = client.get("/v1/keys").await?.expect(200)?;
    assert!(
        !listed.to_string().contains(r#""key""#),
        "keys are shown once: {listed}"
    );
    Ok(())
}

async fn without_a_good_key_there_is_no_answer(mode: Mode) -> Result<()> {
    let client = Installation::shared(mode).await?.tenant().await?;
    let admin = key(&client, "admin").await?;
    for bad in [None, Some("fk_wrong"), Some("")] {
        let answer = client.with_key(bad).get("/v1/events").await?;
        assert_eq!(answer.status, 401, "{bad:?}: {}", answer.text());
        assert!(answer.header("www-authenticate").is_some(), "{bad:?}");
    }
    let expired = json!({"role": "viewer", "expires_at": "2020-01-01T00:00:00Z"});
    let answer = admin.post("/v1/keys", &expired).await?;
    if answer.status == 201 {
        let made: Value = answer.json();
        let expired = client.with_key(made["key"].as_str());
        assert_eq!(expired.get("/v1/events").await?.status, 401);
    } else {
        assert_eq!(answer.status, 422, "{}", answer.text());
    }
    let short = json!({"role": "viewer"});
    let made = admin.post("/v1/keys", &short).await?.expect(201)?;
    let viewer = client.with_key(made["key"].as_str());
    assert_eq!(viewer.get("/v1/events").await?.status, 200);
    admin.delete(&format!("/v1/keys/{}", id_of(&made))).await?;
    testkit::eventually("a deleted key is refused", SOON, async || {
        (viewer.get("/v1/events").await.ok()?.status == 401).then_some(())
    })
    .await
}
