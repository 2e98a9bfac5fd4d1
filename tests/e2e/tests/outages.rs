//! RabbitMQ, PostgreSQL and Redis die under load and come back: nothing is lost, events are taken
//! in throughout, and everything goes on by itself.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::{Installation, Weather, full_length};
use testkit::{LoadReport, Service, among_others, eventually};

const LIMIT: Duration = Duration::from_secs(120);
/// Deliveries go on so soon after RabbitMQ is back.
const RESUMES_WITHIN: Duration = Duration::from_secs(10);

/// Events a second, and how many: the load goes on for `seconds` and a little.
fn load(seconds: usize) -> (usize, u32) {
    let per_second: u32 = if full_length() { 500 } else { 200 };
    (per_second as usize * seconds, per_second)
}

fn taken_in_throughout(report: &LoadReport) -> Result<()> {
    ensure!(
        report.refused.is_empty() && report.broken == 0,
        "not every answer was 202: {report:?}"
    );
    Ok(())
}

#[tokio::test]
async fn rabbitmq_killed_and_back_after_10_s() -> Result<()> {
    let _turn = among_others().await;
    let installation = Installation::on_private_services().await?;
    let services = installation.services()?;
    let (events, per_second) = load(20);
    let mut weather = Weather::start(&installation, "rabbit", events, Some(per_second)).await?;
    weather.accepted_at_least(events / 5, LIMIT).await?;
    weather.disturb();
    services.kill(Service::RabbitMq).await?;
    tokio::time::sleep(Duration::from_secs(10)).await;
    services.start(Service::RabbitMq).await?;
    resumes(&mut weather).await?;
    let report = weather.clears_up(LIMIT, 2).await?;
    taken_in_throughout(&report)
}

/// Waits until something arrives that had not, and notes that the disturbance is over.
async fn resumes(weather: &mut Weather) -> Result<()> {
    weather.disturb();
    let before = weather.arrived();
    let resumed = eventually("deliveries go on", RESUMES_WITHIN, async || {
        (weather.arrived() > before).then_some(())
    });
    resumed
        .await
        .with_context(|| format!("{before} had arrived"))?;
    weather.disturb();
    Ok(())
}

#[tokio::test]
async fn rabbitmq_wiped_entirely() -> Result<()> {
    let _turn = among_others().await;
    let installation = Installation::on_private_services().await?;
    let services = installation.services()?;
    let (events, per_second) = load(20);
    let mut weather = Weather::start(&installation, "wipe", events, Some(per_second)).await?;
    weather.accepted_at_least(events / 5, LIMIT).await?;
    weather.disturb();
    services.wipe(Service::RabbitMq).await?;
    services.start(Service::RabbitMq).await?;
    resumes(&mut weather).await?;
    let report = weather.clears_up(LIMIT, 2).await?;
    taken_in_throughout(&report)
}

#[tokio::test]
async fn postgresql_killed_and_back_after_30_s() -> Result<()> {
    let _turn = among_others().await;
    let installation = Installation::on_private_services().await?;
    let services = installation.services()?;
    let (events, per_second) = load(40);
    let mut weather = Weather::start(&installation, "postgres", events, Some(per_second)).await?;
    weather.accepted_at_least(events / 8, LIMIT).await?;
    weather.disturb();
    // Afterwards, events are taken in that have to wait for the store to fan out.
    let accepted = weather.accepted();
    services.kill(Service::Postgres).await?;
    // What was accepted before is delivered although the store is away.
    let continued = eventually(
        "deliveries under way continue",
        RESUMES_WITHIN,
        async || (weather.arrived() >= accepted).then_some(()),
    );
    continued.await.with_context(|| {
        let arrived = weather.arrived();
        format!("{arrived} arrived of {accepted}\n{}", installation.logs())
    })?;
    tokio::time::sleep(Duration::from_secs(30)).await;
    services.start(Service::Postgres).await?;
    weather.disturb();
    let report = weather.clears_up(LIMIT, 2).await?;
    taken_in_throughout(&report)
}

#[tokio::test]
async fn the_largest_event_arrives_that_was_published_while_postgresql_was_away() -> Result<()> {
    const BYTES_MAX: usize = 256 * 1024;
    const LEVELS_MAX: usize = 64;
    let _turn = among_others().await;
    let installation = Installation::on_private_services().await?;
    let services = installation.services()?;
    let client = installation.tenant().await?;
    let receiver = testkit::Receiver::start().await?;
    client
        .create_endpoint(&receiver.url("/hook"), serde_json::json!({}))
        .await?;
    services.kill(Service::Postgres).await?;
    let frame = r#"{"type":"license.created","data":{"pad":""}}"#.len();
    let pad = "x".repeat(BYTES_MAX - frame);
    let largest = format!(r#"{{"type":"license.created","data":{{"pad":"{pad}"}}}}"#);
    let levels = LEVELS_MAX - 1;
    let deepest = format!(r#"{{"a":{}{}}}"#, "[".repeat(levels), "]".repeat(levels));
    let json = ("content-type", "application/json");
    let binary = [
        json,
        ("ce-specversion", "1.0"),
        ("ce-id", "deepest"),
        ("ce-source", "/licenses"),
        ("ce-type", "license.created"),
    ];
    for (headers, body) in [(&binary[..1], largest), (&binary[..], deepest)] {
        let answer = client.post_raw("/v1/events", headers, body.into()).await?;
        let answer = answer.expect(202)?;
        ensure!(answer["sequence"].is_null(), "the store is away: {answer}");
    }
    services.start(Service::Postgres).await?;
    receiver.wait_for_distinct("/hook", 2, LIMIT).await
}

#[tokio::test]
async fn redis_killed_and_back_empty() -> Result<()> {
    let _turn = among_others().await;
    let installation = Installation::on_private_services().await?;
    let services = installation.services()?;
    let (events, per_second) = load(15);
    let mut weather = Weather::start(&installation, "redis", events, Some(per_second)).await?;
    weather.accepted_at_least(events / 5, LIMIT).await?;
    weather.disturb();
    services.kill(Service::Redis).await?;
    let before = weather.arrived();
    eventually("deliveries go on without", RESUMES_WITHIN, async || {
        (weather.arrived() > before + 100).then_some(())
    })
    .await?;
    services.start(Service::Redis).await?;
    weather.disturb();
    let report = weather.clears_up(LIMIT, 2).await?;
    taken_in_throughout(&report)?;
    let complaints = installation.dispatcher().log();
    let complaints = complaints
        .lines()
        .filter(|line| line.contains("WARN") && line.to_lowercase().contains("redis"));
    ensure!(complaints.count() <= 5, "it says so once, not per event");
    Ok(())
}

#[tokio::test]
async fn fanfare_starts_while_rabbitmq_and_redis_are_away() -> Result<()> {
    let _turn = among_others().await;
    let mut installation = Installation::on_private_services().await?;
    let services = installation.services()?;
    let (tenant, client) = installation.named_tenant().await?;
    let receiver = testkit::Receiver::start().await?;
    client
        .create_endpoint(&receiver.url("/hook"), serde_json::json!({}))
        .await?;
    installation.ingest.kill()?;
    services.kill(Service::RabbitMq).await?;
    services.kill(Service::Redis).await?;
    installation.ingest.restart().await?;
    let client = installation.operator()?.for_tenant(&tenant);
    client.publish(&e2e::event("license.created", "l")).await?;
    services.start(Service::RabbitMq).await?;
    services.start(Service::Redis).await?;
    receiver.wait_for("/hook", 1, 3 * RESUMES_WITHIN).await?;
    Ok(())
}

#[tokio::test]
async fn a_read_only_store_refuses_or_takes_in_and_recovers_without_a_restart() -> Result<()> {
    let _turn = among_others().await;
    let installation = Installation::start(e2e::Mode::Services).await?;
    let services = testkit::Services::shared()?;
    let database = installation.database()?.to_owned();
    let read_only = async |value: &str| {
        services
            .sql(
                "postgres",
                &format!("alter database {database} set default_transaction_read_only = {value}"),
            )
            .await?;
        let end = format!(
            "select pg_terminate_backend(pid) from pg_stat_activity where datname = '{database}'"
        );
        services.sql("postgres", &end).await
    };
    let client = installation.tenant().await?;
    let receiver = testkit::Receiver::start().await?;
    client
        .create_endpoint(&receiver.url("/hook"), serde_json::json!({}))
        .await?;
    read_only("on").await?;
    let mut taken = 0;
    for n in 0..100 {
        let event =
            serde_json::json!({"id": format!("ro-{n}"), "type": "license.created", "data": {}});
        let answer = client.post("/v1/events", &event).await?;
        match answer.status {
            202 => taken += 1,
            503 => ensure!(answer.header("retry-after").is_some(), "{}", answer.text()),
            other => anyhow::bail!("{other}: {}", answer.text()),
        }
    }
    ensure!(
        taken > 90,
        "the broker lives, so events are taken in: {taken}"
    );
    read_only("off").await?;
    receiver
        .wait_for_distinct("/hook", taken, 3 * RESUMES_WITHIN)
        .await?;
    let answer = client
        .publish(&e2e::event("license.created", "lic_back"))
        .await?;
    ensure!(
        answer["sequence"].is_u64() || answer["duplicate"] == false,
        "{answer}"
    );
    Ok(())
}
