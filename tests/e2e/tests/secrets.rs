//! Secrets are shown once, sign as rotated, and stand nowhere in clear; nor do license keys in logs.

use std::fs;

use anyhow::{Context, Result};
use e2e::{Installation, Mode, SOON, id_of, in_both_modes, signatures, verifies};
use serde_json::{Value, json};
use testkit::{Behavior, Fanfare, Receiver, Role};

in_both_modes!(
    a_secret_is_shown_once_and_then_only_hinted_at,
    both_secrets_sign_during_the_grace_time_and_one_after,
    secrets_are_encrypted_at_rest,
    logs_and_metrics_hold_no_license_key_customer_or_secret,
);

fn secret_of(value: &Value) -> Result<String> {
    value["secret"]
        .as_str()
        .map(str::to_owned)
        .context("a secret")
}

async fn a_secret_is_shown_once_and_then_only_hinted_at(mode: Mode) -> Result<()> {
    let client = Installation::shared(mode).await?.tenant().await?;
    let own = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";
    let settings = json!({"secret": own, "headers": {"X-Api-Key": "s3cr3t-header"}});
    let endpoint = client
        .create_endpoint("https://example.com/hook", settings)
        .await?;
    assert_eq!(endpoint["secret"], own);
    let path = format!("/v1/endpoints/{}", id_of(&endpoint));
    let reads = [
        client.get(&path).await?.expect(200)?,
        client.get("/v1/endpoints").await?.expect(200)?,
        client
            .patch(&path, &json!({"name": "renamed"}))
            .await?
            .expect(200)?,
    ];
    for read in reads {
        let text = read.to_string();
        assert!(
            !text.contains(own) && !text.contains("s3cr3t-header"),
            "{text}"
        );
        assert!(text.contains("DE="), "the hint: {text}");
    }
    Ok(())
}

async fn both_secrets_sign_during_the_grace_time_and_one_after(mode: Mode) -> Result<()> {
    let client = Installation::shared(mode).await?.tenant().await?;
    let receiver = Receiver::start().await?;
    let endpoint = client
        .create_endpoint(&receiver.url("/hook"), json!({}))
        .await?;
    let path = format!("/v1/endpoints/{}/rotate_secret", id_of(&endpoint));
    let first = secret_of(&endpoint)?;
    let second = secret_of(
        &client
            .post(&path, &json!({"grace_s": 60}))
            .await?
            .expect(200)?,
    )?;
    let mut sent = 0;
    let mut publish = async || {
        client
            .publish(&json!({"type": "license.created", "data": {}}))
            .await?;
        sent += 1;
        let received = receiver.wait_for("/hook", sent, SOON).await?;
        received.last().cloned().context("a request")
    };
    // Every process hears of it, but not in the same instant.
    testkit::eventually("both sign", SOON, async || {
        let received = publish().await.ok()?;
        let both = verifies(&received, &first) && verifies(&received, &second);
        (both && signatures(&received).len() == 2).then_some(())
    })
    .await?;
    let third = secret_of(
        &client
            .post(&path, &json!({"grace_s": 0}))
            .await?
            .expect(200)?,
    )?;
    testkit::eventually("only the third signs", SOON, async || {
        let received = publish().await.ok()?;
        let none_before = !verifies(&received, &first) && !verifies(&received, &second);
        (none_before && verifies(&received, &third)).then_some(())
    })
    .await
}

async fn secrets_are_encrypted_at_rest(mode: Mode) -> Result<()> {
    let installation = Installation::start(mode).await?;
    let client = installation.tenant().await?;
    let endpoint = client
        .create_endpoint("https://example.com/hook", json!({"name": "find-me"}))
        .await?;
    let secret = secret_of(&endpoint)?;
    let key = client
        .post("/v1/keys", &json!({"role": "viewer"}))
        .await?
        .expect(201)?;
    let key = key["key"].as_str().context("a key")?;
    let at_rest = match mode {
        Mode::Embedded => {
            let mut bytes = Vec::new();
            for file in fs::read_dir(installation.folder())? {
                bytes.extend(fs::read(file?.path())?);
            }
            bytes
        }
        Mode::Services => {
            let store = installation
                .ingest
                .settings()
                .get("FANFARE__STORE__URL")
                .context("a store")?;
            tokio::process::Command::new("pg_dump")
                .args(["-a", store])
                .output()
                .await?
                .stdout
        }
    };
    let holds = |text: &str| {
        at_rest
            .windows(text.len())
            .any(|window| window == text.as_bytes())
    };
    assert!(holds("find-me"), "this is where endpoints are kept");
    let bare = secret.trim_start_matches("whsec_");
    assert!(
        !holds(&secret) && !holds(bare),
        "the secret stands in clear"
    );
    assert!(!holds(key), "the API key stands in clear");
    assert!(
        !holds(testkit::OPERATOR_KEY),
        "the operator's key stands in clear"
    );
    Ok(())
}

async fn logs_and_metrics_hold_no_license_key_customer_or_secret(mode: Mode) -> Result<()> {
    let installation = Installation::start_with(mode, everything_logged).await?;
    let client = installation.tenant().await?;
    let receiver = Receiver::start().await?;
    receiver.script(
        "/hook?token=UrlToken1",
        [Behavior::status(500), Behavior::Garbage],
    );
    let settings = json!({"retry": {"delays_s": [1, 1]}, "headers": {"X-Key": "HeaderValue1"}});
    let endpoint = client
        .create_endpoint(&receiver.url("/hook?token=UrlToken1"), settings)
        .await?;
    client
        .publish(&json!({"id": "l-1", "type": "license.created", "data": {
        "license": {"id": "lic_x", "key": "KP-SECRET-KEY1"},
        "customer": {"email": "zoe.private@example.com", "name": "Zoe Private"}}}))
        .await?;
    let malformed =
        br#"{"type":"license.created","data":{"license":{"key":"KP-SECRET-KEY1"}},"x":1}"#;
    let json = [("content-type", "application/json")];
    client
        .post_raw("/v1/events", &json, malformed.to_vec())
        .await?;
    client
        .delivery_with_status("l-1", "delivered", 2 * SOON)
        .await?;
    let seen = installation.logs()
        + &installation.ingest.metrics().await?
        + &installation.dispatcher().metrics().await?;
    let secret = secret_of(&endpoint)?;
    let private = [
        "KP-SECRET-KEY1",
        "zoe.private",
        "Zoe Private",
        "HeaderValue1",
        "UrlToken1",
        testkit::OPERATOR_KEY,
        secret.trim_start_matches("whsec_"),
    ];
    for private in private {
        if let Some(line) = seen.lines().find(|line| line.contains(private)) {
            panic!("{private} stands in: {line}");
        }
    }
    assert!(!installation.logs().is_empty(), "something is logged");
    Ok(())
}

fn everything_logged(settings: testkit::Settings) -> testkit::Settings {
    settings.with("FANFARE__LOG__FILTER", "debug")
}

#[tokio::test]
async fn a_master_key_is_replaced_in_four_steps() -> Result<()> {
    const OTHER: &str = "FANFARE__SECURITY__OTHER_MASTER_KEY";
    const MASTER: &str = "FANFARE__SECURITY__MASTER_KEY";
    let folder = testkit::scratch_folder()?;
    let settings = testkit::Settings::embedded(folder.path())?;
    let old = settings.get(MASTER).context("a master key")?.to_owned();
    let new = "YW5vdGhlciBtYXN0ZXIga2V5LCAzMiBieXRlcyBsb24=";

    let first = settings.clone().with(OTHER, new);
    let serve = Fanfare::start(Role::Serve, first).await?;
    let client = serve.client()?.new_tenant("acme").await?;
    let receiver = Receiver::start().await?;
    let endpoint = client
        .create_endpoint(&receiver.url("/hook"), json!({}))
        .await?;
    drop(serve);

    let second = settings.clone().with(MASTER, new).with(OTHER, &old);
    let said = second.run(&["key", "reseal"]).await?;
    assert!(said.contains("sealed 1 endpoints"), "{said}");

    let last = settings.clone().with(MASTER, new);
    let serve = Fanfare::start(Role::Serve, last).await?;
    let client = serve.client()?.for_tenant("acme");
    client
        .publish(&json!({"type": "license.created", "data": {}}))
        .await?;
    let received = receiver.wait_for("/hook", 1, SOON).await?;
    assert!(verifies(&received[0], &secret_of(&endpoint)?));
    drop(serve);
    let refused = settings.run(&["key", "create", "--role", "operator"]).await;
    let refused = refused.err().context("the old key opens nothing")?;
    assert!(refused.to_string().contains("master key"), "{refused}");
    Ok(())
}
