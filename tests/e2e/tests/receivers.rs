//! Receivers that misbehave: each is an attempt with the right class, within the deadline, at no
//! cost in memory.

use std::time::Duration;

use anyhow::Result;
use e2e::{Installation, Mode, SOON, attempts_of, in_both_modes};
use serde_json::{Value, json};
use testkit::{Behavior, Client, Receiver, closed_port};

in_both_modes!(
    each_misbehavior_is_an_attempt_with_its_class_within_the_deadline,
    answers_of_500_mb_cost_no_memory,
);

/// The endpoints' timeout.
const TIMEOUT: Duration = Duration::from_secs(2);
/// What the machine may add.
const SLACK: Duration = Duration::from_millis(500);
/// What a dispatcher may use, whatever receivers do.
const RSS_BYTES_MAX: u64 = 150 * 1024 * 1024;

/// Publishes an event to a URL that is not tried again.
async fn publish(client: &Client, url: &str, id: &str) -> Result<()> {
    let settings =
        json!({"retry": {"delays_s": []}, "timeout_s": TIMEOUT.as_secs(), "product": id});
    client.create_endpoint(url, settings).await?;
    client
        .publish(&json!({"id": id, "type": "license.created", "product": id, "data": {}}))
        .await?;
    Ok(())
}

/// The only attempt of an event's delivery.
async fn only_attempt(client: &Client, id: &str) -> Result<Value> {
    let ended = |delivery: &Value| delivery["next_attempt_at"].is_null();
    let delivery = client.delivery_when(id, SOON, ended).await?;
    Ok(attempts_of(&delivery)[0].clone())
}

/// A class, or the status code where one was read.
fn result_of(attempt: &Value) -> String {
    match attempt["status_code"].as_u64() {
        Some(status) => status.to_string(),
        None => attempt["error"].as_str().unwrap_or_default().to_owned(),
    }
}

async fn each_misbehavior_is_an_attempt_with_its_class_within_the_deadline(
    mode: Mode,
) -> Result<()> {
    let installation = Installation::start(mode).await?;
    let client = installation.tenant().await?;
    let receiver = Receiver::start().await?;
    let redirect = Behavior::with_header(301, "Location", &receiver.url("/elsewhere"));
    let misbehaving = [
        ("reset", Behavior::Reset, "connection_reset"),
        ("close", Behavior::Close, "connection_closed"),
        ("hang", Behavior::Hang, "timeout"),
        ("drip-head", Behavior::DripHead, "timeout"),
        ("drip-body", Behavior::DripBody, "timeout"),
        (
            "huge-headers",
            Behavior::HugeHeaders { bytes: 1024 * 1024 },
            "response_invalid",
        ),
        ("close-in-body", Behavior::CloseInBody, "connection_closed"),
        ("garbage", Behavior::Garbage, "response_invalid"),
        ("redirect", redirect, "301"),
        ("odd-status", Behavior::status(299), "299"),
        ("slow", Behavior::slow(TIMEOUT / 2), "204"),
    ];
    let mut expected = Vec::new();
    for (id, behavior, class) in misbehaving {
        receiver.behave(&format!("/{id}"), behavior);
        publish(&client, &receiver.url(&format!("/{id}")), id).await?;
        expected.push((id, class));
    }
    let refusing = format!("http://127.0.0.1:{}/", closed_port());
    publish(&client, &refusing, "refused").await?;
    publish(&client, "http://no-such-host.invalid/", "dns").await?;
    expected.extend([("refused", "connection_refused"), ("dns", "dns_failed")]);

    let mut wrong = Vec::new();
    for (id, class) in expected {
        let attempt = only_attempt(&client, id).await?;
        let within = Duration::from_secs_f64(attempt["duration_ms"].as_f64().unwrap_or(1e9) / 1e3);
        if result_of(&attempt) != class || within > TIMEOUT + SLACK {
            wrong.push(format!("{id}: {class} expected: {attempt}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(
        receiver.count("/elsewhere"),
        0,
        "redirects are not followed"
    );
    Ok(())
}

async fn answers_of_500_mb_cost_no_memory(mode: Mode) -> Result<()> {
    let installation = Installation::start(mode).await?;
    let client = installation.tenant().await?;
    let receiver = Receiver::start().await?;
    receiver.behave(
        "/huge",
        Behavior::HugeBody {
            bytes: 500 * 1024 * 1024,
        },
    );
    let settings = json!({"timeout_s": TIMEOUT.as_secs(), "retry": {"delays_s": []}});
    client
        .create_endpoint(&receiver.url("/huge"), settings)
        .await?;
    for n in 0..50 {
        client
            .publish(&json!({"id": format!("h-{n}"), "type": "license.created", "data": {}}))
            .await?;
    }
    for n in 0..50 {
        let attempt = client
            .delivery_when(&format!("h-{n}"), 3 * SOON, |delivery| {
                !attempts_of(delivery).is_empty()
            })
            .await?;
        let attempt = &attempts_of(&attempt)[0];
        assert_eq!(attempt["status_code"], 200, "{attempt}");
        assert!(
            attempt["duration_ms"].as_f64() < Some(1e3),
            "not read to the end: {attempt}"
        );
    }
    let peak = installation.dispatcher().usage()?.rss_bytes_peak;
    assert!(peak < RSS_BYTES_MAX, "{} MiB", peak >> 20);
    Ok(())
}
