//! What may not go now is held and goes later: disabled endpoints, limits, and those that overtake.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use e2e::{Installation, Mode, SOON, id_of, in_both_modes};
use serde_json::{Value, json};
use testkit::{Behavior, Client, Receiver, eventually};

in_both_modes!(
    held_deliveries_arrive_in_order_once_the_endpoint_is_enabled,
    enabling_with_latest_per_license_delivers_the_newest_of_each,
    enabling_with_discard_delivers_nothing_of_what_was_held,
    what_was_queued_before_an_endpoint_was_disabled_is_held_too,
    an_endpoints_rate_is_kept,
    an_endpoints_rate_is_used_while_more_keeps_coming,
    no_more_requests_are_in_flight_than_the_endpoint_allows,
    a_revocation_overtakes_20000_queued_validations,
);

async fn disabled_endpoint(client: &Client, receiver: &Receiver) -> Result<String> {
    let settings = json!({"active": false});
    let endpoint = client
        .create_endpoint(&receiver.url("/hook"), settings)
        .await?;
    assert_eq!(endpoint["active"], false, "{endpoint}");
    Ok(id_of(&endpoint).to_owned())
}

/// Publishes `events` about three licenses in turn, and waits until all are held.
async fn hold(client: &Client, endpoint: &str, events: usize) -> Result<()> {
    let batch: Vec<_> = (0..events)
        .map(|n| {
            json!({"id": format!("h-{n}"), "type": "license.updated",
            "data": {"license": {"id": format!("lic_{}", n % 3)}}})
        })
        .collect();
    client
        .post("/v1/events/batch", &json!(batch))
        .await?
        .expect(200)?;
    eventually("all are held", SOON, async || {
        (client.count_deliveries(endpoint, "held").await.ok()? == events).then_some(())
    })
    .await
}

async fn enable(client: &Client, endpoint: &str, body: Value) -> Result<Value> {
    let path = format!("/v1/endpoints/{endpoint}/enable");
    client.post(&path, &body).await?.expect(200)
}

fn ids(receiver: &Receiver) -> Vec<String> {
    receiver
        .received("/hook")
        .iter()
        .map(|one| one.id().to_owned())
        .collect()
}

async fn held_deliveries_arrive_in_order_once_the_endpoint_is_enabled(mode: Mode) -> Result<()> {
    let client = Installation::shared(mode).await?.tenant().await?;
    let receiver = Receiver::start().await?;
    // One at a time, so that the order of sending is the order of arrival.
    let settings = json!({"active": false, "max_in_flight": 1});
    let endpoint = client
        .create_endpoint(&receiver.url("/hook"), settings)
        .await?;
    hold(&client, id_of(&endpoint), 60).await?;
    assert_eq!(receiver.count("/hook"), 0);
    enable(&client, id_of(&endpoint), json!({})).await?;
    receiver.wait_for("/hook", 60, 2 * SOON).await?;
    let in_order: Vec<_> = (0..60).map(|n| format!("h-{n}")).collect();
    assert_eq!(ids(&receiver), in_order);
    client
        .delivery_with_status("h-59", "delivered", SOON)
        .await?;
    Ok(())
}

async fn enabling_with_latest_per_license_delivers_the_newest_of_each(mode: Mode) -> Result<()> {
    let client = Installation::shared(mode).await?.tenant().await?;
    let receiver = Receiver::start().await?;
    let endpoint = disabled_endpoint(&client, &receiver).await?;
    hold(&client, &endpoint, 30).await?;
    enable(&client, &endpoint, json!({"held": "latest_per_license"})).await?;
    receiver.wait_for("/hook", 3, SOON).await?;
    client
        .delivery_with_status("h-29", "delivered", SOON)
        .await?;
    let mut arrived = ids(&receiver);
    arrived.sort();
    assert_eq!(arrived, ["h-27", "h-28", "h-29"]);
    assert_eq!(client.count_deliveries(&endpoint, "discarded").await?, 27);
    Ok(())
}

async fn enabling_with_discard_delivers_nothing_of_what_was_held(mode: Mode) -> Result<()> {
    let client = Installation::shared(mode).await?.tenant().await?;
    let receiver = Receiver::start().await?;
    let endpoint = disabled_endpoint(&client, &receiver).await?;
    hold(&client, &endpoint, 30).await?;
    enable(&client, &endpoint, json!({"held": "discard"})).await?;
    assert_eq!(client.count_deliveries(&endpoint, "discarded").await?, 30);
    client
        .publish(&json!({"id": "after", "type": "license.updated", "data": {}}))
        .await?;
    receiver.wait_for("/hook", 1, SOON).await?;
    assert_eq!(ids(&receiver), ["after"]);
    Ok(())
}

async fn what_was_queued_before_an_endpoint_was_disabled_is_held_too(mode: Mode) -> Result<()> {
    const EVENTS: usize = 200;
    let client = Installation::shared(mode).await?.tenant().await?;
    let receiver = Receiver::start().await?;
    receiver.behave("/hook", Behavior::slow(Duration::from_millis(50)));
    let settings = json!({"max_in_flight": 1});
    let endpoint = client
        .create_endpoint(&receiver.url("/hook"), settings)
        .await?;
    let batch: Vec<_> = (0..EVENTS)
        .map(|n| json!({"id": format!("q-{n}"), "type": "license.updated", "data": {}}))
        .collect();
    client
        .post("/v1/events/batch", &json!(batch))
        .await?
        .expect(200)?;
    receiver.wait_for("/hook", 3, SOON).await?;
    let path = format!("/v1/endpoints/{}/disable", id_of(&endpoint));
    let from = Instant::now();
    client.post(&path, &json!({})).await?.expect(200)?;
    let (took, before) = (from.elapsed(), receiver.count("/hook"));
    let mut counts = (0, 0);
    let rest = eventually("the rest is held", 2 * SOON, async || {
        counts.0 = client
            .count_deliveries(id_of(&endpoint), "held")
            .await
            .ok()?;
        counts.1 = client
            .count_deliveries(id_of(&endpoint), "delivered")
            .await
            .ok()?;
        (counts.0 > 0 && counts.0 + counts.1 == EVENTS).then_some(())
    });
    rest.await
        .with_context(|| format!("of {EVENTS} held and delivered: {counts:?}"))?;
    let after = receiver.count("/hook") - before;
    // Another process hears of it a moment later.
    assert!(
        after <= 40,
        "{after} sent after it was disabled, which took {took:?}"
    );
    receiver.behave("/hook", Behavior::status(204));
    enable(&client, id_of(&endpoint), json!({})).await?;
    receiver
        .wait_for_distinct("/hook", EVENTS, 3 * SOON)
        .await?;
    assert_eq!(receiver.count("/hook"), EVENTS, "each once");
    Ok(())
}

async fn an_endpoints_rate_is_kept(mode: Mode) -> Result<()> {
    const PER_SECOND: usize = 10;
    const EVENTS: usize = 50;
    let client = Installation::shared(mode).await?.tenant().await?;
    let receiver = Receiver::start().await?;
    let settings = json!({"rate_limit": {"per_second": PER_SECOND}});
    client
        .create_endpoint(&receiver.url("/hook"), settings)
        .await?;
    let batch: Vec<_> = (0..EVENTS)
        .map(|_| json!({"type": "license.updated", "data": {}}))
        .collect();
    client
        .post("/v1/events/batch", &json!(batch))
        .await?
        .expect(200)?;
    let received = receiver.wait_for("/hook", EVENTS, 3 * SOON).await?;
    // A second's worth may go at once.
    for window in received.windows(2 * PER_SECOND + 1) {
        let took = window[2 * PER_SECOND].at - window[0].at;
        assert!(
            took >= Duration::from_millis(900),
            "{} in {took:?}",
            window.len()
        );
    }
    let took = received[EVENTS - 1].at - received[0].at;
    assert!(took < Duration::from_secs(10), "nor much slower: {took:?}");
    Ok(())
}

async fn an_endpoints_rate_is_used_while_more_keeps_coming(mode: Mode) -> Result<()> {
    const PER_SECOND: usize = 100;
    const COUNTED: usize = 500;
    let client = Installation::shared(mode).await?.tenant().await?;
    let receiver = Receiver::start().await?;
    let settings = json!({"rate_limit": {"per_second": PER_SECOND}});
    client
        .create_endpoint(&receiver.url("/hook"), settings)
        .await?;
    // Twice as many as the rate, until enough have arrived.
    let batch: Vec<_> = (0..PER_SECOND / 5)
        .map(|_| json!({"type": "license.updated", "data": {}}))
        .collect();
    let mut tick = tokio::time::interval(Duration::from_millis(100));
    let until = Instant::now() + 3 * SOON;
    while receiver.count("/hook") < PER_SECOND + COUNTED && Instant::now() < until {
        tick.tick().await;
        client
            .post("/v1/events/batch", &json!(batch))
            .await?
            .expect(200)?;
    }
    let received = receiver
        .wait_for("/hook", PER_SECOND + COUNTED, SOON)
        .await?;
    // The first second's worth may go at once.
    let took = received[PER_SECOND + COUNTED - 1].at - received[PER_SECOND].at;
    let at_four_fifths = Duration::from_millis(6_250);
    assert!(took <= at_four_fifths, "{COUNTED} in {took:?}");
    Ok(())
}

async fn no_more_requests_are_in_flight_than_the_endpoint_allows(mode: Mode) -> Result<()> {
    let client = Installation::shared(mode).await?.tenant().await?;
    let receiver = Receiver::start().await?;
    let service_time = Duration::from_millis(100);
    receiver.behave("/hook", Behavior::slow(service_time));
    let settings = json!({"max_in_flight": 3});
    client
        .create_endpoint(&receiver.url("/hook"), settings)
        .await?;
    let batch: Vec<_> = (0..30)
        .map(|_| json!({"type": "license.updated", "data": {}}))
        .collect();
    client
        .post("/v1/events/batch", &json!(batch))
        .await?
        .expect(200)?;
    let received = receiver.wait_for("/hook", 30, 3 * SOON).await?;
    for window in received.windows(4) {
        let gap = window[3].at - window[0].at;
        assert!(gap >= service_time * 9 / 10, "four within {gap:?}");
    }
    Ok(())
}

async fn a_revocation_overtakes_20000_queued_validations(mode: Mode) -> Result<()> {
    const QUEUED: usize = 20_000;
    let installation = Installation::start(mode).await?;
    let client = installation.tenant().await?;
    let receiver = Receiver::start().await?;
    receiver.behave("/hook", Behavior::slow(Duration::from_millis(20)));
    let settings = json!({"max_in_flight": 16});
    client
        .create_endpoint(&receiver.url("/hook"), settings)
        .await?;
    for thousand in 0..QUEUED / 1000 {
        let batch: Vec<_> = (0..1000)
            .map(|n| {
                json!({"id": format!("v-{thousand}-{n}"), "type": "license.validated",
                "data": {"license": {"id": "lic_o"}}})
            })
            .collect();
        client
            .post("/v1/events/batch", &json!(batch))
            .await?
            .expect(200)?;
    }
    assert!(
        receiver.count("/hook") < QUEUED / 2,
        "too few are left to overtake"
    );
    let from = Instant::now();
    let event =
        json!({"id": "revoked", "type": "license.revoked", "data": {"license": {"id": "lic_o"}}});
    client.publish(&event).await?;
    let arrival = eventually("the revocation", SOON, async || {
        receiver
            .received("/hook")
            .iter()
            .find(|one| one.id() == "revoked")
            .map(|one| one.at)
    });
    let waited = arrival.await?.duration_since(from);
    assert!(waited < Duration::from_secs(1), "{waited:?}");
    let before = receiver.count("/hook");
    assert!(before < QUEUED, "it overtook nothing: {before}");
    let metrics = installation.dispatcher().metrics().await?;
    metrics
        .contains("fanfare_attempts_total")
        .then_some(())
        .context(metrics)
}
