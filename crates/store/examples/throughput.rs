//! What a row costs: accepts and records batches and prints the time per delivery, and the CPU
//! time of this process per delivery.
//!
//! ```text
//! cargo run --release -p store --example throughput -- sqlite:///tmp/throughput/fanfare.db
//! cargo run --release -p store --example throughput -- postgres://postgres@127.0.0.1/fanfare 100 20000
//! ```

#![expect(clippy::print_stdout, reason = "a report on the terminal")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use ambient::{now, random_id};
use model::{Attempt, AttemptId, DeliveryId, EndpointId, Event, Outcome, Submission, TenantId};
use store::{Acceptance, NewDelivery, Record, Store, StoreError, Verdict};

/// Licenses that the events belong to.
const LICENSES: u128 = 1_000;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let url = arguments
        .next()
        .ok_or("usage: throughput URL [BATCH [EVENTS [FAN_OUT]]]")?;
    let mut number = |default: usize| arguments.next().map_or(Ok(default), |text| text.parse());
    let (batch, events, fan_out) = (number(100)?, number(20_000)?, number(1)?);

    let store = store::open(&url).await?;
    store.migrate().await?;
    let tenant = TenantId::new("throughput")?;
    let endpoints: Vec<_> = (0..fan_out)
        .map(|_| EndpointId::new(now(), random_id()))
        .collect();
    warm_up(&*store, &tenant, &endpoints, batch).await?;

    let mut ids = Vec::with_capacity(events * fan_out);
    let mut accepting = Cost::default();
    for _ in 0..events / batch {
        let acceptances = acceptances(&tenant, &endpoints, batch);
        ids.extend(
            acceptances
                .iter()
                .flat_map(|one| &one.deliveries)
                .map(|one| one.id),
        );
        accepting.measure(store.accept(&acceptances)).await?;
    }
    accepting.print("accepted, with its event", ids.len());

    let mut recording = Cost::default();
    for chunk in ids.chunks(batch) {
        let records: Vec<_> = chunk.iter().map(|id| delivered(*id)).collect();
        recording.measure(store.record(&records)).await?;
    }
    recording.print("recorded", ids.len());
    Ok(())
}

/// Makes connections and plans before anything is measured.
async fn warm_up(
    store: &dyn Store,
    tenant: &TenantId,
    endpoints: &[EndpointId],
    batch: usize,
) -> Result<(), StoreError> {
    for _ in 0..10 {
        let acceptances = acceptances(tenant, endpoints, batch);
        store.accept(&acceptances).await?;
        let deliveries = acceptances.iter().flat_map(|one| &one.deliveries);
        let records: Vec<_> = deliveries.map(|delivery| delivered(delivery.id)).collect();
        store.record(&records).await?;
    }
    Ok(())
}

fn acceptances(tenant: &TenantId, endpoints: &[EndpointId], count: usize) -> Vec<Acceptance> {
    (0..count)
        .map(|_| {
            let event = event(tenant);
            let deliveries = endpoints
                .iter()
                .map(|endpoint| NewDelivery {
                    id: DeliveryId::new(event.accepted_at, random_id()),
                    endpoint: *endpoint,
                    held: None,
                })
                .collect();
            Acceptance {
                event: Arc::new(event),
                digest: [1; 16],
                deliveries,
                trace: None,
            }
        })
        .collect()
}

/// About 400 bytes.
fn event(tenant: &TenantId) -> Event {
    let license = random_id() % LICENSES;
    let body = format!(
        r#"{{"type":"license.validated","data":{{"license":{{"id":"lic_{license}","pad":"{}"}}}}}}"#,
        "x".repeat(320)
    );
    let submission = Submission::parse(body.as_bytes()).expect("a valid event");
    submission.into_event(tenant.clone(), now(), random_id())
}

fn delivered(delivery: DeliveryId) -> Record {
    let attempt = Attempt {
        id: AttemptId::new(now(), random_id()),
        delivery,
        number: 1,
        started_at: now(),
        duration: Duration::from_millis(3),
        outcome: Outcome::Answered {
            status: 200,
            retry_after: None,
        },
        error_detail: None,
        response_headers: vec![
            ("content-length".to_owned(), "2".to_owned()),
            (
                "date".to_owned(),
                "Wed, 15 Apr 2026 12:00:00 GMT".to_owned(),
            ),
        ],
        response_body: b"ok".to_vec(),
    };
    Record {
        delivery,
        attempt: Some(attempt),
        attempts_made: 0,
        verdict: Verdict::Delivered,
        at: now(),
    }
}

/// Time spent in calls, each waited for before the next.
#[derive(Default)]
struct Cost {
    elapsed: Duration,
    cpu: Duration,
    longest: Duration,
}

impl Cost {
    async fn measure<T>(
        &mut self,
        call: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<(), StoreError> {
        let (started, cpu) = (Instant::now(), cpu_time());
        call.await?;
        let elapsed = started.elapsed();
        self.elapsed += elapsed;
        self.longest = self.longest.max(elapsed);
        self.cpu += cpu_time() - cpu;
        Ok(())
    }

    fn print(&self, what: &str, deliveries: usize) {
        let per = |time: Duration| time.as_secs_f64() * 1e6 / deliveries as f64;
        println!(
            "{deliveries} deliveries {what}: {:.1} µs each, {:.1} µs of CPU in this process, \
             longest call {:.1} ms",
            per(self.elapsed),
            per(self.cpu),
            self.longest.as_secs_f64() * 1e3
        );
    }
}

/// User and system time of this process, in clock ticks of 10 ms; zero where there is no `/proc`.
fn cpu_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks: u64 = after_name
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|n| n.parse::<u64>().ok())
        .sum();
    Duration::from_millis(ticks * 10)
}
