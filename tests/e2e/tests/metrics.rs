//! What an operator sees of the whole.

use std::time::Duration;

use anyhow::{Context, Result};
use e2e::{Installation, Mode, SOON, id_of};
use serde_json::json;
use testkit::{Behavior, Client, Fanfare, Receiver, Role, Services, eventually};

/// The exporter looks every quarter of a minute; twice, on a busy machine.
const SEEN_WITHIN: Duration = Duration::from_secs(40);
const EVENTS: usize = 3;

/// The value of a series as it is written, `name{label="value"}`.
fn value(text: &str, series: &str) -> Option<f64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(series))?;
    rest.strip_prefix(' ')?.parse().ok()
}

/// Waits until every series has its value.
async fn shows(process: &Fanfare, expected: &[(&str, f64)]) -> Result<String> {
    let shown = eventually("the metrics", SEEN_WITHIN, async || {
        let text = process.metrics().await.ok()?;
        let all = expected
            .iter()
            .all(|(series, expected)| value(&text, series) == Some(*expected));
        all.then_some(text)
    });
    match shown.await {
        Ok(text) => Ok(text),
        Err(error) => {
            let text = process.metrics().await?;
            let wrong: Vec<_> = expected
                .iter()
                .map(|(series, expected)| (series, expected, value(&text, series)))
                .filter(|(_, expected, found)| *found != Some(**expected))
                .collect();
            Err(error).with_context(|| format!("series, expected, found: {wrong:?}"))
        }
    }
}

/// One endpoint that answers, one that fails and is tried again in an hour, one that is disabled.
async fn some_of_everything(client: &Client, receiver: &Receiver) -> Result<String> {
    receiver.behave("/fails", Behavior::status(500));
    let answers = client
        .create_endpoint(&receiver.url("/answers"), json!({}))
        .await?;
    let retry = json!({"retry": {"delays_s": [3600]}});
    client
        .create_endpoint(&receiver.url("/fails"), retry)
        .await?;
    let disabled = client
        .create_endpoint(&receiver.url("/disabled"), json!({}))
        .await?;
    let disable = format!("/v1/endpoints/{}/disable", id_of(&disabled));
    client.post(&disable, &json!({})).await?.expect(200)?;
    for n in 0..EVENTS {
        client
            .publish(&json!({"id": format!("m-{n}"), "type": "license.created", "data": {}}))
            .await?;
    }
    receiver.wait_for("/answers", EVENTS, SOON).await?;
    receiver.wait_for("/fails", EVENTS, SOON).await?;
    Ok(id_of(&answers).to_owned())
}

const WHOLE: &[(&str, f64)] = &[
    ("fanfare_store_deliveries_accepted", 9.0),
    (r#"fanfare_store_deliveries{status="delivered"}"#, 3.0),
    (r#"fanfare_store_deliveries{status="retrying"}"#, 3.0),
    (r#"fanfare_store_deliveries{status="held"}"#, 3.0),
    (
        r#"fanfare_store_deliveries_held{reason="endpoint_disabled"}"#,
        3.0,
    ),
    ("fanfare_balance_difference", 0.0),
    ("fanfare_deliveries_overdue", 0.0),
    ("fanfare_retries_scheduled", 3.0),
    ("fanfare_events_rejected", 0.0),
    (r#"fanfare_endpoints{state="active"}"#, 2.0),
    (r#"fanfare_endpoints{state="disabled"}"#, 1.0),
    (r#"fanfare_endpoints_disabled{reason="requested"}"#, 1.0),
    (r#"fanfare_circuits{state="open"}"#, 0.0),
    ("fanfare_shared_state_up", 1.0),
    ("fanfare_exporter_up", 1.0),
    (r#"fanfare_dependency_up{dependency="broker"}"#, 1.0),
];

#[tokio::test]
async fn an_exporter_shows_the_whole_installation() -> Result<()> {
    let _turn = testkit::among_others().await;
    let per_endpoint =
        |settings: testkit::Settings| settings.with("FANFARE__METRICS__PER_ENDPOINT", "true");
    let installation = Installation::start_with(Mode::Services, per_endpoint).await?;
    let management = Services::shared()?.management_url().await?;
    let settings = installation.ingest.settings().clone();
    let settings = settings.with("FANFARE__BROKER__MANAGEMENT_URL", &management);
    let exporter = Fanfare::start(Role::Exporter, settings).await?;
    let (tenant, client) = installation.named_tenant().await?;
    let receiver = Receiver::start().await?;
    let endpoint = some_of_everything(&client, &receiver).await?;

    let text = shows(&exporter, WHOLE).await?;
    assert!(value(&text, "fanfare_oldest_undelivered_seconds").is_some_and(|age| age > 0.0));
    let of_services = [
        (r#"fanfare_queue_ready{queue="fanfare.delay.3600"}"#, 3.0),
        (
            r#"fanfare_queue_consumers{queue="fanfare.deliveries"}"#,
            1.0,
        ),
        (r#"fanfare_queue_unacked{queue="fanfare.deliveries"}"#, 0.0),
        (
            r#"fanfare_queue_publish_total{queue="fanfare.delay.3600"}"#,
            3.0,
        ),
        ("fanfare_broker_connection_blocked", 0.0),
    ];
    let text = shows(&exporter, &of_services).await?;
    for series in [
        "fanfare_shared_state_bytes",
        "fanfare_store_partitions",
        r#"fanfare_store_bytes{table="attempts"}"#,
        r#"fanfare_store_connections{state="active"}"#,
        r#"fanfare_exporter_last_look_timestamp_seconds{part="management"}"#,
    ] {
        assert!(
            value(&text, series).is_some_and(|value| value > 0.0),
            "{series}"
        );
    }
    assert!(!text.contains("guest:guest"));

    let of_tenant = format!(
        r#"fanfare_tenant_deliveries_finished_total{{status="delivered",tenant="{tenant}"}}"#
    );
    let of_endpoint =
        format!(r#"fanfare_endpoint_attempts_total{{endpoint="{endpoint}",outcome="2xx"}}"#);
    let of_dispatcher = [
        (of_tenant.as_str(), 3.0),
        (of_endpoint.as_str(), 3.0),
        (r#"fanfare_dependency_up{dependency="store"}"#, 1.0),
    ];
    shows(installation.dispatcher(), &of_dispatcher).await?;
    Ok(())
}

#[tokio::test]
async fn one_process_shows_the_whole_installation() -> Result<()> {
    let _turn = testkit::among_others().await;
    let installation = Installation::start(Mode::Embedded).await?;
    let receiver = Receiver::start().await?;
    some_of_everything(&installation.tenant().await?, &receiver).await?;
    let text = shows(&installation.ingest, WHOLE).await?;
    assert_eq!(
        value(&text, r#"fanfare_queue_ready{queue="fanfare.delay"}"#),
        Some(3.0)
    );
    assert!(value(&text, r#"fanfare_store_bytes{table="database"}"#).is_some());
    assert!(text.contains(r#"fanfare_build_info{role="serve","#));
    assert!(
        !text.contains("fanfare_endpoint_attempts_total"),
        "endpoints have no series unless asked for"
    );
    Ok(())
}

#[tokio::test]
async fn a_delivery_that_is_sent_once_more_is_not_late_once_more() -> Result<()> {
    let _turn = testkit::among_others().await;
    let installation = Installation::start(Mode::Embedded).await?;
    let client = installation.tenant().await?;
    let receiver = Receiver::start().await?;
    client
        .create_endpoint(&receiver.url("/hook"), json!({}))
        .await?;
    let event = json!({"id": "m-1", "type": "license.created", "data": {}});
    client.publish(&event).await?;
    let counted = |deliveries| ("fanfare_delivery_seconds_count", deliveries);
    shows(&installation.ingest, &[counted(1.0)]).await?;
    let delivery = client
        .delivery_with_status("m-1", "delivered", SOON)
        .await?;
    let retry = format!("/v1/deliveries/{}/retry", id_of(&delivery));
    client.post(&retry, &json!({})).await?.expect(202)?;
    let finished = r#"fanfare_deliveries_finished_total{status="delivered"}"#;
    shows(&installation.ingest, &[(finished, 2.0), counted(1.0)]).await?;
    Ok(())
}
