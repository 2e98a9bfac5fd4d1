//! From before the publication to the arrival at the receiver, on one clock, at a fixed rate.

use super::site::{Pace, Route, Site, Stage, machine_ms, note_faults, own_ms, settle, wait};
use crate::receiver::Habit;
use crate::report::{Figure, Row, Target, Unit};

/// Seconds that are measured.
const SECONDS: u32 = 20;
const SECONDS_QUICK: u32 = 4;
/// Seconds at the same rate before.
const WARM_UP_S: u32 = 3;

/// `targets` are those of the 50th and the 99th percentile.
pub(super) fn publish_to_receipt(
    stage: &Stage<'_>,
    per_second: u32,
    targets: [Option<Target>; 2],
) -> anyhow::Result<Row> {
    let mut row = Row::new(stage.mode, format!("publish → receipt at {per_second}/s"));
    let events = per_second * stage.choose(SECONDS, SECONDS_QUICK);
    let site = Site::start(stage)?;
    site.create_endpoints(&[stage.receiver.url(Habit::Answers, 0)])?;
    let routes = [Route::default()];
    let pace = Pace::PerSecond(per_second);
    site.warm_up(per_second * WARM_UP_S, 1, &routes, pace)?;

    let load = site.load(events, 1, &routes);
    let profiles = site.profiles();
    let meter = site.meter();
    let failures = site.publish(&load, pace)?;
    wait(&load.ledger, events as usize);
    row.shares = meter.shares(events as usize);
    for profile in profiles {
        row.profiles.push(profile.finish()?);
    }
    settle();
    note_faults(&mut row, &load.ledger, &failures, |_| true);
    let latencies = load.ledger.latencies(|_| true);
    let chain = stage.floors.chain(per_second);
    let floors = [
        chain.map(|chain| chain.p50_ms),
        chain.map(|chain| chain.p99_ms),
    ];
    for ((percent, target), floor) in [50.0, 99.0].into_iter().zip(targets).zip(floors) {
        let value = latencies.percentile_ms(percent);
        let mut figure = Figure::new(format!("p{percent:.0}"), Unit::Milliseconds, value);
        figure.target = target;
        figure.floor = floor;
        row.figures.push(figure);
    }
    let own = own_ms(&row.shares);
    row.figures.push(Figure::new(
        "Fanfare's CPU per delivery",
        Unit::MillisecondsCpu,
        own,
    ));
    let machine = machine_ms(&row.shares);
    row.figures
        .push(Figure::new("CPU of all", Unit::MillisecondsCpu, machine));
    let most = latencies.percentile_ms(100.0);
    row.notes.push(format!(
        "{} deliveries, the slowest {most:.2} ms",
        latencies.count()
    ));
    Ok(row)
}
