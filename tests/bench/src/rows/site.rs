//! A row's own installation, and what every row does with it: publish, wait, account.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::ensure;
use tokio::runtime::Runtime;

use crate::event::Template;
use crate::floors::Floors;
use crate::generator::{Failures, Load};
use crate::installation::{Installation, Mode, Role};
use crate::ledger::Ledger;
use crate::process::{self, Pid};
use crate::profile::Profile;
use crate::receiver::Receiver;
use crate::report::{Row, Share};
use crate::services::{Corner, Services};

/// No arrival for so long: what is missing stays missing.
const STALLED_AFTER: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(1);
/// For what follows the last arrival: records, acknowledgements, a repetition.
const SETTLE: Duration = Duration::from_secs(1);
pub(super) const TENANT: &str = "bench";
pub(super) const PRODUCT: &str = "prod_bench";

/// What every row gets.
#[derive(Debug)]
pub(crate) struct Stage<'a> {
    pub mode: Mode,
    pub quick: bool,
    pub profile: bool,
    pub binary: &'a Path,
    /// For this row alone.
    pub directory: PathBuf,
    pub corner: Option<&'a Corner>,
    pub services: Option<&'a Services>,
    pub receiver: &'a Receiver,
    pub runtime: &'a Runtime,
    pub floors: &'a Floors,
}

impl Stage<'_> {
    pub(super) const fn choose<T: Copy>(&self, full: T, quick: T) -> T {
        if self.quick { quick } else { full }
    }
}

/// Whose events, for which endpoints.
#[derive(Clone, Debug)]
pub(super) struct Route {
    pub tenant: String,
    pub product: String,
}

impl Default for Route {
    fn default() -> Self {
        Self {
            tenant: TENANT.to_owned(),
            product: PRODUCT.to_owned(),
        }
    }
}

/// How fast to publish.
#[derive(Clone, Copy, Debug)]
pub(super) enum Pace {
    /// As fast as this many connections are answered.
    Connections(usize),
    PerSecond(u32),
}

/// An installation that runs for one row.
#[derive(Debug)]
pub(super) struct Site<'a> {
    pub stage: &'a Stage<'a>,
    pub installation: Installation,
}

impl<'a> Site<'a> {
    pub(super) fn start(stage: &'a Stage<'a>) -> anyhow::Result<Self> {
        let installation = Installation::start(stage.binary, &stage.directory, stage.corner)?;
        Ok(Self {
            stage,
            installation,
        })
    }

    /// Creates the tenant and endpoints at `urls`, all for the same events; answers their ids.
    pub(super) fn create_endpoints(&self, urls: &[String]) -> anyhow::Result<Vec<String>> {
        let admin = self.installation.admin();
        admin.create_tenant(TENANT)?;
        urls.iter()
            .map(|url| admin.create_endpoint(TENANT, PRODUCT, url))
            .collect()
    }

    /// A load of `events`, the `n`-th for the route `n % routes`, of which each goes to `fan`
    /// endpoints that count.
    pub(super) fn load(&self, events: u32, fan: usize, routes: &[Route]) -> Load {
        let ledger = self.stage.receiver.open_ledger(events, fan);
        let (api, key) = (self.installation.api(), self.installation.key());
        let of = |route: &Route| {
            Template::publish(api, key, &route.tenant, &route.product, ledger.run())
        };
        Load {
            to: api,
            templates: routes.iter().map(of).collect(),
            ledger,
        }
    }

    pub(super) fn publish(&self, load: &Load, pace: Pace) -> anyhow::Result<Failures> {
        self.stage.runtime.block_on(async {
            match pace {
                Pace::Connections(connections) => load.closed_loop(connections).await,
                Pace::PerSecond(rate) => load.open_loop(rate).await,
            }
        })
    }

    /// Publishes events and sees them arrive, before anything is measured.
    pub(super) fn warm_up(
        &self,
        events: u32,
        fan: usize,
        routes: &[Route],
        pace: Pace,
    ) -> anyhow::Result<()> {
        let load = self.load(events, fan, routes);
        let failures = self.publish(&load, pace)?;
        ensure!(failures.count == 0, "warming up: {:?}", failures.told);
        wait(&load.ledger, load.ledger.events() as usize * fan);
        let missing = load.ledger.missing(|_| true);
        ensure!(
            missing == 0,
            "warming up: {missing} deliveries did not arrive"
        );
        std::thread::sleep(SETTLE);
        Ok(())
    }

    pub(super) fn meter(&self) -> Meter {
        let roles = self.installation.processes();
        let mut parts: Vec<_> = roles
            .into_iter()
            .map(|(role, pid)| (role.as_str().to_owned(), pid, true))
            .collect();
        if let Some(services) = self.stage.services {
            let named = [
                ("postgres", services.postgres_pid),
                ("rabbitmq", services.rabbitmq_pid),
                ("redis", services.redis_pid),
            ];
            for (name, pid) in named {
                parts.extend(pid.map(|pid| (name.to_owned(), pid, false)));
            }
        }
        Meter::start(parts)
    }

    /// Sum over the roles, in millions of bytes.
    pub(super) fn peak_memory_mb(&self) -> anyhow::Result<f64> {
        let peaks = self.installation.processes().into_iter();
        let peaks = peaks.map(|(_, pid)| process::peak_memory_bytes(pid));
        Ok(peaks.sum::<anyhow::Result<u64>>()? as f64 / 1e6)
    }

    /// Begins to record where the roles spend their time, if that was asked for.
    pub(super) fn profiles(&self) -> Vec<Profile> {
        let wanted = |role: &Role| match role {
            Role::Serve | Role::Ingest | Role::Dispatcher => self.stage.profile,
            Role::Exporter => false,
        };
        let processes = self.installation.processes().into_iter();
        processes
            .filter(|(role, _)| wanted(role))
            .filter_map(|(role, pid)| Profile::start(role.as_str(), pid, &self.stage.directory))
            .collect()
    }
}

/// An address where nobody listens.
pub(super) fn refusing_url() -> anyhow::Result<String> {
    Ok(format!(
        "http://{}/",
        TcpListener::bind(("127.0.0.1", 0))?.local_addr()?
    ))
}

/// Waits for `expected` arrivals, or until nothing arrives any more, and then for what follows.
pub(super) fn wait(ledger: &Arc<Ledger>, expected: usize) {
    let (mut seen, mut since) = (ledger.arrivals(), Instant::now());
    while seen < expected && since.elapsed() < STALLED_AFTER {
        std::thread::sleep(POLL);
        let now = ledger.arrivals();
        if now > seen {
            (seen, since) = (now, Instant::now());
        }
    }
}

/// Gives records and repetitions the time to happen, so that they are accounted for.
pub(super) fn settle() {
    std::thread::sleep(SETTLE);
}

/// Adds to the row what a run did wrong.
pub(super) fn note_faults(
    row: &mut Row,
    ledger: &Ledger,
    failures: &Failures,
    counts: impl Fn(u32) -> bool,
) {
    if failures.count > 0 {
        let told = failures.told.join("; ");
        row.faults.push(format!(
            "{} publications were not accepted: {told}",
            failures.count
        ));
    }
    let missing = ledger.missing(counts);
    if missing > 0 {
        row.faults.push(format!("{missing} deliveries are missing"));
    }
    if ledger.duplicates() > 0 {
        row.faults
            .push(format!("{} deliveries arrived again", ledger.duplicates()));
    }
}

/// CPU of everything that takes part, from its start on.
#[derive(Debug)]
pub(super) struct Meter {
    parts: Vec<(String, Pid, bool)>,
    begun: Vec<Duration>,
    own: Duration,
}

impl Meter {
    fn start(parts: Vec<(String, Pid, bool)>) -> Self {
        let begun = cpu(&parts);
        Self {
            parts,
            begun,
            own: process::own_cpu(),
        }
    }

    /// What each process used for one of `deliveries`.
    pub(super) fn shares(&self, deliveries: usize) -> Vec<Share> {
        let per_delivery_us = |used: Duration| used.as_secs_f64() * 1e6 / deliveries as f64;
        let used = cpu(&self.parts).into_iter().zip(&self.begun);
        let mut shares: Vec<_> = used
            .zip(&self.parts)
            .map(|((now, begun), (name, _, is_fanfare))| Share {
                process: name.clone(),
                us_per_delivery: per_delivery_us(now.saturating_sub(*begun)),
                is_fanfare: *is_fanfare,
            })
            .collect();
        shares.push(Share {
            process: "generator and receiver".to_owned(),
            us_per_delivery: per_delivery_us(process::own_cpu().saturating_sub(self.own)),
            is_fanfare: false,
        });
        shares
    }
}

fn cpu(parts: &[(String, Pid, bool)]) -> Vec<Duration> {
    let pids: Vec<_> = parts.iter().map(|(_, pid, _)| *pid).collect();
    process::cpu(&pids)
}

/// CPU of Fanfare alone for one delivery, in milliseconds.
pub(super) fn own_ms(shares: &[Share]) -> f64 {
    let own = shares.iter().filter(|share| share.is_fanfare);
    own.map(|share| share.us_per_delivery).sum::<f64>() / 1e3
}

/// CPU of the whole machine for one delivery, in milliseconds.
pub(super) fn machine_ms(shares: &[Share]) -> f64 {
    shares
        .iter()
        .map(|share| share.us_per_delivery)
        .sum::<f64>()
        / 1e3
}
