//! `kill -9` of a process that publishes, consumes and acknowledges: nothing confirmed is lost.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a panic is how a test fails"
)]

use std::collections::HashSet;
use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use broker::{Broker, Destination, Options, Publication, Queue};
use bytes::Bytes;

const KILLS: usize = 6;
const URL: &str = "FANFARE_TEST_KILL_URL";
const LIMIT: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread")]
async fn nothing_confirmed_is_lost_by_a_kill() {
    let folder = testkit::scratch_folder().unwrap();
    let url = format!("embedded://{}", folder.path().display());
    let mut confirmed = HashSet::new();
    let mut worked_on = HashSet::new();
    for kill in 0..KILLS {
        run_and_kill(&url, kill, 150 + kill * 300, &mut confirmed, &mut worked_on);
    }
    assert!(
        worked_on.len() > 100,
        "only {} were worked on",
        worked_on.len()
    );

    let broker = broker::open(&url, Options::default()).await.unwrap();
    let mut missing: HashSet<_> = confirmed.difference(&worked_on).cloned().collect();
    let mut consumer = broker.consume(Queue::Deliveries, 1_000);
    let mut urgent = broker.consume(Queue::UrgentDeliveries, 1_000);
    while !missing.is_empty() {
        let next = async {
            tokio::select! {
                message = consumer.next() => message,
                message = urgent.next() => message,
            }
        };
        let Ok(message) = tokio::time::timeout(LIMIT, next).await else {
            panic!(
                "{} of {} confirmed are lost",
                missing.len(),
                confirmed.len()
            );
        };
        let message = message.unwrap();
        missing.remove(std::str::from_utf8(&message.body).unwrap());
        message.ack.ack();
    }
    broker.close().await;
}

/// Runs the child until it has said `lines` lines, kills it, and takes in what it said.
fn run_and_kill(
    url: &str,
    round: usize,
    lines: usize,
    confirmed: &mut HashSet<String>,
    worked_on: &mut HashSet<String>,
) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "a_child_to_kill", "--nocapture"])
        .env(URL, format!("{url} {round}"))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    for _ in 0..lines {
        line.clear();
        said.read_line(&mut line).unwrap();
        take_in(line.trim_end(), confirmed, worked_on);
    }
    child.kill().unwrap();
    child.wait().unwrap();
    // What it said before it died is in the pipe; the last line may be cut off. If it is not, it
    // counts: what it says was worked on may be acknowledged already.
    let mut rest = Vec::new();
    said.read_to_end(&mut rest).unwrap();
    let whole = rest.iter().rposition(|byte| *byte == b'\n').unwrap_or(0);
    for line in std::str::from_utf8(&rest[..whole]).unwrap().lines() {
        take_in(line, confirmed, worked_on);
    }
}

fn take_in(line: &str, confirmed: &mut HashSet<String>, worked_on: &mut HashSet<String>) {
    if let Some(body) = line.strip_prefix("confirmed ") {
        confirmed.insert(body.to_owned());
    } else if let Some(body) = line.strip_prefix("worked on ") {
        worked_on.insert(body.to_owned());
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "the other test runs it, to kill it"]
#[expect(clippy::disallowed_methods, reason = "told by its parent")]
async fn a_child_to_kill() {
    let told = std::env::var(URL).unwrap();
    let (url, round) = told.split_once(' ').unwrap();
    let broker = broker::open(url, Options::default()).await.unwrap();
    for publisher in 0..4 {
        tokio::spawn(publish(Arc::clone(&broker), format!("{round}.{publisher}")));
    }
    let mut consumer = broker.consume(Queue::Deliveries, 50);
    while let Some(message) = consumer.next().await {
        println!("worked on {}", std::str::from_utf8(&message.body).unwrap());
        message.ack.ack();
    }
}

async fn publish(broker: Arc<dyn Broker>, name: String) {
    for number in 0_usize.. {
        let bodies: Vec<_> = (0..10).map(|n| format!("{name}.{number}.{n}")).collect();
        let publications = bodies.iter().enumerate().map(|(n, body)| {
            // Some wait, some are urgent: these nobody takes before the kill.
            let due_at = (n == 3).then(|| ambient::now().plus(Duration::from_secs(2)));
            let to = Destination::Delivery {
                urgent: n == 4,
                due_at,
            };
            Publication {
                to,
                body: Bytes::from(body.clone()),
            }
        });
        broker.publish(publications.collect()).await.unwrap();
        for body in bodies {
            println!("confirmed {body}");
        }
    }
}
