//! `kill -9` of Fanfare's own processes, again and again, while events come in: nothing that was
//! answered is lost.

use std::time::Duration;

use anyhow::Result;
use e2e::{Installation, Mode, Weather, full_length};
use testkit::among_others;

/// How much, and how often killed.
fn extent() -> (usize, usize) {
    if full_length() {
        (20_000, 8)
    } else {
        (5_000, 3)
    }
}

/// At most so many of a hundred arrive twice.
const DUPLICATES_PER_CENT: usize = 2;
const LIMIT: Duration = Duration::from_secs(90);

/// Where in the load the n-th kill happens: in the middle of each part.
fn moment(events: usize, kills: usize, n: usize) -> usize {
    events * (2 * n + 1) / (2 * kills)
}

async fn killed(mode: Mode, prefix: &str, which: impl Fn(usize) -> Which) -> Result<()> {
    let _turn = among_others().await;
    let (events, kills) = extent();
    let mut installation = Installation::start(mode).await?;
    let mut weather = Weather::start(&installation, prefix, events, Some(1_000)).await?;
    for n in 0..kills {
        weather
            .accepted_at_least(moment(events, kills, n), LIMIT)
            .await?;
        weather.disturb();
        let process = match which(n) {
            Which::Ingest => &mut installation.ingest,
            Which::Dispatcher => installation.dispatcher_mut(),
        };
        process.kill()?;
        process.restart().await?;
        weather.disturb();
    }
    let report = weather.clears_up(LIMIT, DUPLICATES_PER_CENT).await?;
    anyhow::ensure!(report.accepted == events, "{report:?}");
    Ok(())
}

enum Which {
    Ingest,
    Dispatcher,
}

#[tokio::test]
async fn nothing_is_lost_when_serve_is_killed_under_load() -> Result<()> {
    killed(Mode::Embedded, "serve", |_| Which::Ingest).await
}

#[tokio::test]
async fn nothing_is_lost_when_ingest_is_killed_under_load() -> Result<()> {
    killed(Mode::Services, "ingest", |_| Which::Ingest).await
}

#[tokio::test]
async fn nothing_is_lost_when_the_dispatcher_is_killed_under_load() -> Result<()> {
    killed(Mode::Services, "dispatcher", |_| Which::Dispatcher).await
}

#[tokio::test]
async fn nothing_is_lost_when_both_are_killed_in_turn() -> Result<()> {
    killed(Mode::Services, "both", |n| {
        if n % 2 == 0 {
            Which::Ingest
        } else {
            Which::Dispatcher
        }
    })
    .await
}
