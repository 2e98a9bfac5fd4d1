//! Receivers that misbehave: each is an attempt with the right class, within the deadline, at no
//! cost in memory.

use std::time::{Duration, Instant};

use anyhow::Result;
use e2e::{Installation, Mode, SOON, attempts_of, in_both_modes};
use serde_json::{Value, json};
use testkit::{Behavior, Receiver, closed_port};
use tokio::task::JoinSet;

in_both_modes!(
    each_misbehavior_is_an_attempt_with_its_class_within_the_deadline,
    answers_of_500_mb_cost_no_memory,
);

/// The endpoints' timeout.
const TIMEOUT: Duration = Duration::from_secs(2);
/// What the machine may add.
const SLACK: Duration = Duration::from_secs(1);
/// What a dispatcher may use, whatever receivers do.
const RSS_BYTES_MAX: u64 = 150 * 1024 * 1024;

/// The only attempt of an event's delivery to a URL that is not tried again.
async fn only_attempt(client: &testkit::Client, url: &str, id: &str) -> Result<Value> {
    let settings = json!({"retry": {"delays_s": []}, "timeout_s": TIMEOUT.as_secs(), "product": id});
    client.create_endpoint(url, settings).await?;
    client.publish(&json!({"id": id, "type": "license.created", "product": id, "data": {}})).await?;
    let from = Instant::now();
    let delivery = client
        .delivery_when(id, SOON, |delivery| {
            delivery["status"] == "failed" || delivery["status"] == "delivered"
        })
        .await?;
    assert!(from.elapsed() < TIMEOUT + 2 * SLACK, "{id} took {:?}", from.elapsed());
    Ok(attempts_of(&delivery)[0].clone())
}

/// A class, or the status code where one was read.
fn result_of(attempt: &Value) -> String {
    match attempt["status_code"].as_u64() {
        Some(status) => status.to_string(),
        None => attempt["error"].as_str().unwrap_or_default().to_owned(),
    }
}

async fn each_misbehavior_is_an_attempt_with_its_class_within_the_deadline(mode: Mode) -> Result<()> {
    let installation = Installation::start(mode).await?;
    let client = installation.tenant().await?;
    let receiver = Receiver::start().await?;
    let huge_headers = Behavior::HugeHeaders { bytes: 1024 * 1024 };
    let cases: [(&str, Behavior, &[&str]); 11] = [
        ("reset", Behavior::Reset, &["connection_reset"]),
        ("close", Behavior::Close, &["connection_closed"]),
        ("hang", Behavior::Hang, &["timeout"]),
        ("drip-head", Behavior::DripHead, &["timeout"]),
        ("drip-body", Behavior::DripBody, &["timeout"]),
        ("huge-headers", huge_headers, &["response_invalid"]),
        ("close-in-body", Behavior::CloseInBody, &["connection_closed"]),
        ("garbage", Behavior::Garbage, &["response_invalid"]),
        ("redirect", Behavior::with_header(301, "Location", &receiver.url("/elsewhere")), &["301"]),
        ("odd-status", Behavior::status(299), &["299"]),
        ("slow", Behavior::slow(TIMEOUT / 2), &["204"]),
    ];
    let mut attempts = JoinSet::new();
    for (id, behavior, expected) in cases {
        let path = format!("/{id}");
        receiver.behave(&path, behavior);
        let (client, url) = (client.clone(), receiver.url(&path));
        attempts.spawn(async move { (id, expected, only_attempt(&client, &url, id).await) });
    }
    let refusing = format!("http://127.0.0.1:{}/", closed_port());
    let nowhere = "http://no-such-host.invalid/".to_owned();
    let others: [(&str, String, &[&str]); 2] =
        [("refused", refusing, &["connection_refused"]), ("dns", nowhere, &["dns_failed"])];
    for (id, url, expected) in others {
        let client = client.clone();
        attempts.spawn(async move { (id, expected, only_attempt(&client, &url, id).await) });
    }
    let mut wrong = Vec::new();
    while let Some(attempt) = attempts.join_next().await {
        let (id, expected, attempt) = attempt?;
        let attempt = attempt?;
        if !expected.contains(&result_of(&attempt).as_str()) {
            wrong.push(format!("{id}: {expected:?} expected: {attempt}"));
        }
        let within = Duration::from_secs_f64(attempt["duration_ms"].as_f64().unwrap_or(1e9) / 1e3);
        assert!(within < TIMEOUT + SLACK / 2, "{id}: {attempt}");
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(receiver.count("/elsewhere"), 0, "redirects are not followed");
    Ok(())
}

async fn answers_of_500_mb_cost_no_memory(mode: Mode) -> Result<()> {
    let installation = Installation::start(mode).await?;
    let client = installation.tenant().await?;
    let receiver = Receiver::start().await?;
    receiver.behave("/huge", Behavior::HugeBody { bytes: 500 * 1024 * 1024 });
    let settings = json!({"timeout_s": TIMEOUT.as_secs(), "retry": {"delays_s": []}});
    client.create_endpoint(&receiver.url("/huge"), settings).await?;
    for n in 0..50 {
        client.publish(&json!({"id": format!("h-{n}"), "type": "license.created", "data": {}})).await?;
    }
    for n in 0..50 {
        let attempt = client
            .delivery_when(&format!("h-{n}"), 3 * SOON, |delivery| !attempts_of(delivery).is_empty())
            .await?;
        let attempt = &attempts_of(&attempt)[0];
        assert_eq!(attempt["status_code"], 200, "{attempt}");
        assert!(attempt["duration_ms"].as_f64() < Some(1e3), "not read to the end: {attempt}");
    }
    let peak = installation.dispatcher().usage()?.rss_bytes_peak;
    assert!(peak < RSS_BYTES_MAX, "{} MiB", peak >> 20);
    Ok(())
}
