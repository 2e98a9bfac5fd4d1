//! A slow or dead endpoint costs the others nothing.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use e2e::{Installation, Mode, percentile};
use serde_json::json;
use testkit::{Behavior, Client, Receiver, alone, closed_port};
use tokio::task::JoinSet;

const PER_SECOND: u32 = 100;
/// Below this, differences are the machine's.
const NOISE: Duration = Duration::from_millis(5);
/// Interference from elsewhere only ever adds, so the best of a few runs counts.
const RUNS: usize = 3;

/// Publishes at a steady rate about products in turn; answers when each event was published.
async fn publish(
    client: &Client,
    prefix: &str,
    events: usize,
    per_second: u32,
    product_of: impl Fn(usize) -> String,
) -> Result<Vec<Instant>> {
    let from = Instant::now();
    let mut published = Vec::new();
    let mut answers = JoinSet::new();
    for n in 0..events {
        let due = Duration::from_secs_f64(n as f64 / f64::from(per_second));
        tokio::time::sleep(due.saturating_sub(from.elapsed())).await;
        let event = json!({"id": format!("{prefix}-{n}"), "type": "license.validated",
            "product": product_of(n), "data": {"license": {"id": format!("lic_{}", n % 50)}}});
        published.push(Instant::now());
        let client = client.clone();
        answers.spawn(async move { client.publish(&event).await });
    }
    while let Some(answer) = answers.join_next().await {
        answer??;
    }
    Ok(published)
}

/// From publishing to arrival, for the events of a prefix that were to arrive at these paths.
fn latencies(
    receiver: &Receiver,
    path: &str,
    prefix: &str,
    published: &[Instant],
) -> Vec<Duration> {
    let own = format!("{prefix}-");
    let received = receiver.received(path);
    let of_number = received.iter().filter_map(|one| {
        let number: usize = one.id().strip_prefix(&own)?.parse().ok()?;
        Some(one.at.saturating_duration_since(published[number]))
    });
    of_number.collect()
}

async fn p99_of_fast(client: &Client, receiver: &Receiver, prefix: &str) -> Result<Duration> {
    const EVENTS: usize = 1_000;
    let before = receiver.count("/fast");
    let published = publish(client, prefix, EVENTS, PER_SECOND, |_| "both".to_owned()).await?;
    receiver
        .wait_for("/fast", before + EVENTS, Duration::from_secs(10))
        .await?;
    let mut latencies = latencies(receiver, "/fast", prefix, &published);
    // The first second warms up: connections, caches, statements.
    Ok(percentile(&mut latencies[PER_SECOND as usize..], 99))
}

async fn beside_a_hanging_endpoint(mode: Mode) -> Result<()> {
    let _machine = alone().await;
    let installation = Installation::start(mode).await?;
    let receiver = Receiver::start().await?;
    receiver.behave("/hanging", Behavior::slow(Duration::from_secs(10)));
    let mut measured = Vec::new();
    for run in 0..RUNS {
        let client = installation.tenant().await?;
        client
            .create_endpoint(&receiver.url("/fast"), json!({}))
            .await?;
        let alone = p99_of_fast(&client, &receiver, &format!("alone{run}")).await?;
        client
            .create_endpoint(&receiver.url("/hanging"), json!({}))
            .await?;
        let beside = p99_of_fast(&client, &receiver, &format!("beside{run}")).await?;
        measured.push((alone, beside));
        if beside <= (alone * 3 / 2).max(NOISE) {
            return Ok(());
        }
    }
    anyhow::bail!("p99 of the fast endpoint, alone and beside one that hangs: {measured:?}")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hanging_endpoint_does_not_slow_a_fast_one_embedded() -> Result<()> {
    beside_a_hanging_endpoint(Mode::Embedded).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hanging_endpoint_does_not_slow_a_fast_one_on_services() -> Result<()> {
    beside_a_hanging_endpoint(Mode::Services).await
}

async fn among_the_dead(mode: Mode) -> Result<()> {
    const ENDPOINTS: usize = 500;
    const EVENTS: usize = 2_000;
    const WARM_UP: usize = ENDPOINTS;
    let _machine = alone().await;
    let installation = Installation::start(mode).await?;
    let client = installation.tenant().await?;
    let receiver = Receiver::start().await?;
    let dead = format!("http://127.0.0.1:{}/", closed_port());
    for n in 0..ENDPOINTS {
        // Half of the dead refuse, half never answer.
        let url = match n % 4 {
            0 | 2 => receiver.url("/living"),
            1 => dead.clone(),
            _ => receiver.url("/hanging"),
        };
        client
            .create_endpoint(&url, json!({"product": format!("p{n}")}))
            .await?;
    }
    receiver.behave("/hanging", Behavior::Hang);
    let mut best = Duration::MAX;
    for run in 0..RUNS {
        let before = receiver.count("/living");
        let prefix = format!("run{run}");
        let published = publish(&client, &prefix, EVENTS, 200, |n| {
            format!("p{}", n % ENDPOINTS)
        })
        .await?;
        receiver
            .wait_for("/living", before + EVENTS / 2, Duration::from_secs(10))
            .await?;
        let mut latencies = latencies(&receiver, "/living", &prefix, &published);
        best = best.min(percentile(&mut latencies[WARM_UP / 2..], 99));
        if best < Duration::from_millis(50) {
            break;
        }
    }
    ensure!(
        best < Duration::from_millis(50),
        "p99 of the living: {best:?}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dead_endpoints_do_not_slow_the_living_embedded() -> Result<()> {
    among_the_dead(Mode::Embedded).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dead_endpoints_do_not_slow_the_living_on_services() -> Result<()> {
    among_the_dead(Mode::Services).await
}
