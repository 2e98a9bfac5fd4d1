//! What dialects ask of the whole of Fanfare beside their wire formats.

use std::collections::HashSet;
use std::time::Duration;

use anyhow::{Context, Result};
use e2e::{Installation, Mode, SOON, attempts_of, id_of, in_both_modes};
use serde_json::{Value, json};
use testkit::{Behavior, Client, Receiver};

in_both_modes!(
    rapid_events_of_an_endpoint_leave_together,
    a_failed_batch_is_one_failure_and_its_events_are_retried_alone,
    what_gathers_goes_to_the_endpoint_as_it_is_by_then,
    a_bulk_event_reaches_each_receiver_in_the_form_it_knows,
    options_of_another_dialect_are_refused,
    a_receiver_is_asked_and_agrees_at_once,
    a_receiver_that_agrees_later_gets_what_was_held_for_it,
    an_agreement_counts_only_for_what_was_asked,
    what_is_disabled_while_its_receiver_is_asked_stays_so,
    license_validators_own_api_makes_and_tests_webhooks,
    license_validators_plans_limit_its_webhooks,
);

fn license_event(id: &str) -> Value {
    json!({"id": id, "type": "license.created", "data": {"license": {"id": format!("lic-{id}")}}})
}

fn batched(more: Value) -> Value {
    let mut settings = json!({
        "dialect": "cloudevents",
        "dialect_options": {
            "mode": "batch",
            "batch": {"max_events": 10, "max_wait_ms": 2_000},
        },
    });
    if let (Some(settings), Value::Object(more)) = (settings.as_object_mut(), more) {
        settings.extend(more);
    }
    settings
}

async fn rapid_events_of_an_endpoint_leave_together(mode: Mode) -> Result<()> {
    let client = Installation::shared(mode).await?.tenant().await?;
    let receiver = Receiver::start().await?;
    client
        .create_endpoint(&receiver.url("/batches"), batched(json!({})))
        .await?;
    let events: Vec<_> = (0..30).map(|n| license_event(&format!("b-{n}"))).collect();
    client.post("/v1/events/batch", &json!(events)).await?;
    for n in [0, 29] {
        let id = format!("b-{n}");
        let delivery = client.delivery_with_status(&id, "delivered", SOON).await?;
        assert_eq!(attempts_of(&delivery).len(), 1, "{delivery}");
    }
    let received = receiver.received("/batches");
    let ids: Vec<_> = received
        .iter()
        .flat_map(|request| request.json().as_array().cloned().unwrap_or_default())
        .map(|event| id_of(&event).to_owned())
        .collect();
    assert_eq!(ids.len(), 30, "each event once: {ids:?}");
    assert_eq!(ids.iter().collect::<HashSet<_>>().len(), 30);
    assert!(
        received.len() <= 6,
        "at most 10 events travel together: {} requests",
        received.len()
    );
    for request in &received {
        let events = request.json().as_array().map_or(0, Vec::len);
        assert!(events <= 10, "{events} events in a request");
        let media_type = request.header("content-type").unwrap_or_default();
        assert!(media_type.starts_with("application/cloudevents-batch+json"));
    }
    Ok(())
}

async fn a_failed_batch_is_one_failure_and_its_events_are_retried_alone(mode: Mode) -> Result<()> {
    let client = Installation::shared(mode).await?.tenant().await?;
    let receiver = Receiver::start().await?;
    receiver.script("/batches", [Behavior::status(500)]);
    let settings = json!({"retry": {"delays_s": [1]}, "circuit": {"open_after": 2}});
    client
        .create_endpoint(&receiver.url("/batches"), batched(settings))
        .await?;
    let events: Vec<_> = (0..8).map(|n| license_event(&format!("f-{n}"))).collect();
    client.post("/v1/events/batch", &json!(events)).await?;
    for n in 0..8 {
        let id = format!("f-{n}");
        let delivery = client.delivery_with_status(&id, "delivered", SOON).await?;
        assert_eq!(attempts_of(&delivery).len(), 2, "{delivery}");
    }
    let sizes: Vec<_> = receiver
        .received("/batches")
        .iter()
        .map(|request| request.json().as_array().map_or(0, Vec::len))
        .collect();
    assert_eq!(sizes, [8, 1, 1, 1, 1, 1, 1, 1, 1]);
    Ok(())
}

async fn what_gathers_goes_to_the_endpoint_as_it_is_by_then(mode: Mode) -> Result<()> {
    let client = Installation::shared(mode).await?.tenant().await?;
    let receiver = Receiver::start().await?;
    let [disabled, moved] = ["/disabled", "/moved"].map(|path| receiver.url(path));
    let disabled = client
        .create_endpoint(&disabled, batched(json!({})))
        .await?;
    let moved = client.create_endpoint(&moved, batched(json!({}))).await?;
    client.publish(&license_event("g-1")).await?;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let path = |endpoint: &Value| format!("/v1/endpoints/{}", id_of(endpoint));
    let disable = format!("{}/disable", path(&disabled));
    client.post(&disable, &json!({})).await?.expect(200)?;
    let url = json!({"url": receiver.url("/there")});
    client.patch(&path(&moved), &url).await?.expect(200)?;
    receiver.wait_for("/there", 1, SOON).await?;
    testkit::eventually("the other is held", SOON, async || {
        let held = client.count_deliveries(id_of(&disabled), "held").await;
        (held.ok()? == 1).then_some(())
    })
    .await?;
    assert_eq!(
        (receiver.count("/disabled"), receiver.count("/moved")),
        (0, 0)
    );
    Ok(())
}

async fn a_bulk_event_reaches_each_receiver_in_the_form_it_knows(mode: Mode) -> Result<()> {
    let client = Installation::shared(mode).await?.tenant().await?;
    let receiver = Receiver::start().await?;
    for dialect in ["standard", "keyport", "traffic", "keygen"] {
        let url = receiver.url(&format!("/{dialect}"));
        client
            .create_endpoint(&url, json!({"dialect": dialect}))
            .await?;
    }
    let bulk = json!({
        "id": "bulk-1", "type": "license.bulk_revoked",
        "data": {"licenses": [{"id": "lic-x"}, {"id": "lic-y"}, {"id": "lic-z"}], "reason": "fraud"},
    });
    client.publish(&bulk).await?;
    assert_eq!(client.publish(&bulk).await?["duplicate"], true);
    for (dialect, requests) in [
        ("standard", 1),
        ("keyport", 1),
        ("traffic", 3),
        ("keygen", 3),
    ] {
        let path = format!("/{dialect}");
        receiver.wait_for(&path, requests, SOON).await?;
    }
    client
        .delivery_with_status("bulk-1:3", "delivered", SOON)
        .await?;
    for (dialect, requests) in [
        ("standard", 1),
        ("keyport", 1),
        ("traffic", 3),
        ("keygen", 3),
    ] {
        assert_eq!(
            receiver.count(&format!("/{dialect}")),
            requests,
            "{dialect}"
        );
    }
    let types: Vec<_> = receiver
        .received("/traffic")
        .iter()
        .map(|request| request.json()["type"].clone())
        .collect();
    assert_eq!(types, ["license.revoked"; 3]);
    let timeline = client.get("/v1/licenses/lic-y/events").await?;
    assert_eq!(
        id_of(&timeline.json()["items"][0]),
        "bulk-1:2",
        "{}",
        timeline.json()
    );
    Ok(())
}

async fn options_of_another_dialect_are_refused(mode: Mode) -> Result<()> {
    let client = Installation::shared(mode).await?.tenant().await?;
    for (dialect, options, option) in [
        ("standard", json!({"mode": "binary"}), "mode"),
        ("cloudevents", json!({"mode": "carrier pigeon"}), "mode"),
        ("cloudevents", json!({"handshake": true}), "handshake"),
        ("keyport", json!({"batch": {}}), "batch"),
        ("keyport", json!({"extras": true}), "extras"),
        (
            "cloudevents",
            json!({"batch": {"max_events": 101}}),
            "batch/max_events",
        ),
        ("licvalidator", json!({"unmapped": "perhaps"}), "unmapped"),
    ] {
        let endpoint = json!({
            "url": "https://example.com/hooks", "event_types": ["*"],
            "dialect": dialect, "dialect_options": options,
        });
        let answer = client.post("/v1/endpoints", &endpoint).await?;
        assert_eq!(answer.status, 422, "{dialect} {options}: {}", answer.json());
        assert_eq!(
            answer.json()["errors"][0]["pointer"],
            format!("/dialect_options/{option}"),
            "{}",
            answer.json()
        );
    }
    Ok(())
}

fn asked(more: &Value) -> Value {
    let mut options = json!({"origin": "hooks.example.net", "handshake": true});
    if let (Some(options), Some(more)) = (options.as_object_mut(), more.as_object()) {
        options.extend(more.clone());
    }
    json!({"dialect": "cloudevents", "dialect_options": options})
}

/// Agrees to 40 requests a minute, with a status that says nothing.
fn agreeing(after: Duration) -> Behavior {
    let headers = [
        ("WebHook-Allowed-Origin", "hooks.example.net"),
        ("WebHook-Allowed-Rate", "40"),
    ];
    Behavior::Answer {
        status: 405,
        headers: headers
            .map(|(name, value)| (name.into(), value.into()))
            .into(),
        body: String::new(),
        after,
    }
}

async fn a_receiver_is_asked_and_agrees_at_once(mode: Mode) -> Result<()> {
    let client = Installation::shared(mode).await?.tenant().await?;
    let receiver = Receiver::start().await?;
    receiver.script("/asked", [agreeing(Duration::ZERO)]);
    let settings = asked(&json!({"rate_per_minute": 1_200}));
    let endpoint = client
        .create_endpoint(&receiver.url("/asked"), settings)
        .await?;
    assert_eq!(endpoint["active"], true, "headers alone count: {endpoint}");
    assert_eq!(endpoint["consent"]["rate_per_minute"], 40);
    for event in ["asked-1", "asked-2"] {
        client.publish(&license_event(event)).await?;
    }
    let received = receiver.wait_for("/asked", 3, SOON).await?;
    let [question, delivery, next] = received.as_slice() else {
        panic!("three requests: {received:?}")
    };
    let pause = next.at.duration_since(delivery.at);
    assert!(
        pause > Duration::from_millis(1_400),
        "40 a minute: {pause:?}"
    );
    assert_eq!(question.method, "OPTIONS");
    assert_eq!(
        question.header("webhook-request-origin"),
        Some("hooks.example.net")
    );
    assert_eq!(question.header("webhook-request-rate"), Some("1200"));
    assert_eq!(delivery.method, "POST");
    assert_eq!(
        delivery.header("webhook-request-origin"),
        Some("hooks.example.net")
    );
    Ok(())
}

async fn a_receiver_that_agrees_later_gets_what_was_held_for_it(mode: Mode) -> Result<()> {
    let set_url = |settings: testkit::Settings| {
        settings.with("FANFARE__HTTP__PUBLIC_URL", "https://fanfare.example.com/")
    };
    let installation = Installation::start_with(mode, set_url).await?;
    let client = installation.tenant().await?;
    let receiver = Receiver::start().await?;
    let endpoint = client
        .create_endpoint(&receiver.url("/later"), asked(&json!({})))
        .await?;
    assert_eq!(
        endpoint["disabled_reason"], "awaiting_consent",
        "{endpoint}"
    );
    client.publish(&license_event("later-1")).await?;
    client.delivery_with_status("later-1", "held", SOON).await?;
    let enable = format!("/v1/endpoints/{}/enable", id_of(&endpoint));
    assert_eq!(client.post(&enable, &json!({})).await?.status, 409);
    let test = format!("/v1/endpoints/{}/test", id_of(&endpoint));
    assert_eq!(client.post(&test, &json!({})).await?.status, 409);

    let questions = receiver.wait_for("/later", 2, SOON).await?;
    let callback = |question: &testkit::Received| {
        let url = question.header("webhook-request-callback")?;
        url.strip_prefix("https://fanfare.example.com")
            .map(str::to_owned)
    };
    let [first, again] = questions.as_slice() else {
        panic!("nothing is sent before it agrees: {questions:?}")
    };
    assert_eq!((&*first.method, &*again.method), ("OPTIONS", "OPTIONS"));
    let outdated = callback(first).context("a callback")?;
    assert_eq!(client.get(&outdated).await?.status, 404);
    let callback = callback(again).context("a callback")?;
    assert_eq!(client.get(&callback).await?.status, 204);
    client
        .delivery_with_status("later-1", "delivered", SOON)
        .await?;
    assert_eq!(receiver.received("/later")[2].method, "POST");
    Ok(())
}

async fn an_agreement_counts_only_for_what_was_asked(mode: Mode) -> Result<()> {
    let client = Installation::shared(mode).await?.tenant().await?;
    let receiver = Receiver::start().await?;
    let endpoint = client
        .create_endpoint(&receiver.url("/first"), asked(&json!({})))
        .await?;
    let path = format!("/v1/endpoints/{}", id_of(&endpoint));
    receiver.script("/slow", [agreeing(Duration::from_secs(2))]);
    let slowly = json!({"url": receiver.url("/slow")});
    let (slow, other) = tokio::join!(client.patch(&path, &slowly), async {
        receiver.wait_for("/slow", 1, SOON).await?;
        client
            .patch(&path, &json!({"url": receiver.url("/other")}))
            .await
    });
    assert_eq!((slow?.status, other?.status), (200, 200));
    let endpoint = client.get(&path).await?.json();
    assert_eq!(
        endpoint["disabled_reason"], "awaiting_consent",
        "another receiver's agreement: {endpoint}"
    );
    receiver.script("/other", [agreeing(Duration::ZERO)]);
    let enabled = client.post(&format!("{path}/enable"), &json!({})).await?;
    assert_eq!(enabled.json()["active"], true, "it is asked again");
    let ends = client
        .patch(&path, &json!({"url": receiver.url("/first")}))
        .await?;
    assert_eq!(ends.json()["disabled_reason"], "awaiting_consent");
    let unasked = json!({"dialect_options": {"handshake": false}});
    let unasked = client.patch(&path, &unasked).await?.json();
    assert_eq!(unasked["active"], true, "nobody has to agree: {unasked}");
    Ok(())
}

async fn what_is_disabled_while_its_receiver_is_asked_stays_so(mode: Mode) -> Result<()> {
    let client = Installation::shared(mode).await?.tenant().await?;
    let receiver = Receiver::start().await?;
    let endpoint = client
        .create_endpoint(&receiver.url("/paused"), asked(&json!({})))
        .await?;
    let path = format!("/v1/endpoints/{}", id_of(&endpoint));
    let disabled = client.post(&format!("{path}/disable"), &json!({})).await?;
    assert_eq!(disabled.json()["disabled_reason"], "requested");
    receiver.script("/paused", [agreeing(Duration::ZERO)]);
    let renamed = client.patch(&path, &json!({"name": "as before"})).await?;
    assert!(renamed.json()["consent"]["granted_at"].is_null());
    let asks_again = json!({"dialect_options": {"rate_per_minute": 90}});
    let agreed = client.patch(&path, &asks_again).await?.json();
    assert!(agreed["consent"]["granted_at"].is_string(), "{agreed}");
    assert_eq!(agreed["disabled_reason"], "requested", "{agreed}");
    let enabled = client.post(&format!("{path}/enable"), &json!({})).await?;
    assert_eq!(enabled.json()["active"], true);
    Ok(())
}

fn webhook(url: &str) -> Value {
    json!({"url": url, "events": ["license.validated", "license.activated"]})
}

async fn license_validators_own_api_makes_and_tests_webhooks(mode: Mode) -> Result<()> {
    let client = Installation::shared(mode).await?.tenant().await?;
    set_plan(&client, "professional").await?;
    let receiver = Receiver::start().await?;
    let mut wanted = webhook(&receiver.url("/webhook"));
    wanted["isActive"] = json!(false);
    let answer = client.post("/api/webhooks", &wanted).await?;
    assert_eq!(answer.status, 201, "{}", answer.text());
    let made = answer.json();
    let members: Vec<_> = made
        .as_object()
        .into_iter()
        .flat_map(|it| it.keys())
        .collect();
    assert_eq!(members, ["events", "id", "isActive", "secret", "url"]);
    assert!(id_of(&made).starts_with("webhook_"), "{made}");
    let secret = made["secret"].as_str().unwrap_or_default();
    assert!(secret.starts_with("whsec_"), "{made}");
    for member in ["url", "events", "isActive"] {
        assert_eq!(made[member], wanted[member], "{made}");
    }

    let test = json!({"webhookId": id_of(&made)});
    let tested = client.post("/api/webhooks/test", &test).await?.json();
    assert_eq!(tested["success"], true, "{tested}");
    assert_eq!(tested["statusCode"], 204, "{tested}");
    assert!(tested["responseTime"].is_u64(), "{tested}");
    let sent = receiver.received("/webhook").remove(0);
    assert_eq!(sent.json()["event"], "webhook.test");
    assert_eq!(sent.json()["deliveryId"], tested["deliveryId"]);
    let delivery = tested["deliveryId"].as_str().unwrap_or_default();
    assert!(delivery.starts_with("delivery_test_"), "{tested}");

    receiver.behave("/webhook", Behavior::status(500));
    let tested = client.post("/api/webhooks/test", &test).await?.json();
    assert_eq!(
        (&tested["success"], &tested["statusCode"]),
        (&json!(false), &json!(500))
    );
    let unknown = json!({"webhookId": "webhook_01JRX5K9Q8ZV3T7Y2M4N6P8R0S"});
    assert_eq!(
        client.post("/api/webhooks/test", &unknown).await?.status,
        404
    );
    for bad in [
        json!({"url": "ftp://example.com", "events": ["license.validated"]}),
        json!({"url": "https://example.com/", "events": ["license.created"]}),
    ] {
        assert_eq!(
            client.post("/api/webhooks", &bad).await?.status,
            422,
            "{bad}"
        );
    }
    Ok(())
}

async fn license_validators_plans_limit_its_webhooks(mode: Mode) -> Result<()> {
    let client = Installation::shared(mode).await?.tenant().await?;
    let url = Receiver::start().await?.url("/webhook");
    for (plan, most) in [
        ("free", 0),
        ("starter", 0),
        ("professional", 10),
        ("enterprise", 50),
    ] {
        set_plan(&client, plan).await?;
        let mut made = 0;
        let refusal = loop {
            let answer = client.post("/api/webhooks", &webhook(&url)).await?;
            if answer.status != 201 {
                break answer;
            }
            made += 1;
        };
        let code = if most == 0 {
            "plan_required"
        } else {
            "webhook_limit_reached"
        };
        assert_eq!(refusal.status, 403, "{plan}");
        assert_eq!(refusal.json()["error"]["code"], code, "{plan}");
        let before = if plan == "enterprise" { 10 } else { 0 };
        assert_eq!(made + before, most, "{plan}");
    }
    Ok(())
}

async fn set_plan(client: &Client, plan: &str) -> Result<()> {
    let path = format!("/v1/tenants/{}", client.tenant().context("a tenant")?);
    let answer = client.patch(&path, &json!({"plan": plan})).await?;
    anyhow::ensure!(answer.status == 200, "{}", answer.text());
    Ok(())
}
