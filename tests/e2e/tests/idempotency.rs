//! Ids and sequences: an event is taken in once, and each license's events are numbered.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use anyhow::{Context, Result};
use e2e::{Installation, Mode, SOON, event, id_of, in_both_modes, items};
use serde_json::json;
use testkit::Receiver;
use tokio::task::JoinSet;

in_both_modes!(
    sequences_have_no_gaps_however_many_publish_at_once,
    the_same_id_from_50_connections_is_one_event_and_one_delivery,
    the_same_id_a_month_later_is_still_a_duplicate,
    the_same_id_with_another_content_is_a_conflict,
);

async fn sequences_have_no_gaps_however_many_publish_at_once(mode: Mode) -> Result<()> {
    const CONNECTIONS: usize = 20;
    const EACH: usize = 50;
    let client = Installation::shared(mode).await?.tenant().await?;
    let mut publishers = JoinSet::new();
    for _ in 0..CONNECTIONS {
        let client = client.clone();
        publishers.spawn(async move {
            let mut sequences = Vec::new();
            for _ in 0..EACH {
                let answer = client
                    .publish(&event("license.validated", "lic_busy"))
                    .await?;
                sequences.push(answer["sequence"].as_u64().context("a sequence")?);
            }
            anyhow::Ok(sequences)
        });
    }
    let mut answered = BTreeSet::new();
    while let Some(sequences) = publishers.join_next().await {
        answered.extend(sequences??);
    }
    let all = (CONNECTIONS * EACH) as u64;
    assert_eq!(answered, (1..=all).collect(), "answered to the publishers");

    let mut after = 0;
    while after < all {
        let path = format!("/v1/licenses/lic_busy/events?after_sequence={after}");
        let page = client.get(&path).await?.expect(200)?;
        for one in items(&page) {
            after += 1;
            assert_eq!(one["sequence"], after, "in order on the timeline");
        }
        assert!(!items(&page).is_empty(), "the timeline ends after {after}");
    }
    Ok(())
}

async fn the_same_id_from_50_connections_is_one_event_and_one_delivery(mode: Mode) -> Result<()> {
    let client = Installation::shared(mode).await?.tenant().await?;
    let receiver = Receiver::start().await?;
    client
        .create_endpoint(&receiver.url("/hook"), json!({}))
        .await?;
    let mut publishers = JoinSet::new();
    for _ in 0..50 {
        let client = client.clone();
        let event =
            json!({"id": "same", "type": "license.created", "data": {"license": {"id": "l"}}});
        publishers.spawn(async move { client.publish(&event).await });
    }
    let mut answers = BTreeMap::new();
    while let Some(answer) = publishers.join_next().await {
        let answer = answer??;
        assert_eq!(
            (id_of(&answer), &answer["sequence"]),
            ("same", &json!(1)),
            "{answer}"
        );
        *answers.entry(answer["duplicate"].as_bool()).or_insert(0) += 1;
    }
    assert_eq!(
        answers,
        BTreeMap::from([(Some(false), 1), (Some(true), 49)])
    );
    client
        .delivery_with_status("same", "delivered", SOON)
        .await?;
    // One published afterwards has arrived: what was to come of the fifty has, too.
    client
        .publish(&json!({"id": "next", "type": "license.created", "data": {}}))
        .await?;
    receiver.wait_for_distinct("/hook", 2, SOON).await?;
    assert_eq!(receiver.count("/hook"), 2);
    assert_eq!(client.deliveries_of("same").await?.len(), 1);
    Ok(())
}

async fn the_same_id_a_month_later_is_still_a_duplicate(mode: Mode) -> Result<()> {
    let faketime = faketime().context("libfaketime is missing: run `tests/services.sh install`")?;
    let mut installation = Installation::start(mode).await?;
    let (tenant, client) = installation.named_tenant().await?;
    let receiver = Receiver::start().await?;
    client
        .create_endpoint(&receiver.url("/hook"), json!({}))
        .await?;
    let event = json!({"id": "old", "type": "license.created", "data": {"license": {"id": "l"}}});
    client.publish(&event).await?;
    client
        .delivery_with_status("old", "delivered", SOON)
        .await?;

    for process in installation.processes_mut() {
        process.kill()?;
        process.change(|settings| {
            settings
                .with("LD_PRELOAD", &faketime)
                .with("FAKETIME", "+31d")
                .with("FAKETIME_DONT_FAKE_MONOTONIC", "1")
        });
        process.restart().await?;
    }
    let client = installation.operator()?.for_tenant(&tenant);
    let again = client.publish(&event).await?;
    assert_eq!(
        again,
        json!({"id": "old", "sequence": 1, "duplicate": true})
    );
    let next = json!({"id": "new", "type": "license.created",
        "data": {"license": {"id": "l"}}});
    assert_eq!(client.publish(&next).await?["sequence"], 2);
    client
        .delivery_with_status("new", "delivered", SOON)
        .await?;
    let ids: HashSet<_> = receiver
        .received("/hook")
        .iter()
        .map(|one| one.id().to_owned())
        .collect();
    assert_eq!(
        (ids.len(), receiver.count("/hook")),
        (2, 2),
        "each event once"
    );
    Ok(())
}

/// The library that shows a process another time.
fn faketime() -> Option<String> {
    let folders = ["x86_64-linux-gnu", "aarch64-linux-gnu"];
    let path = |folder| format!("/usr/lib/{folder}/faketime/libfaketimeMT.so.1");
    folders
        .map(path)
        .into_iter()
        .find(|path| std::path::Path::new(path).exists())
}

async fn the_same_id_with_another_content_is_a_conflict(mode: Mode) -> Result<()> {
    let client = Installation::shared(mode).await?.tenant().await?;
    let with = |plan: &str| json!({"id": "c", "type": "license.created", "data": {"plan": plan}});
    client.publish(&with("a")).await?;
    let conflict = client.post("/v1/events", &with("b")).await?;
    assert_eq!(conflict.status, 409, "{}", conflict.text());
    assert_eq!(
        conflict.header("content-type"),
        Some("application/problem+json")
    );
    let kept = client.get("/v1/events/c").await?.expect(200)?;
    assert_eq!(kept["data"]["plan"], "a");
    Ok(())
}
