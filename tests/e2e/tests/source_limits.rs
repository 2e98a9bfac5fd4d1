//! How much a request to a source may be.

use anyhow::Result;
use e2e::{Installation, Mode, OtherSystem, in_both_modes, items};
use serde_json::json;

in_both_modes!(
    a_body_is_taken_up_to_1280_kib_and_no_byte_more,
    headers_are_taken_up_to_16_kib_and_no_byte_more,
    an_id_is_shown_up_to_255_bytes,
    a_request_has_up_to_1000_events_and_no_more,
);

async fn a_body_is_taken_up_to_1280_kib_and_no_byte_more(mode: Mode) -> Result<()> {
    const BYTES_MAX: usize = 1_280 * 1_024;
    let installation = Installation::start(mode).await?;
    let client = installation.tenant().await?;
    let sender = OtherSystem::new(&client, "standard", json!({})).await?;
    // Spaces behind the JSON make it as long as wanted, and too long for an event.
    let sized = |bytes: usize| {
        let (_, body) = sender.webhook("license.expired", "large", "lic_1");
        let spaces = " ".repeat(bytes - body.len());
        sender.sign("large", body + &spaces)
    };
    sender.send(sized(BYTES_MAX)).await?.expect(200)?;
    let answer = sender.send(sized(BYTES_MAX + 1)).await?;
    assert_eq!(answer.status, 413, "{}", answer.text());
    let metrics = installation.ingest.metrics().await?;
    let counted = r#"fanfare_source_requests_total{dialect="standard",result="unread"} 1"#;
    assert!(metrics.contains(counted), "{metrics}");
    Ok(())
}

async fn headers_are_taken_up_to_16_kib_and_no_byte_more(mode: Mode) -> Result<()> {
    const BYTES_MAX: usize = 16 * 1_024;
    let installation = Installation::shared(mode).await?;
    let client = installation.tenant().await?;
    let sender = OtherSystem::new(&client, "standard", json!({})).await?;
    let sized = |bytes: usize| {
        let (headers, body) = sender.webhook("license.expired", "", "lic_1");
        let kept: serde_json::Map<_, _> = headers
            .into_iter()
            .map(|(name, value)| (name.to_owned(), json!(value)))
            .collect();
        let frame = json!(kept).to_string().len();
        sender.sign(&"x".repeat(bytes - frame), body)
    };
    sender.send(sized(BYTES_MAX)).await?.expect(200)?;
    let answer = sender.send(sized(BYTES_MAX + 1)).await?;
    assert_eq!(answer.status, 413, "{}", answer.text());
    Ok(())
}

async fn an_id_is_shown_up_to_255_bytes(mode: Mode) -> Result<()> {
    let installation = Installation::shared(mode).await?;
    let client = installation.tenant().await?;
    let sender = OtherSystem::new(&client, "standard", json!({})).await?;
    let ids = [255, 256].map(|bytes| "x".repeat(bytes));
    for id in &ids {
        let webhook = sender.webhook("seat.assigned", id, "lic_1");
        sender.send(webhook).await?.expect(202)?;
    }
    let list = client.get("/v1/rejected").await?.expect(200)?;
    let shown: Vec<_> = items(&list)
        .iter()
        .filter_map(|one| one["message_id"].as_str().map(str::to_owned))
        .collect();
    assert_eq!(shown, [ids[0].as_str()]);
    Ok(())
}

async fn a_request_has_up_to_1000_events_and_no_more(mode: Mode) -> Result<()> {
    let installation = Installation::shared(mode).await?;
    let client = installation.tenant().await?;
    let sender = OtherSystem::new(&client, "cloudevents", json!({})).await?;
    let batch = |events: usize| {
        let event = |n: usize| {
            json!({"specversion": "1.0", "id": format!("n-{n}"), "source": "/licenses",
                "type": "license.expired", "data": {}})
        };
        let events: Vec<_> = (0..events).map(event).collect();
        let (mut headers, body) = sender.sign("batch", json!(events).to_string());
        headers[3].1 = "application/cloudevents-batch+json".to_owned();
        (headers, body)
    };
    let answer = sender.send(batch(1_000)).await?.expect(200)?;
    assert_eq!(answer, json!({"accepted": 1_000, "duplicates": 0}));
    let answer = sender.send(batch(1_001)).await?.expect(202)?;
    assert_eq!(answer["accepted"], 0, "{answer}");
    let reason = answer["set_aside"].as_str().unwrap_or_default();
    assert!(reason.contains("1000"), "{answer}");
    Ok(())
}
