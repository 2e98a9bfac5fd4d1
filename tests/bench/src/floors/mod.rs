//! What the parts cost alone, measured in the same run: the least a delivery could cost on this
//! machine if Fanfare did nothing but move bytes between them.

mod broker;
mod chain;
mod postgres;
mod sqlite;

use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::runtime::Runtime;

use crate::event::Template;
use crate::generator::Load;
use crate::installation::Mode;
use crate::ledger::Ledger;
use crate::process::{self, Pid};
use crate::receiver::{Habit, Receiver, path};
use crate::services::{Corner, Services};

/// Rows of one statement, and of one transaction.
const BATCH: usize = 100;
/// Connections of the generator, in floors and rows alike.
pub(crate) const CONNECTIONS: usize = 64;

/// What one item costs, and how many a second go through when nothing else runs.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Cost {
    pub per_second: f64,
    /// CPU of the side that Fanfare stands on.
    pub client_us: f64,
    /// CPU of the service.
    pub server_us: f64,
}

impl Cost {
    pub(crate) fn total_us(self) -> f64 {
        self.client_us + self.server_us
    }
}

/// Measures the cost of a number of items.
#[derive(Debug)]
struct Stopwatch {
    server: Option<Pid>,
    begun: Instant,
    own: Duration,
    other: Duration,
}

impl Stopwatch {
    fn start(server: Option<Pid>) -> Self {
        let other = server_cpu(server);
        Self {
            server,
            own: process::own_cpu(),
            other,
            begun: Instant::now(),
        }
    }

    fn cost(&self, items: u32) -> Cost {
        let seconds = self.begun.elapsed().as_secs_f64();
        let per_item_us = |used: Duration| used.as_secs_f64() * 1e6 / f64::from(items);
        Cost {
            per_second: f64::from(items) / seconds,
            client_us: per_item_us(process::own_cpu().saturating_sub(self.own)),
            server_us: per_item_us(server_cpu(self.server).saturating_sub(self.other)),
        }
    }
}

fn server_cpu(server: Option<Pid>) -> Duration {
    server.map_or(Duration::ZERO, |pid| process::cpu(&[pid])[0])
}

/// Latencies of the shortest durable way from publisher to receiver.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct ChainLatency {
    pub per_second: u32,
    pub p50_ms: f64,
    pub p99_ms: f64,
}

/// All floors of one mode.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Floors {
    pub mode: Mode,
    pub cores: usize,
    /// One exchange between generator and receiver, both sides.
    pub http: Cost,
    /// Event, license sequence and one delivery, per delivery.
    pub accept: Cost,
    /// The same with ten deliveries an event, per delivery.
    pub accept_fan: Cost,
    /// Attempt and status.
    pub record: Cost,
    /// Published, confirmed, consumed and acknowledged, all at once.
    pub hop: Cost,
    /// Consumed and acknowledged from a full queue.
    pub drain: Cost,
    pub chain: Vec<ChainLatency>,
}

/// Deliveries of an event in the rows that fan out.
pub(crate) const FAN: usize = 10;
/// Rates of the latency rows, and of the one with dead endpoints.
pub(crate) const RATES: [u32; 3] = [50, 200, 500];

impl Floors {
    /// CPU of the whole machine for one delivery of an event with `fan` of them.
    pub(crate) fn machine_us(&self, fan: usize) -> f64 {
        let publish = self.http.client_us / fan as f64;
        publish
            + self.http.client_us
            + self.accept(fan).total_us()
            + self.hop.total_us()
            + self.record.total_us()
    }

    /// CPU of Fanfare's own side of it: serving a publication and making a delivery are the two
    /// sides of one exchange.
    pub(crate) fn own_us(&self, fan: usize) -> f64 {
        let http = self.http.client_us * f64::midpoint(1.0, 1.0 / fan as f64);
        http + self.accept(fan).client_us + self.hop.client_us + self.record.client_us
    }

    fn accept(&self, fan: usize) -> Cost {
        if fan == 1 {
            self.accept
        } else {
            self.accept_fan
        }
    }

    /// Deliveries a second that would use all cores.
    pub(crate) fn deliveries_per_second(&self, fan: usize) -> f64 {
        self.cores as f64 * 1e6 / self.machine_us(fan)
    }

    /// The same for a backlog that is published already.
    pub(crate) fn drained_per_second(&self) -> f64 {
        let us = self.http.client_us + self.drain.total_us() + self.record.total_us();
        self.cores as f64 * 1e6 / us
    }

    /// CPU of Fanfare's own side of a delivery from a backlog.
    pub(crate) fn own_drained_us(&self) -> f64 {
        self.http.client_us / 2.0 + self.drain.client_us + self.record.client_us
    }

    pub(crate) fn chain(&self, per_second: u32) -> Option<ChainLatency> {
        self.chain
            .iter()
            .copied()
            .find(|chain| chain.per_second == per_second)
    }
}

/// What the floors are measured with.
#[derive(Debug)]
pub(crate) struct Ground<'a> {
    pub receiver: &'a Receiver,
    pub runtime: &'a Runtime,
    /// For the services mode, a corner that nothing else uses.
    pub services: Option<(&'a Services, &'a Corner)>,
    pub directory: &'a std::path::Path,
    pub events: u32,
    pub latency_s: u32,
}

/// Measures all floors of a mode.
pub(crate) fn measure(ground: &Ground<'_>) -> anyhow::Result<Floors> {
    let http = http(ground)?;
    let (mode, store, queue) = match ground.services {
        Some((services, corner)) => {
            let store = postgres::measure(ground, services, corner)?;
            (
                Mode::Services,
                store,
                broker::measure(ground, services, corner)?,
            )
        }
        None => (
            Mode::Embedded,
            sqlite::measure(ground)?,
            sqlite::measure_queue(ground)?,
        ),
    };
    let mut chain = Vec::new();
    for rate in RATES {
        chain.push(chain::measure(ground, rate)?);
    }
    let cores = std::thread::available_parallelism()?.get();
    let StoreCosts {
        accept,
        accept_fan,
        record,
    } = store;
    let QueueCosts { hop, drain } = queue;
    Ok(Floors {
        mode,
        cores,
        http,
        accept,
        accept_fan,
        record,
        hop,
        drain,
        chain,
    })
}

#[derive(Clone, Copy, Debug)]
struct StoreCosts {
    accept: Cost,
    accept_fan: Cost,
    record: Cost,
}

#[derive(Clone, Copy, Debug)]
struct QueueCosts {
    hop: Cost,
    drain: Cost,
}

fn direct_load(ground: &Ground<'_>, events: u32) -> Load {
    let ledger = ground.receiver.open_ledger(events, 1);
    let template = direct_template(ground.receiver, &ledger);
    Load {
        to: ground.receiver.address(),
        templates: [template].into(),
        ledger,
    }
}

fn direct_template(receiver: &Receiver, ledger: &Ledger) -> Template {
    Template::direct(receiver.address(), &path(Habit::Answers, 0), ledger.run())
}

fn http(ground: &Ground<'_>) -> anyhow::Result<Cost> {
    let mut cost = Cost::default();
    // The first time warms up.
    for events in [ground.events / 4, ground.events * 2] {
        let load = direct_load(ground, events);
        let stopwatch = Stopwatch::start(None);
        ground.runtime.block_on(load.closed_loop(CONNECTIONS))?;
        cost = stopwatch.cost(events);
    }
    Ok(cost)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_floor_is_the_sum_of_its_parts() {
        let cost = |client_us, server_us| Cost {
            per_second: 1.0,
            client_us,
            server_us,
        };
        let floors = Floors {
            mode: Mode::Services,
            cores: 2,
            http: cost(20.0, 0.0),
            accept: cost(5.0, 35.0),
            accept_fan: cost(1.0, 9.0),
            record: cost(2.0, 10.0),
            hop: cost(13.0, 35.0),
            drain: cost(5.0, 8.0),
            chain: Vec::new(),
        };
        assert!((floors.machine_us(1) - 140.0).abs() < 1e-9);
        assert!((floors.machine_us(10) - 92.0).abs() < 1e-9);
        assert!((floors.own_us(1) - 40.0).abs() < 1e-9);
        assert!((floors.own_us(10) - 27.0).abs() < 1e-9);
        assert!((floors.deliveries_per_second(1) - 2e6 / 140.0).abs() < 1e-6);
        assert!((floors.drained_per_second() - 2e6 / 45.0).abs() < 1e-6);
        assert!((floors.own_drained_us() - 17.0).abs() < 1e-9);
    }
}
