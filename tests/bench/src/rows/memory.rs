//! Memory of all roles while deliveries wait: the receiver answers nothing until all are accepted.

use super::site::{Pace, Route, Site, Stage, note_faults, settle, wait};
use crate::floors::CONNECTIONS;
use crate::process;
use crate::receiver::{Habit, Receiver};
use crate::report::{Figure, Row, Target, Unit};

const PACE: Pace = Pace::Connections(CONNECTIONS);
const WARM_UP_EVENTS: u32 = 1_000;

/// Opens the gate again whatever happens, for the rows that follow.
struct ClosedGate<'a>(&'a Receiver);

impl Drop for ClosedGate<'_> {
    fn drop(&mut self) {
        self.0.set_gate(true);
    }
}

pub(super) fn waiting(stage: &Stage<'_>, target: Target) -> anyhow::Result<Row> {
    let events = stage.choose(20_000, 5_000);
    let mut row = Row::new(stage.mode, format!("{events} waiting"));
    let site = Site::start(stage)?;
    let idle_mb = site.peak_memory_mb()?;
    site.create_endpoints(&[stage.receiver.url(Habit::WaitsAtGate, 0)])?;
    let routes = [Route::default()];
    site.warm_up(WARM_UP_EVENTS, 1, &routes, PACE)?;

    let load = site.load(events, 1, &routes);
    stage.receiver.set_gate(false);
    let gate = ClosedGate(stage.receiver);
    let failures = site.publish(&load, PACE)?;
    settle();
    let in_flight = load.ledger.arrivals();
    drop(gate);
    wait(&load.ledger, events as usize);
    settle();
    note_faults(&mut row, &load.ledger, &failures, |_| true);

    let peak = Figure::new(
        "peak memory of all roles",
        Unit::Megabytes,
        site.peak_memory_mb()?,
    );
    row.figures.push(peak.target(target).floor(idle_mb));
    for (role, pid) in site.installation.processes() {
        let megabytes = process::peak_memory_bytes(pid)? as f64 / 1e6;
        row.notes
            .push(format!("peak of {}: {megabytes:.1} MB", role.as_str()));
    }
    row.notes.push(format!(
        "requests in flight while the receiver waited: {in_flight}"
    ));
    row.notes
        .push("the floor is the peak before the first event".to_owned());
    Ok(row)
}
