use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::Client;

/// Between two tries of the same event.
const RETRY_AFTER: Duration = Duration::from_millis(50);
/// An event not accepted for so long fails the load.
const GIVE_UP_AFTER: Duration = Duration::from_secs(90);

/// Events to publish one by one, over several connections, each repeated until it is accepted.
#[derive(Clone, Debug)]
pub struct Load {
    pub client: Client,
    /// Event ids are this and a number.
    pub prefix: String,
    pub events: usize,
    pub connections: usize,
    /// Events a second over all connections; `None` for as many as go.
    pub per_second: Option<u32>,
    pub event_type: String,
}

/// What became of a load.
#[derive(Clone, Debug, Default)]
pub struct LoadReport {
    pub accepted: usize,
    /// Accepted, and known to have been accepted before.
    pub duplicates: usize,
    /// How often another status than 202 was answered.
    pub refused: BTreeMap<u16, usize>,
    /// How often the connection broke or there was none.
    pub broken: usize,
    /// The longest time from the first try of an event to its 202.
    pub slowest: Duration,
    pub took: Duration,
}

impl Load {
    pub fn new(client: &Client, prefix: &str, events: usize) -> Self {
        Self {
            client: client.clone(),
            prefix: prefix.to_owned(),
            events,
            connections: 16,
            per_second: None,
            event_type: "license.validated".to_owned(),
        }
    }

    #[must_use]
    pub fn at_rate(self, per_second: u32) -> Self {
        Self {
            per_second: Some(per_second),
            ..self
        }
    }

    /// The id of the n-th event.
    pub fn id(&self, number: usize) -> String {
        format!("{}-{number}", self.prefix)
    }

    fn event(&self, number: usize) -> Value {
        json!({
            "id": self.id(number),
            "type": self.event_type,
            "data": {
                "license": {"id": format!("{}-lic-{}", self.prefix, number % 100), "plan": "pro"},
                "number": number,
                "padding": "x".repeat(200),
            },
        })
    }

    /// Publishes all of it. `accepted` counts along, for a test that acts in the middle.
    pub async fn run(self, accepted: Arc<AtomicUsize>) -> Result<LoadReport> {
        let from = Instant::now();
        let next = Arc::new(AtomicUsize::new(0));
        let report = Arc::new(Mutex::new(LoadReport::default()));
        let load = Arc::new(self);
        let mut connections = JoinSet::new();
        for _ in 0..load.connections {
            let (load, next) = (Arc::clone(&load), Arc::clone(&next));
            let (report, accepted) = (Arc::clone(&report), Arc::clone(&accepted));
            connections.spawn(async move {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= load.events {
                        return anyhow::Ok(());
                    }
                    if let Some(per_second) = load.per_second {
                        let due = Duration::from_secs_f64(number as f64 / f64::from(per_second));
                        tokio::time::sleep(due.saturating_sub(from.elapsed())).await;
                    }
                    load.publish(number, &report).await?;
                    accepted.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        while let Some(connection) = connections.join_next().await {
            connection??;
        }
        let mut report = report.lock().clone();
        report.took = from.elapsed();
        Ok(report)
    }

    async fn publish(&self, number: usize, report: &Mutex<LoadReport>) -> Result<()> {
        let event = self.event(number);
        let from = Instant::now();
        loop {
            let answer = self.client.post("/v1/events", &event).await;
            {
                let mut report = report.lock();
                match &answer {
                    Ok(answer) if answer.status == 202 => {
                        report.accepted += 1;
                        report.duplicates += usize::from(answer.json()["duplicate"] == true);
                        report.slowest = report.slowest.max(from.elapsed());
                        return Ok(());
                    }
                    Ok(answer) => *report.refused.entry(answer.status).or_default() += 1,
                    Err(_) => report.broken += 1,
                }
            }
            ensure!(
                from.elapsed() < GIVE_UP_AFTER,
                "event {number} is not accepted: {answer:?}"
            );
            tokio::time::sleep(RETRY_AFTER).await;
        }
    }
}
