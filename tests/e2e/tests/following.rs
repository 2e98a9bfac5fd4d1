//! An event, its deliveries and each attempt can be followed through the API.

use std::time::Duration;

use anyhow::{Context, Result};
use e2e::{Installation, Mode, SOON, attempts_of, id_of, in_both_modes, items};
use serde_json::json;
use testkit::{Behavior, Receiver, eventually};

in_both_modes!(
    an_event_is_followed_to_its_attempts,
    lists_are_filtered_and_paged,
    a_test_of_an_endpoint_tells_what_the_receiver_did,
    statistics_count_what_happened,
    the_contract_describes_itself,
    metrics_count_what_happened,
);

async fn an_event_is_followed_to_its_attempts(mode: Mode) -> Result<()> {
    let client = Installation::shared(mode).await?.tenant().await?;
    let receiver = Receiver::start().await?;
    let answer = Behavior::Answer {
        status: 200,
        headers: vec![("X-Request-Id".into(), "r-77".into())],
        body: "y".repeat(10_000),
        after: Duration::from_millis(30),
    };
    receiver.behave("/hook", answer);
    let endpoint = client
        .create_endpoint(&receiver.url("/hook"), json!({"name": "mine"}))
        .await?;
    client
        .publish(&json!({"id": "f-1", "type": "license.renewed",
        "data": {"license": {"id": "lic_f", "plan": "pro"}}}))
        .await?;
    let delivery = client
        .delivery_with_status("f-1", "delivered", SOON)
        .await?;

    let event = client.get("/v1/events/f-1").await?.expect(200)?;
    assert_eq!(
        (&event["type"], &event["sequence"]),
        (&json!("license.renewed"), &json!(1))
    );
    assert_eq!(event["data"]["license"]["plan"], "pro");
    assert_eq!(id_of(&event["deliveries"][0]), id_of(&delivery), "{event}");
    assert_eq!(delivery["endpoint_id"], endpoint["id"]);
    assert_eq!(delivery["event_id"], "f-1");
    assert!(delivery["next_attempt_at"].is_null(), "{delivery}");

    let [attempt] = attempts_of(&delivery) else {
        panic!("one attempt: {delivery}")
    };
    assert_eq!(attempt["status_code"], 200, "{attempt}");
    assert!(
        attempt["duration_ms"].as_f64().is_some_and(|ms| ms >= 30.0),
        "{attempt}"
    );
    assert!(
        attempt.to_string().to_lowercase().contains("r-77"),
        "response headers: {attempt}"
    );
    let body = attempt["response_body"].as_str().context("a body")?;
    assert_eq!(body, "y".repeat(4096), "the first 4 KiB");
    Ok(())
}

async fn lists_are_filtered_and_paged(mode: Mode) -> Result<()> {
    let client = Installation::shared(mode).await?.tenant().await?;
    let receiver = Receiver::start().await?;
    let endpoint = client
        .create_endpoint(&receiver.url("/hook"), json!({}))
        .await?;
    let endpoint = id_of(&endpoint);
    for n in 0..25 {
        let kind = if n % 5 == 0 {
            "license.created"
        } else {
            "license.validated"
        };
        let license = format!("lic_{}", n % 2);
        client
            .publish(&json!({"id": format!("p-{n}"), "type": kind,
            "environment": if n < 20 { "production" } else { "staging" },
            "data": {"license": {"id": license}}}))
            .await?;
    }
    receiver.wait_for_distinct("/hook", 25, SOON).await?;
    let count = async |path: &str| {
        let list = client
            .get(path)
            .await?
            .expect(200)
            .with_context(|| path.to_owned())?;
        anyhow::Ok(items(&list).len())
    };
    assert_eq!(count("/v1/events").await?, 25);
    assert_eq!(count("/v1/events?type=license.created").await?, 5);
    assert_eq!(count("/v1/events?license=lic_1").await?, 12);
    assert_eq!(count("/v1/events?environment=staging").await?, 5);
    assert_eq!(
        count("/v1/events?since=2020-01-01T00:00:00Z&until=2020-01-02T00:00:00Z").await?,
        0
    );
    assert_eq!(
        count(&format!("/v1/deliveries?endpoint={endpoint}&license=lic_0")).await?,
        13
    );
    assert_eq!(count("/v1/deliveries?event=p-3").await?, 1);
    assert_eq!(
        count("/v1/licenses/lic_0/events?after_sequence=10").await?,
        3
    );

    let mut seen = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = client
            .get(&format!("/v1/events?limit=10{cursor}"))
            .await?
            .expect(200)?;
        assert!(items(&page).len() <= 10);
        seen.extend(items(&page).iter().map(|event| id_of(event).to_owned()));
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    let expected: Vec<_> = (0..25).rev().map(|n| format!("p-{n}")).collect();
    assert_eq!(seen, expected, "newest first, none twice, none left out");
    eventually("all are delivered", SOON, async || {
        (client.count_deliveries(endpoint, "delivered").await.ok()? == 25).then_some(())
    })
    .await
}

async fn a_test_of_an_endpoint_tells_what_the_receiver_did(mode: Mode) -> Result<()> {
    let client = Installation::shared(mode).await?.tenant().await?;
    let receiver = Receiver::start().await?;
    let endpoint = client
        .create_endpoint(&receiver.url("/hook"), json!({}))
        .await?;
    let path = format!("/v1/endpoints/{}/test", id_of(&endpoint));
    receiver.script("/hook", [Behavior::status(418), Behavior::Reset]);
    let answer = client.post(&path, &json!({})).await?.expect(200)?;
    assert_eq!(answer["status_code"], 418, "{answer}");
    assert_eq!(receiver.received("/hook")[0].json()["type"], "webhook.test");
    let answer = client.post(&path, &json!({})).await?.expect(200)?;
    assert!(answer.to_string().contains("connection_reset"), "{answer}");
    Ok(())
}

async fn statistics_count_what_happened(mode: Mode) -> Result<()> {
    let client = Installation::shared(mode).await?.tenant().await?;
    let receiver = Receiver::start().await?;
    receiver.script("/hook", [Behavior::status(500)]);
    let settings = json!({"retry": {"delays_s": [1]}});
    let endpoint = client
        .create_endpoint(&receiver.url("/hook"), settings)
        .await?;
    client
        .publish(&json!({"id": "s-1", "type": "license.created", "data": {}}))
        .await?;
    client
        .delivery_with_status("s-1", "delivered", SOON)
        .await?;
    let path = format!("/v1/endpoints/{}/stats", id_of(&endpoint));
    let stats = client.get(&path).await?.expect(200)?;
    assert_eq!(stats["deliveries"]["delivered"], 1, "{stats}");
    assert_eq!(stats["success_rate"], 0.5, "{stats}");
    assert_eq!(
        (&stats["held"], &stats["retrying"]),
        (&json!(0), &json!(0)),
        "{stats}"
    );
    assert_eq!(stats["circuit"]["state"], "closed", "{stats}");
    Ok(())
}

async fn the_contract_describes_itself(mode: Mode) -> Result<()> {
    let client = Installation::shared(mode).await?.tenant().await?;
    let document = client.get("/openapi.json").await?.expect(200)?;
    let paths = [
        "/v1/events",
        "/v1/events/batch",
        "/in/{source}",
        "/v1/endpoints/{id}",
        "/v1/deliveries/{id}/retry",
    ];
    for path in paths {
        assert!(document["paths"][path].is_object(), "{path}");
    }
    assert_eq!(client.get("/docs").await?.status, 200);
    let types = client
        .get("/v1/event-types")
        .await?
        .expect(200)?
        .to_string();
    assert!(types.contains("license.revoked"), "{types}");
    let dialects = client.get("/v1/dialects").await?.expect(200)?.to_string();
    assert!(
        dialects.contains("standard") && dialects.contains("keyport"),
        "{dialects}"
    );
    Ok(())
}

async fn metrics_count_what_happened(mode: Mode) -> Result<()> {
    let installation = Installation::shared(mode).await?;
    let client = installation.tenant().await?;
    let receiver = Receiver::start().await?;
    client
        .create_endpoint(&receiver.url("/hook"), json!({}))
        .await?;
    client
        .publish(&json!({"id": "m-1", "type": "license.created", "data": {}}))
        .await?;
    client
        .delivery_with_status("m-1", "delivered", SOON)
        .await?;
    let ingest = installation.ingest.metrics().await?;
    let dispatcher = installation.dispatcher().metrics().await?;
    for (name, text) in [
        ("fanfare_events_total", &ingest),
        ("fanfare_deliveries_published_total", &ingest),
        ("fanfare_attempts_total", &dispatcher),
        ("fanfare_delivery_seconds_bucket", &dispatcher),
        ("fanfare_attempts_in_flight", &dispatcher),
        ("fanfare_group_size", &ingest),
    ] {
        assert!(
            text.lines().any(|line| line.starts_with(name)),
            "{name}:\n{text}"
        );
    }
    Ok(())
}
