//! Delays under load: 50,000 messages wait while 2,000 come due each second.
//!
//! `FANFARE_CHAOS=full` runs it for longer and with longer delays.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a panic is how a test fails"
)]

use std::sync::Arc;
use std::time::Duration;

use broker::{Broker, BrokerStatus, Consumer, Destination, Options, Publication, Queue};
use bytes::Bytes;
use model::Timestamp;
use testkit::{Services, eventually};

const WAITING: usize = 50_000;
const PER_SECOND: usize = 2_000;
const TICKS_PER_SECOND: usize = 50;
const LIMIT: Duration = Duration::from_secs(30);

/// How long messages are published for, and the delays they get in turn, in seconds.
struct Plan {
    seconds: usize,
    delays: &'static [u64],
}

#[expect(
    clippy::disallowed_methods,
    reason = "tests are told by environment how long to run"
)]
fn plan() -> Plan {
    match std::env::var("FANFARE_CHAOS").as_deref() {
        Ok("full") => Plan {
            seconds: 180,
            delays: &[1, 2, 3, 5, 7, 10, 13, 21, 60, 61, 77, 90, 120],
        },
        _ => Plan {
            seconds: 15,
            delays: &[1, 2, 3, 5, 7, 10, 13],
        },
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rabbitmq_keeps_the_time_under_load() {
    let services = Services::shared().unwrap();
    let url = services.fresh_vhost().await.unwrap();
    let lateness = run(&url, 600).await;
    lateness.check(|total| Duration::from_secs(1).max(total.mul_f64(0.02)));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_embedded_queue_keeps_the_time_under_load() {
    let folder = testkit::scratch_folder().unwrap();
    let lateness = run(&format!("embedded://{}", folder.path().display()), 600).await;
    lateness.check(|_| Duration::from_millis(250));
}

async fn run(url: &str, waiting_s: u64) -> Lateness {
    let plan = plan();
    let broker = broker::open(url, Options::default()).await.unwrap();
    eventually("a connection", LIMIT, async || {
        (broker.status() == BrokerStatus::Connected).then_some(())
    })
    .await
    .unwrap();
    for _ in 0..WAITING / 1_000 {
        let waiting = (0..1_000).map(|n| delayed(Duration::from_secs(waiting_s + n % 100)));
        broker.publish(waiting.collect()).await.unwrap();
    }
    let expected = plan.seconds * PER_SECOND;
    let consumer = broker.consume(Queue::Deliveries, 500);
    let received = tokio::spawn(receive(consumer, expected));
    publish(&broker, &plan).await;
    let lateness = received.await.unwrap();
    broker.close().await;
    lateness
}

/// The body says when it is due and how long it was to wait, in microseconds.
fn delayed(delay: Duration) -> Publication {
    let due_at = ambient::now().plus(delay);
    let body = format!(
        "{} {} {}",
        due_at.as_micros(),
        delay.as_micros(),
        "x".repeat(400)
    );
    let to = Destination::Delivery {
        urgent: false,
        due_at: Some(due_at),
    };
    Publication {
        to,
        body: Bytes::from(body),
    }
}

async fn publish(broker: &Arc<dyn Broker>, plan: &Plan) {
    let every = Duration::from_secs(1) / u32::try_from(TICKS_PER_SECOND).unwrap();
    let mut tick = tokio::time::interval(every);
    let mut delays = plan.delays.iter().cycle();
    for _ in 0..plan.seconds * TICKS_PER_SECOND {
        tick.tick().await;
        let due = delays.by_ref().take(PER_SECOND / TICKS_PER_SECOND);
        broker
            .publish(due.map(|s| delayed(Duration::from_secs(*s))).collect())
            .await
            .unwrap();
    }
}

async fn receive(mut consumer: Consumer, expected: usize) -> Lateness {
    let mut lateness = Lateness(Vec::new());
    while lateness.0.len() < expected {
        let message = tokio::time::timeout(LIMIT * 6, consumer.next())
            .await
            .unwrap()
            .unwrap();
        let now = ambient::now();
        let text = std::str::from_utf8(&message.body).unwrap();
        let mut numbers = text.split(' ').map(|number| number.parse::<i64>());
        let due_at = Timestamp::from_micros(numbers.next().unwrap().unwrap());
        let total = Duration::from_micros(numbers.next().unwrap().unwrap().unsigned_abs());
        assert!(now >= due_at, "{:?} early", due_at.since(now));
        lateness.0.push((total, now.since(due_at)));
        message.ack.ack();
    }
    lateness
}

/// Delay and lateness of each message.
struct Lateness(Vec<(Duration, Duration)>);

impl Lateness {
    /// At most one of a hundred is later than its delay allows.
    fn check(&self, allowed: impl Fn(Duration) -> Duration) {
        let mut late: Vec<_> = self.0.iter().map(|(_, late)| *late).collect();
        late.sort_unstable();
        let quantile = |percent: usize| late[(late.len() - 1) * percent / 100];
        let beyond = self
            .0
            .iter()
            .filter(|(total, late)| *late > allowed(*total))
            .count();
        println!(
            "{} messages, late by p50 {:?}, p99 {:?}, max {:?}; {beyond} beyond what is allowed",
            late.len(),
            quantile(50),
            quantile(99),
            quantile(100)
        );
        assert!(
            beyond * 100 <= late.len(),
            "{beyond} of {} too late",
            late.len()
        );
    }
}
