//! A load under which something breaks, and what has to hold afterwards.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use testkit::{Client, Load, LoadReport, Receiver, eventually};
use tokio::task::JoinHandle;

use crate::{Installation, id_of};

const PATH: &str = "/hook";
/// A retry schedule that outlasts what the tests break: many short delays.
const DELAYS_S: [u32; 20] = [1; 20];
/// A duplicate this close to a disturbance is excused by it: what a killed process had claimed is
/// free again when the claim's lease has run out, and is then found by the next sweep.
const AROUND: Duration = Duration::from_secs(20);

/// A load on its way to one endpoint.
#[derive(Debug)]
pub struct Weather {
    pub receiver: Receiver,
    pub client: Client,
    pub endpoint: String,
    load: Load,
    accepted: Arc<AtomicUsize>,
    running: JoinHandle<Result<LoadReport>>,
    disturbed: Vec<Instant>,
}

impl Weather {
    /// Starts publishing `events` to a new tenant with one endpoint.
    pub async fn start(
        installation: &Installation,
        prefix: &str,
        events: usize,
        per_second: Option<u32>,
    ) -> Result<Self> {
        Self::over(installation.tenant().await?, prefix, events, per_second).await
    }

    /// The same on behalf of a tenant that has no endpoint yet.
    pub async fn over(
        client: Client,
        prefix: &str,
        events: usize,
        per_second: Option<u32>,
    ) -> Result<Self> {
        let receiver = Receiver::start().await?;
        let settings = serde_json::json!({
            "retry": {"delays_s": DELAYS_S}, "circuit": {"open_after": 1000}, "timeout_s": 5,
        });
        let endpoint = client
            .create_endpoint(&receiver.url(PATH), settings)
            .await?;
        let load = Load {
            per_second,
            ..Load::new(&client, prefix, events)
        };
        let accepted = Arc::new(AtomicUsize::new(0));
        let running = tokio::spawn(load.clone().run(Arc::clone(&accepted)));
        let endpoint = id_of(&endpoint).to_owned();
        Ok(Self {
            receiver,
            client,
            endpoint,
            load,
            accepted,
            running,
            disturbed: Vec::new(),
        })
    }

    /// Notes that something breaks now or has just come back.
    pub fn disturb(&mut self) {
        self.disturbed.push(Instant::now());
    }

    pub fn accepted(&self) -> usize {
        self.accepted.load(Ordering::Relaxed)
    }

    /// How many different events have arrived.
    pub fn arrived(&self) -> usize {
        self.receiver.count_distinct(PATH)
    }

    /// How many requests have arrived.
    pub fn requests(&self) -> usize {
        self.receiver.count(PATH)
    }

    /// Waits until so many events have been accepted.
    pub async fn accepted_at_least(&self, count: usize, limit: Duration) -> Result<()> {
        let what = format!("{count} accepted events");
        eventually(&what, limit, async || {
            (self.accepted() >= count).then_some(())
        })
        .await
    }

    /// Waits until every event is accepted and has arrived, and the log says so; then checks that
    /// duplicates are at most `duplicates_per_cent` and only around disturbances.
    pub async fn clears_up(
        mut self,
        limit: Duration,
        duplicates_per_cent: usize,
    ) -> Result<LoadReport> {
        let report = (&mut self.running).await?.context("publishing")?;
        let events = self.load.events;
        self.receiver
            .wait_for_distinct(PATH, events, limit)
            .await
            .with_context(|| format!("missing: {:?}; {report:?}", self.missing()))?;
        let log = eventually("every delivery is logged as delivered", limit, async || {
            let delivered = self
                .client
                .count_deliveries(&self.endpoint, "delivered")
                .await
                .ok()?;
            (delivered == events).then_some(())
        });
        if let Err(error) = log.await {
            return Err(error.context(format!("statuses: {:?}", self.statuses().await?)));
        }
        self.check_duplicates(duplicates_per_cent)?;
        Ok(report)
    }

    async fn statuses(&self) -> Result<BTreeMap<&'static str, usize>> {
        let mut counts = BTreeMap::new();
        for status in [
            "queued",
            "retrying",
            "held",
            "delivered",
            "failed",
            "discarded",
        ] {
            counts.insert(
                status,
                self.client.count_deliveries(&self.endpoint, status).await?,
            );
        }
        Ok(counts)
    }

    /// The first few events that have not arrived.
    fn missing(&self) -> Vec<String> {
        let received = self.receiver.received(PATH);
        let arrived: std::collections::HashSet<_> = received.iter().map(|one| one.id()).collect();
        let expected = (0..self.load.events).map(|number| self.load.id(number));
        expected
            .filter(|id| !arrived.contains(id.as_str()))
            .take(5)
            .collect()
    }

    fn check_duplicates(&self, per_cent: usize) -> Result<()> {
        let received = self.receiver.received(PATH);
        let mut seen = HashMap::new();
        let mut duplicates = Vec::new();
        for request in &received {
            if seen.insert(request.id(), request.at).is_some() {
                duplicates.push(request);
            }
        }
        let allowed = self.load.events * per_cent / 100;
        ensure!(
            duplicates.len() <= allowed,
            "{} duplicates of {} events, {allowed} allowed",
            duplicates.len(),
            self.load.events
        );
        for duplicate in duplicates {
            let distance = |at: &Instant| duplicate.at.max(*at) - duplicate.at.min(*at);
            let nearest = self.disturbed.iter().map(distance).min();
            ensure!(
                nearest.is_some_and(|nearest| nearest <= AROUND),
                "{} arrived twice, {nearest:?} from the nearest disturbance",
                duplicate.id()
            );
        }
        Ok(())
    }
}

/// The value below which `per_cent` of the others are.
pub fn percentile(values: &mut [Duration], per_cent: usize) -> Duration {
    values.sort_unstable();
    let last = values.len().saturating_sub(1);
    values
        .get((values.len() * per_cent / 100).min(last))
        .copied()
        .unwrap_or_default()
}
