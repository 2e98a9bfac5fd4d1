//! What fails is tried again as its schedule says, visibly, and ends as the endpoint wants it.

use std::time::Duration;

use anyhow::Result;
use e2e::{Installation, Mode, SOON, attempts_of, id_of, in_both_modes, verifies};
use serde_json::{Value, json};
use testkit::{Behavior, Client, Receiver, eventually};

in_both_modes!(
    a_failed_attempt_is_made_again_with_the_same_id,
    retry_after_postpones_the_next_attempt,
    a_schedule_that_is_exhausted_fails_the_delivery,
    an_exhausted_delivery_disables_the_endpoint_that_asked_for_it,
    an_answer_of_410_disables_the_endpoint,
    what_cannot_be_put_into_the_dialect_fails_at_once_and_says_why,
    a_failed_delivery_can_be_sent_again_by_hand,
    failed_deliveries_can_be_sent_again_by_filter,
    a_waiting_retry_goes_to_the_url_as_it_is_by_then,
);

async fn publish(client: &Client, id: &str) -> Result<Value> {
    let event = json!({"id": id, "type": "license.created", "data": {"license": {"id": "lic_r"}}});
    client.publish(&event).await
}

fn statuses(delivery: &Value) -> Vec<u64> {
    attempts_of(delivery)
        .iter()
        .filter_map(|attempt| attempt["status_code"].as_u64())
        .collect()
}

async fn a_failed_attempt_is_made_again_with_the_same_id(mode: Mode) -> Result<()> {
    let client = Installation::shared(mode).await?.tenant().await?;
    let receiver = Receiver::start().await?;
    receiver.script("/hook", [Behavior::status(500), Behavior::status(302)]);
    let settings = json!({"retry": {"delays_s": [2, 1]}});
    let endpoint = client
        .create_endpoint(&receiver.url("/hook"), settings)
        .await?;
    publish(&client, "r-1").await?;

    let waiting = client.delivery_with_status("r-1", "retrying", SOON).await?;
    assert!(waiting["next_attempt_at"].is_string(), "{waiting}");
    assert_eq!(statuses(&waiting), [500], "{waiting}");

    let delivered = client
        .delivery_with_status("r-1", "delivered", SOON)
        .await?;
    assert_eq!(
        statuses(&delivered),
        [500, 302, 204],
        "a redirect is not followed: {delivered}"
    );
    let numbers: Vec<_> = attempts_of(&delivered)
        .iter()
        .map(|one| one["number"].clone())
        .collect();
    assert_eq!(numbers, [1, 2, 3]);

    let received = receiver.received("/hook");
    let [first, second, third] = received.as_slice() else {
        panic!("three: {received:?}")
    };
    let gaps = [second.at - first.at, third.at - second.at];
    for (gap, delay_s) in gaps.into_iter().zip([2.0, 1.0]) {
        // Never early; jitter lengthens by a tenth at most, the queue by a second at most.
        let latest = Duration::from_secs_f64(delay_s * 1.1 + 1.0);
        assert!(
            gap >= Duration::from_secs_f64(delay_s) && gap <= latest,
            "{gaps:?}"
        );
    }
    let secret = endpoint["secret"].as_str().unwrap_or_default();
    for request in &received {
        assert_eq!(request.id(), "r-1");
        assert!(
            verifies(request, secret),
            "each attempt is signed: {request:?}"
        );
    }
    Ok(())
}

async fn retry_after_postpones_the_next_attempt(mode: Mode) -> Result<()> {
    let client = Installation::shared(mode).await?.tenant().await?;
    let receiver = Receiver::start().await?;
    receiver.script("/later", [Behavior::with_header(503, "Retry-After", "4")]);
    receiver.script("/sooner", [Behavior::with_header(429, "Retry-After", "0")]);
    let settings = json!({"retry": {"delays_s": [2]}});
    client
        .create_endpoint(&receiver.url("/later"), settings.clone())
        .await?;
    client
        .create_endpoint(&receiver.url("/sooner"), settings)
        .await?;
    publish(&client, "r-2").await?;
    let later = receiver.wait_for("/later", 2, SOON).await?;
    let sooner = receiver.wait_for("/sooner", 2, SOON).await?;
    let gap = later[1].at - later[0].at;
    assert!(
        gap >= Duration::from_secs(4) && gap < Duration::from_millis(5500),
        "{gap:?}"
    );
    let gap = sooner[1].at - sooner[0].at;
    assert!(gap >= Duration::from_secs(2), "it only postpones: {gap:?}");
    Ok(())
}

async fn a_schedule_that_is_exhausted_fails_the_delivery(mode: Mode) -> Result<()> {
    let client = Installation::shared(mode).await?.tenant().await?;
    let receiver = Receiver::start().await?;
    receiver.behave("/hook", Behavior::status(500));
    let settings = json!({"retry": {"delays_s": [1]}});
    let endpoint = client
        .create_endpoint(&receiver.url("/hook"), settings)
        .await?;
    publish(&client, "r-3").await?;
    let failed = client.delivery_with_status("r-3", "failed", SOON).await?;
    assert_eq!(statuses(&failed), [500, 500]);
    assert!(failed["next_attempt_at"].is_null(), "{failed}");
    let path = format!("/v1/endpoints/{}", id_of(&endpoint));
    assert_eq!(client.get(&path).await?.expect(200)?["active"], true);
    Ok(())
}

async fn disabled(client: &Client, endpoint: &Value, reason: &str) -> Result<()> {
    let path = format!("/v1/endpoints/{}", id_of(endpoint));
    let found = eventually("the endpoint is disabled", SOON, async || {
        let now = client.get(&path).await.ok()?.json();
        (now["active"] == false).then_some(now)
    })
    .await?;
    assert_eq!(found["disabled_reason"], reason, "{found}");
    Ok(())
}

async fn an_exhausted_delivery_disables_the_endpoint_that_asked_for_it(mode: Mode) -> Result<()> {
    let client = Installation::shared(mode).await?.tenant().await?;
    let receiver = Receiver::start().await?;
    receiver.behave("/hook", Behavior::status(500));
    let settings = json!({"retry": {"delays_s": []}, "on_exhausted": "disable"});
    let endpoint = client
        .create_endpoint(&receiver.url("/hook"), settings)
        .await?;
    publish(&client, "r-4").await?;
    client.delivery_with_status("r-4", "failed", SOON).await?;
    disabled(&client, &endpoint, "exhausted").await
}

async fn an_answer_of_410_disables_the_endpoint(mode: Mode) -> Result<()> {
    let client = Installation::shared(mode).await?.tenant().await?;
    let receiver = Receiver::start().await?;
    receiver.behave("/hook", Behavior::status(410));
    let endpoint = client
        .create_endpoint(&receiver.url("/hook"), json!({}))
        .await?;
    publish(&client, "r-5").await?;
    let failed = client.delivery_with_status("r-5", "failed", SOON).await?;
    assert_eq!(
        statuses(&failed),
        [410],
        "asked once and never again: {failed}"
    );
    disabled(&client, &endpoint, "gone").await?;
    // What comes now is held, not lost.
    publish(&client, "r-6").await?;
    client.delivery_with_status("r-6", "held", SOON).await?;
    assert_eq!(receiver.count("/hook"), 1);
    Ok(())
}

async fn what_cannot_be_put_into_the_dialect_fails_at_once_and_says_why(mode: Mode) -> Result<()> {
    let client = Installation::shared(mode).await?.tenant().await?;
    let receiver = Receiver::start().await?;
    let settings = json!({
        "dialect": "keyport", "dialect_options": {"unmapped": "passthrough"},
        "on_exhausted": "disable", "circuit": {"open_after": 1, "action": "disable"},
        "active": false,
    });
    let endpoint = client
        .create_endpoint(&receiver.url("/hook"), settings)
        .await?;
    let registered = json!({"name": "odd.happened", "description": "Odd."});
    client.post("/v1/event-types", &registered).await?;
    let odd = json!({"id": "odd", "type": "odd.happened", "data": {}});
    client.publish(&odd).await?;
    client.delivery_with_status("odd", "held", SOON).await?;
    let path = format!("/v1/endpoints/{}", id_of(&endpoint));
    let patch = json!({"dialect_options": {"unmapped": "skip"}, "active": true});
    client.patch(&path, &patch).await?.expect(200)?;
    let failed = client.delivery_with_status("odd", "failed", SOON).await?;
    let attempts = attempts_of(&failed);
    assert_eq!(attempts.len(), 1, "{failed}");
    assert_eq!(attempts[0]["error"], "render_failed", "{failed}");
    let detail = attempts[0]["error_detail"].as_str().unwrap_or_default();
    assert!(detail.contains("no name for this event type"), "{failed}");

    publish(&client, "r-6").await?;
    client
        .delivery_with_status("r-6", "delivered", SOON)
        .await?;
    assert_eq!(receiver.count("/hook"), 1);
    Ok(())
}

async fn a_failed_delivery_can_be_sent_again_by_hand(mode: Mode) -> Result<()> {
    let client = Installation::shared(mode).await?.tenant().await?;
    let receiver = Receiver::start().await?;
    receiver.script("/hook", [Behavior::status(500)]);
    let settings = json!({"retry": {"delays_s": []}});
    client
        .create_endpoint(&receiver.url("/hook"), settings)
        .await?;
    publish(&client, "r-7").await?;
    let failed = client.delivery_with_status("r-7", "failed", SOON).await?;
    let answer = client
        .post(
            &format!("/v1/deliveries/{}/retry", id_of(&failed)),
            &json!({}),
        )
        .await?;
    assert_eq!(answer.status / 100, 2, "{}", answer.text());
    let delivered = client
        .delivery_with_status("r-7", "delivered", SOON)
        .await?;
    assert_eq!(statuses(&delivered), [500, 204]);
    assert_eq!(id_of(&delivered), id_of(&failed));
    let received = receiver.received("/hook");
    assert_eq!(received[0].id(), received[1].id(), "the receiver can tell");
    Ok(())
}

async fn failed_deliveries_can_be_sent_again_by_filter(mode: Mode) -> Result<()> {
    let client = Installation::shared(mode).await?.tenant().await?;
    let receiver = Receiver::start().await?;
    receiver.behave("/hook", Behavior::status(500));
    let settings = json!({"retry": {"delays_s": []}, "circuit": {"open_after": 1000}});
    let endpoint = client
        .create_endpoint(&receiver.url("/hook"), settings)
        .await?;
    for n in 0..10 {
        publish(&client, &format!("r-8-{n}")).await?;
    }
    let all_are = async |status: &str| {
        eventually(status, SOON, async || {
            let count = client
                .count_deliveries(id_of(&endpoint), status)
                .await
                .ok()?;
            (count == 10).then_some(())
        })
        .await
    };
    all_are("failed").await?;
    receiver.behave("/hook", Behavior::status(204));
    let filter = json!({"endpoint": id_of(&endpoint), "status": "failed"});
    let answer = client.post("/v1/deliveries/retry", &filter).await?;
    assert_eq!(answer.status / 100, 2, "{}", answer.text());
    all_are("delivered").await
}

async fn a_waiting_retry_goes_to_the_url_as_it_is_by_then(mode: Mode) -> Result<()> {
    let client = Installation::shared(mode).await?.tenant().await?;
    let receiver = Receiver::start().await?;
    receiver.behave("/old", Behavior::status(500));
    let settings = json!({"retry": {"delays_s": [3]}});
    let endpoint = client
        .create_endpoint(&receiver.url("/old"), settings)
        .await?;
    publish(&client, "r-9").await?;
    client.delivery_with_status("r-9", "retrying", SOON).await?;
    let path = format!("/v1/endpoints/{}", id_of(&endpoint));
    client
        .patch(&path, &json!({"url": receiver.url("/new")}))
        .await?
        .expect(200)?;
    receiver.wait_for("/new", 1, SOON).await?;
    assert_eq!(receiver.count("/old"), 1);
    Ok(())
}
