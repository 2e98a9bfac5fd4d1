//! Publishes, consumes and acknowledges as fast as it goes and prints rates, CPU and latency:
//! `cargo run --release --example broker_throughput -- URL [MESSAGES]`.
#![expect(clippy::print_stdout, reason = "it is a command-line program")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use broker::{Broker, Destination, Options, Publication, Queue};
use bytes::Bytes;

const BODY_BYTES: usize = 700;
const BATCH: usize = 50;
const TASKS: usize = 16;
const PREFETCH: u16 = 500;
const LATENCY_ROUNDS: usize = 200;

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

#[tokio::main]
async fn main() -> Outcome<()> {
    let mut arguments = std::env::args().skip(1);
    let url = arguments
        .next()
        .ok_or("usage: broker_throughput URL [MESSAGES]")?;
    let messages: usize = arguments.next().as_deref().unwrap_or("100000").parse()?;
    tracing_subscriber::fmt().init();
    let broker = broker::open(&url, Options::default()).await?;
    while broker.status() != broker::BrokerStatus::Connected {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }

    measure(
        "publish, batches of 50 from 16 tasks",
        messages,
        publish(&broker, messages, BATCH),
    )
    .await?;
    measure(
        "consume and acknowledge",
        messages,
        consume(&broker, messages),
    )
    .await?;
    measure("publish one by one from 64 tasks", messages / 4, async {
        let singles =
            (0..64).map(|_| tokio::spawn(publish_some(Arc::clone(&broker), messages / 256, 1)));
        for task in singles.collect::<Vec<_>>() {
            task.await??;
        }
        Ok(())
    })
    .await?;
    consume(&broker, messages / 256 * 64).await?;
    measure("both at once", messages, async {
        tokio::try_join!(
            publish(&broker, messages, BATCH),
            consume(&broker, messages)
        )?;
        Ok(())
    })
    .await?;
    latency(&broker).await?;
    broker.close().await;
    Ok(())
}

fn message() -> Publication {
    let body = Bytes::from(vec![b'x'; BODY_BYTES]);
    Publication {
        to: Destination::Delivery {
            urgent: false,
            due_at: None,
        },
        body,
    }
}

async fn publish(broker: &Arc<dyn Broker>, messages: usize, batch: usize) -> Outcome<()> {
    let tasks: Vec<_> = (0..TASKS)
        .map(|_| tokio::spawn(publish_some(Arc::clone(broker), messages / TASKS, batch)))
        .collect();
    for task in tasks {
        task.await??;
    }
    let rest = vec![message(); messages % TASKS];
    Ok(broker.publish(rest).await?)
}

async fn publish_some(
    broker: Arc<dyn Broker>,
    messages: usize,
    batch: usize,
) -> Result<(), broker::BrokerError> {
    let template = message();
    let mut left = messages;
    while left > 0 {
        let now = left.min(batch);
        broker.publish(vec![template.clone(); now]).await?;
        left -= now;
    }
    Ok(())
}

async fn consume(broker: &Arc<dyn Broker>, messages: usize) -> Outcome<()> {
    let mut consumer = broker.consume(Queue::Deliveries, PREFETCH);
    for _ in 0..messages {
        consumer.next().await.ok_or("closed")?.ack.ack();
    }
    Ok(())
}

async fn latency(broker: &Arc<dyn Broker>) -> Outcome<()> {
    let mut consumer = broker.consume(Queue::Outcomes, 10);
    let mut confirmed = Vec::new();
    let mut received = Vec::new();
    for _ in 0..LATENCY_ROUNDS {
        let one = vec![Publication {
            to: Destination::Outcomes,
            body: message().body,
        }];
        let began = Instant::now();
        let (published, incoming) = tokio::join!(
            async {
                let outcome = broker.publish(one).await;
                confirmed.push(began.elapsed());
                outcome
            },
            consumer.next()
        );
        received.push(began.elapsed());
        published?;
        incoming.ok_or("closed")?.ack.ack();
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    for (name, mut times) in [
        ("publish to confirm", confirmed),
        ("publish to receipt", received),
    ] {
        times.sort_unstable();
        let (p50, p99) = (times[times.len() / 2], times[times.len() * 99 / 100]);
        println!("{name}, one at a time: p50 {p50:.1?}, p99 {p99:.1?}");
    }
    Ok(())
}

async fn measure(
    name: &str,
    messages: usize,
    work: impl Future<Output = Outcome<()>>,
) -> Outcome<()> {
    let (began, cpu) = (Instant::now(), cpu());
    work.await?;
    let seconds = began.elapsed().as_secs_f64();
    let count = messages as f64;
    let cpu_us = (self::cpu() - cpu).as_secs_f64() * 1e6 / count;
    println!(
        "{name}: {:.0}/s, {cpu_us:.1} us of client CPU each",
        count / seconds
    );
    Ok(())
}

/// The CPU time of this process so far, to 10 ms.
fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat
        .rsplit(')')
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .skip(11)
        .take(2);
    let ticks: u64 = fields.filter_map(|field| field.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}
