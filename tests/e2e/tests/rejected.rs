//! Events over AMQP, from a program in another language; and messages nobody can read.

use std::process::Stdio;

use anyhow::{Result, ensure};
use e2e::{Installation, Mode, SOON, id_of, items};
use serde_json::{Value, json};
use testkit::{Client, Receiver, among_others, eventually};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

/// Publishes to an exchange, with confirms: the URL and the exchange are arguments, each line of
/// standard input is a message as JSON.
const PUBLISHER: &str = r#"
import json, sys, pika
connection = pika.BlockingConnection(pika.URLParameters(sys.argv[1]))
channel = connection.channel()
channel.confirm_delivery()
for line in sys.stdin:
    message = json.loads(line)
    properties = pika.BasicProperties(
        delivery_mode=2, content_type=message.get("content_type", "application/json"),
        message_id=message.get("message_id"), headers=message.get("headers"))
    channel.basic_publish(sys.argv[2], message["routing_key"], message["body"].encode(),
                          properties, mandatory=True)
connection.close()
"#;

pub(crate) async fn publish(
    installation: &Installation,
    exchange: &str,
    messages: &[Value],
) -> Result<()> {
    // Debian's Python: the one its python3-pika belongs to.
    let mut python = Command::new("/usr/bin/python3")
        .args(["-c", PUBLISHER, installation.broker_url()?, exchange])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let lines: String = messages
        .iter()
        .map(|message| format!("{message}\n"))
        .collect();
    if let Some(mut stdin) = python.stdin.take() {
        stdin.write_all(lines.as_bytes()).await?;
    }
    let output = python.wait_with_output().await?;
    ensure!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

pub(crate) fn message(tenant: &str, routing_key: &str, body: impl ToString) -> Value {
    json!({"routing_key": routing_key, "body": body.to_string(), "headers": {"fanfare-tenant": tenant}})
}

#[tokio::test]
async fn a_python_program_publishes_over_amqp() -> Result<()> {
    let _turn = among_others().await;
    let installation = Installation::shared(Mode::Services).await?;
    let (tenant, client) = installation.named_tenant().await?;
    let receiver = Receiver::start().await?;
    client
        .create_endpoint(&receiver.url("/hook"), json!({}))
        .await?;
    let mut messages: Vec<_> = (0..500)
        .map(|n| {
            let event = json!({"id": format!("py-{n}"), "type": "license.validated",
                "data": {"license": {"id": "lic_py"}}});
            message(&tenant, "license.validated", event)
        })
        .collect();
    let mut with_message_id = message(
        &tenant,
        "license.created",
        json!({"type": "license.created", "data": {}}),
    );
    with_message_id["message_id"] = json!("py-named");
    let cloud_event = json!({"specversion": "1.0", "id": "py-cloud", "source": "/py",
        "type": "license.created", "data": {}});
    let mut cloud_event = message(&tenant, "license.created", cloud_event);
    cloud_event["content_type"] = json!("application/cloudevents+json");
    messages.extend([with_message_id, cloud_event]);
    messages.push(messages[0].clone());
    publish(installation, "license.events", &messages).await?;
    receiver.wait_for_distinct("/hook", 502, 2 * SOON).await?;
    for id in ["py-0", "py-499", "py-named", "py-cloud"] {
        let delivery = client.delivery_with_status(id, "delivered", SOON).await?;
        ensure!(!id_of(&delivery).is_empty());
    }
    let event = client.get("/v1/events/py-499").await?.expect(200)?;
    ensure!(
        event["sequence"]
            .as_u64()
            .is_some_and(|n| (1..=500).contains(&n)),
        "{event}"
    );
    ensure!(
        receiver.count("/hook") == 502,
        "the repetition is delivered to nobody"
    );
    Ok(())
}

async fn rejected_when(client: &Client, count: usize) -> Result<Vec<Value>> {
    eventually("rejected messages are listed", SOON, async || {
        let list = client.get("/v1/rejected").await.ok()?.json();
        let items = list["items"].as_array()?;
        (items.len() == count).then(|| items.clone())
    })
    .await
}

#[tokio::test]
async fn what_cannot_be_understood_is_listed_with_its_reason_and_can_be_sent_again() -> Result<()> {
    let _turn = among_others().await;
    let installation = Installation::start(Mode::Services).await?;
    let (tenant, client) = installation.named_tenant().await?;
    let receiver = Receiver::start().await?;
    client
        .create_endpoint(&receiver.url("/hook"), json!({}))
        .await?;
    let unknown = json!({"id": "later", "type": "license.teleported", "data": {}});
    let good = json!({"id": "good", "type": "license.created", "data": {}});
    let mut without_tenant = message("", "license.created", &good);
    without_tenant["headers"] = json!({});
    let mut named = message(&tenant, "license.teleported", unknown);
    named["message_id"] = json!("later");
    publish(
        &installation,
        "license.events",
        &[
            message(&tenant, "license.created", "{not json"),
            named,
            without_tenant,
            message("nobody", "license.created", &good),
            message(&tenant, "license.created", &good),
        ],
    )
    .await?;
    // The good one behind them went through.
    receiver.wait_for("/hook", 1, SOON).await?;
    let rejected = rejected_when(&client, 2).await?;
    let operator = installation.operator()?;
    // Looking takes nothing away, however often.
    for _ in 0..30 {
        rejected_when(&operator, 4).await?;
    }
    for one in &rejected {
        let reason = one["reason"].as_str().unwrap_or_default();
        ensure!(
            !reason.is_empty() && one["rejected_at"].is_string(),
            "{one}"
        );
    }
    ensure!(
        rejected
            .iter()
            .any(|one| one["reason"].to_string().contains("type")),
        "{rejected:?}"
    );

    let registered = json!({"name": "license.teleported", "description": "It is elsewhere."});
    let answer = client.post("/v1/event-types", &registered).await?;
    ensure!(answer.status / 100 == 2, "{}", answer.text());
    let again = json!({"message_ids": ["later"]});
    let answer = client.post("/v1/rejected/retry", &again).await?;
    ensure!(answer.status / 100 == 2, "{}", answer.text());
    receiver.wait_for_distinct("/hook", 2, SOON).await?;
    rejected_when(&client, 1).await?;
    let metrics = installation.ingest.metrics().await?;
    ensure!(metrics.contains("rejected"), "counted");
    Ok(())
}

#[tokio::test]
async fn an_unreadable_message_on_an_inner_queue_is_parked_and_the_consumer_goes_on() -> Result<()>
{
    let _turn = among_others().await;
    let installation = Installation::start(Mode::Services).await?;
    let client = installation.tenant().await?;
    let receiver = Receiver::start().await?;
    client
        .create_endpoint(&receiver.url("/hook"), json!({}))
        .await?;
    let nonsense = |queue: &str| json!({"routing_key": queue, "body": "\u{0}nonsense"});
    let queues = [
        "fanfare.deliveries",
        "fanfare.deliveries.urgent",
        "fanfare.outcomes",
    ];
    // The default exchange routes by the queue's name.
    publish(&installation, "", &queues.map(nonsense)).await?;
    client
        .publish(&json!({"id": "after", "type": "license.created", "data": {}}))
        .await?;
    client
        .publish(&json!({"id": "urgent", "type": "license.revoked", "data": {}}))
        .await?;
    receiver.wait_for_distinct("/hook", 2, SOON).await?;
    let counted = |metrics: &str, queue: &str| {
        let name = format!(r#"fanfare_messages_parked_total{{queue="{queue}"}} 1"#);
        metrics.lines().any(|line| line == name)
    };
    eventually("all are parked and counted", SOON, async || {
        let metrics = installation.dispatcher().metrics().await.ok()?;
        queues
            .iter()
            .all(|queue| counted(&metrics, queue))
            .then_some(())
    })
    .await?;
    let operator = installation.operator()?;
    // Looking takes nothing away, however often.
    for look in 0..30 {
        let mut from = Vec::new();
        let mut path = "/v1/parked?limit=2".to_owned();
        loop {
            let page = operator.get(&path).await?.expect(200)?;
            for one in items(&page) {
                ensure!(
                    one["parked_at"].is_string() && one["body_bytes"] == 9,
                    "{one}"
                );
                ensure!(
                    one["reason"].as_str().is_some_and(|why| !why.is_empty()),
                    "{one}"
                );
                ensure!(!one.to_string().contains("nonsense"), "no body: {one}");
                from.push(one["queue"].as_str().unwrap_or_default().to_owned());
            }
            let Some(cursor) = page["next_cursor"].as_str() else {
                break;
            };
            path = format!("/v1/parked?limit=2&cursor={cursor}");
        }
        from.sort_unstable();
        ensure!(from == queues, "look {look}: {from:?}");
    }
    Ok(())
}
