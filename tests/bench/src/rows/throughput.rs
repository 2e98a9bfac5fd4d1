//! Rates: with ingest and delivery together, and of a backlog alone.

use std::time::Instant;

use super::site::{
    Pace, Route, Site, Stage, TENANT, machine_ms, note_faults, own_ms, settle, wait,
};
use crate::floors::CONNECTIONS;
use crate::installation::{Mode, Role};
use crate::receiver::Habit;
use crate::report::{Figure, Row, Share, Target, Unit};

const PACE: Pace = Pace::Connections(CONNECTIONS);
/// Each rate is the median of so many runs.
const RUNS: usize = 3;

/// One run: deliveries a second and what they cost.
struct Sample {
    rate: f64,
    shares: Vec<Share>,
}

fn median(mut samples: Vec<Sample>) -> Sample {
    samples.sort_by(|a, b| a.rate.total_cmp(&b.rate));
    samples.swap_remove(samples.len() / 2)
}

fn rates(samples: &[Sample]) -> String {
    let rates: Vec<_> = samples
        .iter()
        .map(|sample| format!("{:.0}", sample.rate))
        .collect();
    format!("deliveries a second of each run: {}", rates.join(", "))
}

/// Events come in over 64 connections while they are delivered to `fan` endpoints each.
pub(super) fn together(
    stage: &Stage<'_>,
    fan: usize,
    rate: Target,
    cpu: Option<Target>,
) -> anyhow::Result<Row> {
    let mut row = Row::new(
        stage.mode,
        match fan {
            1 => "one endpoint".to_owned(),
            _ => format!("{fan} endpoints per event"),
        },
    );
    let events = if fan == 1 {
        stage.choose(20_000, 5_000)
    } else {
        stage.choose(5_000, 1_000)
    };
    let site = Site::start(stage)?;
    let urls: Vec<_> = (0..fan)
        .map(|at| stage.receiver.url(Habit::Answers, at))
        .collect();
    site.create_endpoints(&urls)?;
    let routes = [Route::default()];
    site.warm_up(events / 4, fan, &routes, PACE)?;

    let profiles = site.profiles();
    let mut samples = Vec::new();
    for _ in 0..stage.choose(RUNS, 1) {
        let load = site.load(events, fan, &routes);
        let deliveries = events as usize * fan;
        let meter = site.meter();
        let failures = site.publish(&load, PACE)?;
        wait(&load.ledger, deliveries);
        settle();
        let shares = meter.shares(deliveries);
        samples.push(Sample {
            rate: load.ledger.arrivals() as f64 / load.ledger.span_s(),
            shares,
        });
        note_faults(&mut row, &load.ledger, &failures, |_| true);
    }
    for profile in profiles {
        row.profiles.push(profile.finish()?);
    }
    row.notes.push(rates(&samples));
    let Sample {
        rate: value,
        shares,
    } = median(samples);
    let floors = stage.floors;
    let deliveries = Figure::new("deliveries", Unit::PerSecond, value).target(rate);
    row.figures
        .push(deliveries.floor(floors.deliveries_per_second(fan)));
    let own = Figure::new(
        "Fanfare's CPU per delivery",
        Unit::MillisecondsCpu,
        own_ms(&shares),
    );
    let own = own.floor(floors.own_us(fan) / 1e3);
    row.figures.push(match cpu {
        Some(target) => own.target(target),
        None => own,
    });
    let machine = Figure::new("CPU of all", Unit::MillisecondsCpu, machine_ms(&shares));
    row.figures
        .push(machine.floor(floors.machine_us(fan) / 1e3));
    row.figures.push(Figure::new(
        "peak memory",
        Unit::Megabytes,
        site.peak_memory_mb()?,
    ));
    row.shares = shares;
    Ok(row)
}

/// A backlog goes out: with services, from the broker's queue after the dispatcher was away;
/// embedded, from the store after the endpoint was disabled.
pub(super) fn drain(stage: &Stage<'_>, rate: Target) -> anyhow::Result<Row> {
    let events = stage.choose(20_000, 5_000);
    let mut row = Row::new(stage.mode, format!("draining {events}"));
    let mut site = Site::start(stage)?;
    let endpoints = site.create_endpoints(&[stage.receiver.url(Habit::Answers, 0)])?;
    site.warm_up(events / 4, 1, &[Route::default()], PACE)?;

    let mut samples = Vec::new();
    for _ in 0..stage.choose(RUNS, 1) {
        samples.push(drain_once(&mut site, &endpoints[0], events, &mut row)?);
    }
    row.notes.push(rates(&samples));
    let Sample {
        rate: value,
        shares,
    } = median(samples);
    let drained = Figure::new("deliveries", Unit::PerSecond, value).target(rate);
    row.figures
        .push(drained.floor(stage.floors.drained_per_second()));
    if !shares.is_empty() {
        let own = own_ms(&shares);
        let own = Figure::new("Fanfare's CPU per delivery", Unit::MillisecondsCpu, own);
        row.figures
            .push(own.floor(stage.floors.own_drained_us() / 1e3));
    }
    row.shares = shares;
    Ok(row)
}

fn drain_once(
    site: &mut Site<'_>,
    endpoint: &str,
    events: u32,
    row: &mut Row,
) -> anyhow::Result<Sample> {
    let admin = site.installation.admin();
    let load = site.load(events, 1, &[Route::default()]);
    match site.stage.mode {
        Mode::Services => site.installation.stop_role(Role::Dispatcher)?,
        Mode::Embedded => admin.disable(TENANT, endpoint)?,
    }
    let failures = site.publish(&load, PACE)?;
    settle();
    let early = load.ledger.arrivals();
    if early > 0 {
        row.faults.push(format!("{early} deliveries did not wait"));
    }
    let begun = Instant::now();
    let (what, meter) = match site.stage.mode {
        Mode::Services => {
            site.installation.start_role(Role::Dispatcher)?;
            ("the dispatcher's start", site.meter())
        }
        Mode::Embedded => {
            let meter = site.meter();
            admin.enable(TENANT, endpoint)?;
            ("enabling", meter)
        }
    };
    // A dispatcher has delivered a few by the time it is seen to be ready.
    let before_meter = load.ledger.arrivals();
    wait(&load.ledger, events as usize);
    settle();
    let metered = load.ledger.arrivals() - before_meter;
    if let Some(after) = load.ledger.first_arrival_after(begun) {
        row.notes
            .push(format!("from {what} to the first arrival: {after:.1?}"));
    }
    note_faults(row, &load.ledger, &failures, |_| true);
    let rate = load.ledger.arrivals() as f64 / load.ledger.arrival_span_s();
    // Of too few it would say nothing.
    let shares = if before_meter < metered {
        meter.shares(metered)
    } else {
        Vec::new()
    };
    Ok(Sample { rate, shares })
}
