//! What endpoints that do not answer cost the others.

use super::site::{Pace, Route, Site, Stage, TENANT, note_faults, refusing_url, settle, wait};
use crate::admin::ENDPOINTS_PER_TENANT_MAX;
use crate::receiver::{HANG, Habit};
use crate::report::{Figure, Row, Target, Unit};

/// Events a second for each of the two endpoints.
const RATE: u32 = 100;
const SECONDS: u32 = 30;
const SECONDS_QUICK: u32 = 12;
const WARM_UP_S: u32 = 3;

/// Endpoints that do not count arrive beyond those an event goes to.
const UNCOUNTED: usize = 1;

/// A fast endpoint alone, then beside one that takes ten seconds to answer.
pub(super) fn beside_hanging(stage: &Stage<'_>) -> anyhow::Result<Row> {
    let mut row = Row::new(stage.mode, format!("fast beside one that hangs {HANG:?}"));
    let site = Site::start(stage)?;
    let admin = site.installation.admin();
    let route = |product: &str| Route {
        tenant: TENANT.to_owned(),
        product: product.to_owned(),
    };
    admin.create_tenant(TENANT)?;
    admin.create_endpoint(TENANT, "fast", &stage.receiver.url(Habit::Answers, 0))?;
    admin.create_endpoint(TENANT, "slow", &stage.receiver.url(Habit::Hangs, UNCOUNTED))?;
    let seconds = stage.choose(SECONDS, SECONDS_QUICK);
    let alone = [route("fast")];
    site.warm_up(RATE * WARM_UP_S, 1, &alone, Pace::PerSecond(RATE))?;

    let mut percentiles = Vec::new();
    let both = [route("fast"), route("slow")];
    for (routes, rate) in [(&alone[..], RATE), (&both[..], 2 * RATE)] {
        let is_fast = |number: u32| (number as usize).is_multiple_of(routes.len());
        let load = site.load(rate * seconds, 1, routes);
        let failures = site.publish(&load, Pace::PerSecond(rate))?;
        wait(&load.ledger, (RATE * seconds) as usize);
        settle();
        note_faults(&mut row, &load.ledger, &failures, is_fast);
        let latencies = load.ledger.latencies(is_fast);
        percentiles.push((latencies.percentile_ms(50.0), latencies.percentile_ms(99.0)));
        row.notes
            .push(format!("requests that hung: {}", load.ledger.strays()));
    }
    let [(p50_alone, p99_alone), (p50, p99)] = percentiles[..] else {
        unreachable!("two runs")
    };
    let ratio = Figure::new("p99 beside ÷ p99 alone", Unit::Times, p99 / p99_alone);
    row.figures
        .push(ratio.target(Target::AtMost(1.5)).floor(1.0));
    row.figures
        .push(Figure::new("p50 beside", Unit::Milliseconds, p50).floor(p50_alone));
    row.figures
        .push(Figure::new("p99 beside", Unit::Milliseconds, p99).floor(p99_alone));
    row.notes
        .push("the floor is the same endpoint alone".to_owned());
    Ok(row)
}

const ENDPOINTS: usize = 500;
const DEAD_RATE: u32 = 200;
const DEAD_SECONDS: u32 = 45;

/// 500 endpoints in turn; of every four, two live, one refuses and one never answers.
pub(super) fn among_dead(stage: &Stage<'_>) -> anyhow::Result<Row> {
    let mut row = Row::new(
        stage.mode,
        format!("{ENDPOINTS} endpoints, half of them dead"),
    );
    let site = Site::start(stage)?;
    let routes = create_half_dead(&site)?;
    let living: Vec<_> = routes.iter().step_by(2).cloned().collect();
    let pace = Pace::PerSecond(DEAD_RATE);
    site.warm_up(DEAD_RATE * WARM_UP_S, 1, &living, pace)?;

    let lives = |number: u32| number.is_multiple_of(2);
    let events = DEAD_RATE * stage.choose(DEAD_SECONDS, SECONDS_QUICK);
    let load = site.load(events, 1, &routes);
    let failures = site.publish(&load, pace)?;
    wait(&load.ledger, events as usize / 2);
    settle();
    note_faults(&mut row, &load.ledger, &failures, lives);
    let latencies = load.ledger.latencies(lives);
    let chain = stage.floors.chain(DEAD_RATE);
    let p99 = Figure::new(
        "p99 of the living",
        Unit::Milliseconds,
        latencies.percentile_ms(99.0),
    );
    let mut p99 = p99.target(Target::AtMost(50.0));
    p99.floor = chain.map(|chain| chain.p99_ms);
    row.figures.push(p99);
    let p50 = Figure::new(
        "p50 of the living",
        Unit::Milliseconds,
        latencies.percentile_ms(50.0),
    );
    row.figures.push(p50);
    row.figures.push(Figure::new(
        "peak memory",
        Unit::Megabytes,
        site.peak_memory_mb()?,
    ));
    row.notes.push(format!(
        "requests that were never answered: {}",
        load.ledger.strays()
    ));
    Ok(row)
}

fn create_half_dead(site: &Site<'_>) -> anyhow::Result<Vec<Route>> {
    let admin = site.installation.admin();
    let receiver = site.stage.receiver;
    let mut routes: Vec<Route> = Vec::with_capacity(ENDPOINTS);
    for number in 0..ENDPOINTS {
        let tenant = format!("{TENANT}{}", number / ENDPOINTS_PER_TENANT_MAX);
        if number % ENDPOINTS_PER_TENANT_MAX == 0 {
            admin.create_tenant(&tenant)?;
        }
        let url = match number % 4 {
            0 | 2 => receiver.url(Habit::Answers, 0),
            1 => refusing_url()?,
            _ => receiver.url(Habit::NeverAnswers, UNCOUNTED),
        };
        let product = format!("prod_{number}");
        admin.create_endpoint(&tenant, &product, &url)?;
        routes.push(Route { tenant, product });
    }
    Ok(routes)
}
