//! An endpoint that keeps failing gets no traffic until a probe succeeds.

use std::time::Duration;

use anyhow::Result;
use e2e::{Installation, Mode, SOON, id_of, in_both_modes};
use serde_json::{Value, json};
use testkit::{Behavior, Client, Receiver, eventually};

in_both_modes!(
    a_circuit_opens_holds_probes_and_releases,
    a_circuit_may_disable_its_endpoint,
    a_success_in_between_keeps_the_circuit_closed,
);

/// When the first probe goes out after a circuit opened.
const PROBE_AFTER: Duration = Duration::from_secs(30);

async fn publish(client: &Client, ids: impl IntoIterator<Item = String>) -> Result<()> {
    for id in ids {
        client
            .publish(&json!({"id": id, "type": "license.updated", "data": {}}))
            .await?;
    }
    Ok(())
}

async fn endpoint_when(
    client: &Client,
    id: &str,
    what: &str,
    condition: impl Fn(&Value) -> bool,
) -> Result<Value> {
    let path = format!("/v1/endpoints/{id}");
    eventually(what, SOON, async || {
        let now = client.get(&path).await.ok()?.json();
        condition(&now).then_some(now)
    })
    .await
}

async fn a_circuit_opens_holds_probes_and_releases(mode: Mode) -> Result<()> {
    let client = Installation::shared(mode).await?.tenant().await?;
    let receiver = Receiver::start().await?;
    receiver.behave("/hook", Behavior::status(500));
    let settings = json!({"circuit": {"open_after": 3}, "max_in_flight": 1,
        "retry": {"delays_s": [1, 1, 1, 1, 1, 1]}});
    let endpoint = client
        .create_endpoint(&receiver.url("/hook"), settings)
        .await?;
    let endpoint = id_of(&endpoint);
    publish(&client, ["c-0".to_owned()]).await?;
    let open = endpoint_when(&client, endpoint, "the circuit opens", |now| {
        now["circuit"]["state"] == "open"
    })
    .await?;
    assert!(open["circuit"]["probe_at"].is_string(), "{open}");
    assert_eq!(receiver.count("/hook"), 3, "it opens after three failures");

    publish(&client, (1..40).map(|n| format!("c-{n}"))).await?;
    eventually("everything is held", SOON, async || {
        (client.count_deliveries(endpoint, "held").await.ok()? == 40).then_some(())
    })
    .await?;
    assert_eq!(receiver.count("/hook"), 3, "nothing circulates");

    receiver.behave("/hook", Behavior::status(204));
    let received = receiver.wait_for("/hook", 4, PROBE_AFTER + SOON).await?;
    let waited = received[3].at - received[2].at;
    assert!(
        waited >= PROBE_AFTER - Duration::from_secs(1),
        "a probe after {waited:?}"
    );
    receiver.wait_for("/hook", 43, SOON).await?;
    eventually("everything is delivered", SOON, async || {
        (client.count_deliveries(endpoint, "delivered").await.ok()? == 40).then_some(())
    })
    .await?;
    let order: Vec<_> = receiver.received("/hook")[3..]
        .iter()
        .map(|one| one.id().to_owned())
        .collect();
    let in_order: Vec<_> = (0..40).map(|n| format!("c-{n}")).collect();
    assert_eq!(order, in_order, "released in order, each once");
    endpoint_when(&client, endpoint, "the circuit is closed", |now| {
        now["circuit"]["state"] == "closed"
    })
    .await?;
    Ok(())
}

async fn a_circuit_may_disable_its_endpoint(mode: Mode) -> Result<()> {
    let client = Installation::shared(mode).await?.tenant().await?;
    let receiver = Receiver::start().await?;
    receiver.behave("/hook", Behavior::status(500));
    let settings = json!({"circuit": {"open_after": 2, "action": "disable"},
        "retry": {"delays_s": [1, 1, 1]}});
    let endpoint = client
        .create_endpoint(&receiver.url("/hook"), settings)
        .await?;
    let endpoint = id_of(&endpoint);
    publish(&client, (0..5).map(|n| format!("d-{n}"))).await?;
    let off = endpoint_when(&client, endpoint, "disabled", |now| now["active"] == false).await?;
    assert_eq!(off["disabled_reason"], "circuit_opened", "{off}");
    eventually("everything is held", SOON, async || {
        (client.count_deliveries(endpoint, "held").await.ok()? == 5).then_some(())
    })
    .await?;
    receiver.behave("/hook", Behavior::status(204));
    client
        .post(&format!("/v1/endpoints/{endpoint}/enable"), &json!({}))
        .await?
        .expect(200)?;
    // Enabling closes the circuit as well: nothing waits for a probe.
    eventually("everything is delivered", SOON, async || {
        (client.count_deliveries(endpoint, "delivered").await.ok()? == 5).then_some(())
    })
    .await
}

async fn a_success_in_between_keeps_the_circuit_closed(mode: Mode) -> Result<()> {
    let client = Installation::shared(mode).await?.tenant().await?;
    let receiver = Receiver::start().await?;
    let failing_twice = [
        Behavior::status(500),
        Behavior::status(500),
        Behavior::status(204),
    ];
    receiver.script("/hook", failing_twice.iter().cycle().take(12).cloned());
    let settings = json!({"circuit": {"open_after": 3}, "max_in_flight": 1,
        "retry": {"delays_s": [1, 1, 1]}});
    let endpoint = client
        .create_endpoint(&receiver.url("/hook"), settings)
        .await?;
    for n in 0..4 {
        publish(&client, [format!("e-{n}")]).await?;
        client
            .delivery_with_status(&format!("e-{n}"), "delivered", SOON)
            .await?;
    }
    assert_eq!(receiver.count("/hook"), 12);
    let path = format!("/v1/endpoints/{}", id_of(&endpoint));
    let now = client.get(&path).await?.expect(200)?;
    assert_eq!(now["circuit"]["state"], "closed", "{now}");
    Ok(())
}
