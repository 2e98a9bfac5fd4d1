//! Webhooks of other systems come in, signed as those systems do it.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::{Installation, Mode, OtherSystem, SOON, id_of, in_both_modes, items};
use serde_json::{Value, json};
use testkit::{Client, Receiver, Service, among_others, eventually, unique};

in_both_modes!(
    webhooks_of_other_systems_are_fanned_out_once,
    a_webhook_that_does_not_verify_is_401_and_counted,
    an_unknown_or_inactive_source_is_404,
    what_cannot_be_mapped_is_listed_with_its_reason_and_can_be_sent_again,
    the_same_id_with_another_content_is_set_aside,
    tests_of_the_sender_go_nowhere,
    both_secrets_verify_while_one_is_rotated,
    what_the_sender_leaves_out_is_completed,
    senders_that_ask_first_are_answered,
    one_fanfare_delivers_to_another,
);

fn taken(accepted: usize, duplicates: usize) -> Value {
    json!({"accepted": accepted, "duplicates": duplicates})
}

async fn count(installation: &Installation, dialect: &str, result: &str) -> Result<u64> {
    let metrics = installation.ingest.metrics().await?;
    let name =
        format!(r#"fanfare_source_requests_total{{dialect="{dialect}",result="{result}"}} "#);
    let value = metrics.lines().find_map(|line| line.strip_prefix(&name));
    Ok(value.map_or(Ok(0), str::parse)?)
}

async fn set_aside(client: &Client) -> Result<Vec<Value>> {
    let list = client.get("/v1/rejected").await?.expect(200)?;
    Ok(items(&list).to_vec())
}

async fn webhooks_of_other_systems_are_fanned_out_once(mode: Mode) -> Result<()> {
    let installation = Installation::shared(mode).await?;
    let client = installation.tenant().await?;
    let receiver = Receiver::start().await?;
    client
        .create_endpoint(&receiver.url("/hook"), json!({}))
        .await?;
    for dialect in ["standard", "cloudevents", "keyport", "licvalidator"] {
        let sender = OtherSystem::new(&client, dialect, json!({})).await?;
        let id = format!("of-{dialect}");
        let webhook = sender.webhook("license.expired", &id, "lic_1");
        let answer = sender.send(webhook.clone()).await?.expect(200)?;
        assert_eq!(answer, taken(1, 0), "{dialect}");
        // Its answer was lost on the way, say.
        let answer = sender.send(webhook).await?.expect(200)?;
        assert_eq!(answer, taken(0, 1), "{dialect}");
        client.delivery_with_status(&id, "delivered", SOON).await?;
        let event = client.get(&format!("/v1/events/{id}")).await?.expect(200)?;
        assert_eq!(event["type"], "license.expired", "{event}");
        assert_eq!(event["data"]["license"]["id"], "lic_1", "{event}");
        assert!(count(installation, dialect, "accepted").await? >= 1);
        assert!(count(installation, dialect, "duplicate").await? >= 1);
    }
    assert_eq!(receiver.count("/hook"), 4);
    let timeline = client.get("/v1/licenses/lic_1/events").await?.expect(200)?;
    assert_eq!(items(&timeline).len(), 4, "{timeline}");
    Ok(())
}

async fn a_webhook_that_does_not_verify_is_401_and_counted(mode: Mode) -> Result<()> {
    let installation = Installation::shared(mode).await?;
    let client = installation.tenant().await?;
    for dialect in ["standard", "cloudevents", "keyport", "licvalidator"] {
        let sender = OtherSystem::new(&client, dialect, json!({})).await?;
        let before = count(installation, dialect, "unauthorized").await?;
        let (headers, body) = sender.webhook("license.expired", "forged", "lic_1");
        let tampered = body.replace("lic_1", "lic_2");
        let none = vec![("content-type", "application/json".to_owned())];
        for request in [(headers, tampered), (none, body)] {
            let answer = sender.send(request).await?;
            assert_eq!(answer.status, 401, "{dialect}: {}", answer.text());
            assert_eq!(
                answer.header("content-type"),
                Some("application/problem+json")
            );
        }
        assert!(count(installation, dialect, "unauthorized").await? >= before + 2);
    }
    let stale = OtherSystem::new(&client, "standard", json!({})).await?;
    let (mut headers, body) = stale.webhook("license.expired", "forged", "lic_1");
    headers[1].1 = "1700000000".to_owned();
    assert_eq!(stale.send((headers, body)).await?.status, 401);
    assert_eq!(client.get("/v1/events/forged").await?.status, 404);
    assert!(set_aside(&client).await?.is_empty());
    Ok(())
}

async fn an_unknown_or_inactive_source_is_404(mode: Mode) -> Result<()> {
    let installation = Installation::shared(mode).await?;
    let client = installation.tenant().await?;
    let sender = OtherSystem::new(&client, "standard", json!({"active": false})).await?;
    let webhook = || sender.webhook("license.expired", "early", "lic_1");
    let inactive = sender.send(webhook()).await?;
    let unknown = OtherSystem {
        url: "/in/src_01JRX5K9Q8ZV3T7Y2M4N6P8R0S".to_owned(),
        ..sender.clone()
    };
    let unknown = unknown.send(webhook()).await?;
    assert_eq!((inactive.status, unknown.status), (404, 404));
    assert_eq!(inactive.text(), unknown.text(), "nothing more is told");

    let path = sender.url.replace("/in/", "/v1/sources/");
    let active = json!({"active": true});
    client.patch(&path, &active).await?.expect(200)?;
    sender.send(webhook()).await?.expect(200)?;
    client.delete(&path).await?.expect(204)?;
    assert_eq!(sender.send(webhook()).await?.status, 404);
    Ok(())
}

async fn what_cannot_be_mapped_is_listed_with_its_reason_and_can_be_sent_again(
    mode: Mode,
) -> Result<()> {
    let installation = Installation::start(mode).await?;
    let client = installation.tenant().await?;
    let receiver = Receiver::start().await?;
    client
        .create_endpoint(&receiver.url("/hook"), json!({}))
        .await?;
    let standard = OtherSystem::new(&client, "standard", json!({"product": "p"})).await?;
    let keyport = OtherSystem::new(&client, "keyport", json!({})).await?;
    let no_json = standard.sign("no-json", "not JSON".to_owned());
    let unknown = standard.webhook("seat.assigned", "unknown", "lic_1");
    let unmapped = keyport.webhook("license.teleported", "unmapped", "lic_1");
    for (sender, webhook) in [
        (&standard, no_json),
        (&standard, unknown),
        (&keyport, unmapped),
    ] {
        let answer = sender.send(webhook).await?.expect(202)?;
        assert_eq!(answer["accepted"], 0, "{answer}");
        assert!(answer["set_aside"].is_string(), "{answer}");
    }
    assert_eq!(count(&installation, "standard", "unmapped").await?, 2);
    assert_eq!(count(&installation, "keyport", "unmapped").await?, 1);
    let listed = set_aside(&client).await?;
    assert_eq!(listed.len(), 3, "{listed:?}");
    let find = |id: &str| {
        let found = listed.iter().find(|one| one["message_id"] == id);
        found.with_context(|| format!("{id} in {listed:?}"))
    };
    let listed_unknown = find("unknown")?;
    let reason = |one: &Value| one["reason"].as_str().unwrap_or_default().to_owned();
    assert!(reason(listed_unknown).contains("seat.assigned"));
    assert_eq!(listed_unknown["event_type"], "seat.assigned");
    assert_eq!(listed_unknown["source"], standard.url.replace("/in/", ""));
    assert!(reason(find("unmapped")?).contains("license.teleported"));

    let registered = json!({"name": "seat.assigned", "description": "A seat has somebody."});
    client.post("/v1/event-types", &registered).await?;
    let again = client.post("/v1/rejected/retry", &json!({})).await?;
    let again = again.expect(202)?;
    assert_eq!(again["sent"], 1, "{again}");
    client
        .delivery_with_status("unknown", "delivered", SOON)
        .await?;
    let event = client.get("/v1/events/unknown").await?.expect(200)?;
    assert_eq!(event["product"], "p", "{event}");
    assert_eq!(set_aside(&client).await?.len(), 2);
    // Had the sender tried again meanwhile, it would not have come twice.
    let repeated = standard.webhook("seat.assigned", "unknown", "lic_1");
    assert_eq!(standard.send(repeated).await?.expect(200)?, taken(0, 1));
    assert_eq!(receiver.count("/hook"), 1);
    let logs = installation.logs();
    for hidden in [&standard.secret, &keyport.secret, "not JSON", "lic_1"] {
        assert!(!logs.contains(hidden), "{logs}");
    }
    Ok(())
}

async fn the_same_id_with_another_content_is_set_aside(mode: Mode) -> Result<()> {
    let installation = Installation::start(mode).await?;
    let client = installation.tenant().await?;
    let sender = OtherSystem::new(&client, "standard", json!({})).await?;
    let first = sender.webhook("license.expired", "twice", "lic_1");
    sender.send(first).await?.expect(200)?;
    let second = sender.webhook("license.expired", "twice", "lic_2");
    let answer = sender.send(second).await?.expect(200)?;
    assert_eq!(answer["accepted"], 0, "{answer}");
    assert_eq!(count(&installation, "standard", "conflict").await?, 1);
    let listed = set_aside(&client).await?;
    let reason = listed[0]["reason"].as_str().unwrap_or_default();
    assert!(reason.contains("twice"), "{listed:?}");
    let event = client.get("/v1/events/twice").await?.expect(200)?;
    assert_eq!(event["data"]["license"]["id"], "lic_1", "the first stays");
    Ok(())
}

async fn tests_of_the_sender_go_nowhere(mode: Mode) -> Result<()> {
    let installation = Installation::shared(mode).await?;
    let client = installation.tenant().await?;
    for dialect in ["standard", "keyport", "licvalidator"] {
        let sender = OtherSystem::new(&client, dialect, json!({})).await?;
        let test = sender.webhook("webhook.test", "only-a-test", "lic_1");
        let answer = sender.send(test).await?.expect(200)?;
        assert_eq!(answer, taken(0, 0), "{dialect}");
        assert!(count(installation, dialect, "test").await? >= 1);
    }
    assert_eq!(client.get("/v1/events/only-a-test").await?.status, 404);
    Ok(())
}

async fn both_secrets_verify_while_one_is_rotated(mode: Mode) -> Result<()> {
    let installation = Installation::shared(mode).await?;
    let client = installation.tenant().await?;
    let mut sender = OtherSystem::new(&client, "keyport", json!({})).await?;
    let rotate = sender.url.replace("/in/", "/v1/sources/") + "/rotate_secret";
    let old = sender.webhook("license.expired", "with-old", "lic_1");
    let answer = client.post(&rotate, &json!({"grace_s": 600})).await?;
    let rotated = answer.expect(200)?;
    sender.secret = rotated["secret"].as_str().context("a secret")?.to_owned();
    sender.send(old.clone()).await?.expect(200)?;
    let new = sender.webhook("license.expired", "with-new", "lic_1");
    sender.send(new.clone()).await?.expect(200)?;

    let answer = client.post(&rotate, &json!({"grace_s": 0})).await?;
    answer.expect(200)?;
    for webhook in [old, new] {
        assert_eq!(sender.send(webhook).await?.status, 401);
    }
    Ok(())
}

async fn what_the_sender_leaves_out_is_completed(mode: Mode) -> Result<()> {
    let installation = Installation::shared(mode).await?;
    let client = installation.tenant().await?;
    let settings = json!({"environment": "staging", "product": "ours"});
    let sender = OtherSystem::new(&client, "cloudevents", settings).await?;
    let webhook = sender.webhook("license.expired", "left-out", "lic_1");
    sender.send(webhook).await?.expect(200)?;
    let said = json!({"specversion": "1.0", "id": "said", "source": "/tenants/theirs", "data": {},
        "type": "license.expired", "environment": "production", "product": "theirs"});
    let said = sender.sign("said", said.to_string());
    sender.send(said).await?.expect(200)?;
    for (id, environment, product) in [
        ("left-out", "staging", "ours"),
        ("said", "production", "theirs"),
    ] {
        let event = client.get(&format!("/v1/events/{id}")).await?.expect(200)?;
        assert_eq!(event["environment"], environment, "{event}");
        assert_eq!(event["product"], product, "{event}");
    }
    Ok(())
}

async fn senders_that_ask_first_are_answered(mode: Mode) -> Result<()> {
    let installation = Installation::shared(mode).await?;
    let client = installation.tenant().await?;
    let origin = ("webhook-request-origin", "licenses.example.net");
    let sender = OtherSystem::new(&client, "cloudevents", json!({})).await?;
    let asked = async |headers: &[(&str, &str)]| sender.client.options(&sender.url, headers).await;
    let answer = asked(&[origin]).await?;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("allow"), Some("POST"));
    assert_eq!(answer.header("webhook-allowed-origin"), Some(origin.1));
    assert_eq!(answer.header("webhook-allowed-rate"), Some("*"));
    let answer = asked(&[origin, ("webhook-request-rate", "120")]).await?;
    assert_eq!(answer.header("webhook-allowed-rate"), Some("120"));

    let sender = OtherSystem::new(&client, "keyport", json!({})).await?;
    let answer = sender.client.options(&sender.url, &[origin]).await?;
    assert_eq!(answer.status, 405);
    assert_eq!(answer.header("allow"), Some("POST"));
    assert_eq!(answer.header("webhook-allowed-origin"), None);
    Ok(())
}

/// In every dialect whose requests are signed: an endpoint of one tenant, a source of another.
async fn one_fanfare_delivers_to_another(mode: Mode) -> Result<()> {
    let installation = Installation::shared(mode).await?;
    let ours = installation.tenant().await?;
    let receiver = Receiver::start().await?;
    let dialects = ours.get("/v1/dialects").await?.expect(200)?;
    let mut chains = Vec::new();
    for dialect in items(&dialects) {
        let dialect = dialect["name"].as_str().context("a name")?;
        let theirs = installation.tenant().await?;
        let path = format!("/{dialect}");
        theirs
            .create_endpoint(&receiver.url(&path), json!({}))
            .await?;
        if chain(installation, &ours, &theirs, dialect).await? {
            chains.push((path, theirs));
        }
    }
    ensure!(chains.len() >= 4, "{chains:?}");
    let event = json!({"type": "license.expired", "data": {"license": {
        "id": "lic_1", "key": "KP-ABCD-EFGH-IJKL", "status": "expired"}}});
    ours.publish(&event).await?;
    for (path, theirs) in chains {
        let received = receiver.wait_for(&path, 1, SOON).await;
        let listed = set_aside(&theirs).await?;
        let received = received.with_context(|| format!("{listed:?}"))?;
        assert_eq!(received[0].json()["type"], "license.expired", "{path}");
    }
    Ok(())
}

/// Whether a chain was made: the dialect's requests are signed.
async fn chain(
    installation: &Installation,
    ours: &Client,
    theirs: &Client,
    dialect: &str,
) -> Result<bool> {
    let nowhere = "http://127.0.0.1:9/";
    let endpoint = ours
        .create_endpoint(nowhere, json!({"dialect": dialect}))
        .await?;
    let path = format!("/v1/endpoints/{}", id_of(&endpoint));
    let mut source = json!({"dialect": dialect, "secret": endpoint["secret"]});
    let mut made = theirs.post("/v1/sources", &source).await?;
    if made.status == 422 && made.text().contains("/secret") {
        let keys = ours.get("/v1/signing-keys").await?.expect(200)?;
        source = json!({"dialect": dialect, "public_key": items(&keys)[0]["public_key"]});
        made = theirs.post("/v1/sources", &source).await?;
    }
    if made.status == 422 && made.text().contains("carry no signature") {
        ours.delete(&path).await?.expect(204)?;
        return Ok(false);
    }
    let made = made.expect(201)?;
    let url = made["url"].as_str().context("a URL")?;
    let url = json!({"url": format!("{}{url}", installation.ingest.url())});
    ours.patch(&path, &url).await?.expect(200)?;
    Ok(true)
}

#[tokio::test]
async fn a_webhook_goes_through_the_exchange_while_the_store_is_away() -> Result<()> {
    let _turn = among_others().await;
    let installation = Installation::on_private_services().await?;
    let services = installation.services()?;
    let client = installation
        .operator()?
        .new_tenant(&unique("tenant"))
        .await?;
    let receiver = Receiver::start().await?;
    client
        .create_endpoint(&receiver.url("/hook"), json!({}))
        .await?;
    let sender = OtherSystem::new(&client, "standard", json!({})).await?;
    services.kill(Service::Postgres).await?;
    let first = sender.webhook("license.expired", "first", "lic_1");
    sender.send(first).await?.expect(200)?;

    services.kill(Service::RabbitMq).await?;
    let second = || sender.webhook("license.expired", "second", "lic_1");
    let answer = sender.send(second()).await?;
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert!(answer.header("retry-after").is_some());
    assert_eq!(count(&installation, "standard", "unavailable").await?, 1);

    services.start(Service::RabbitMq).await?;
    services.start(Service::Postgres).await?;
    eventually("the sender's retry is taken", 6 * SOON, async || {
        let answer = sender.send(second()).await.ok()?;
        (answer.status == 200).then_some(())
    })
    .await?;
    receiver
        .wait_for_distinct("/hook", 2, Duration::from_secs(60))
        .await?;
    Ok(())
}
