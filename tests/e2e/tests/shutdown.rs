//! `SIGTERM` under load: the process drains and ends in time, nothing is lost, nothing comes twice.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use e2e::{Installation, Mode, Weather, full_length, in_both_modes};

in_both_modes!(
    a_terminated_process_drains_and_nothing_is_lost_or_sent_twice,
    a_terminated_process_ends_in_time_although_a_receiver_hangs,
);

/// The grace time, as configured, and a little.
const GRACE_S: u64 = 10;
const ENDS_WITHIN: Duration = Duration::from_secs(GRACE_S + 3);

fn with_grace(settings: testkit::Settings) -> testkit::Settings {
    settings.with("FANFARE__DELIVERY__GRACE_S", &GRACE_S.to_string())
}

async fn a_terminated_process_drains_and_nothing_is_lost_or_sent_twice(mode: Mode) -> Result<()> {
    let (events, times) = if full_length() {
        (20_000, 5)
    } else {
        (4_000, 2)
    };
    let mut installation = Installation::start_with(mode, with_grace).await?;
    let weather = Weather::start(&installation, "drain", events, Some(800)).await?;
    for time in 1..=times {
        weather
            .accepted_at_least(events * time / (times + 1), Duration::from_secs(60))
            .await?;
        for process in installation.processes_mut() {
            let from = Instant::now();
            process.terminate()?;
            let status = process.ended(ENDS_WITHIN).await?;
            ensure!(
                status.code() == Some(0),
                "{status} after {:?}",
                from.elapsed()
            );
            process.restart().await?;
        }
    }
    // No duplicate at all is excused.
    let report = weather.clears_up(Duration::from_secs(60), 0).await?;
    ensure!(!report.refused.contains_key(&500), "{report:?}");
    Ok(())
}

async fn a_terminated_process_ends_in_time_although_a_receiver_hangs(mode: Mode) -> Result<()> {
    let mut installation = Installation::start_with(mode, with_grace).await?;
    let client = installation.tenant().await?;
    let receiver = testkit::Receiver::start().await?;
    receiver.behave("/hook", testkit::Behavior::Hang);
    let settings = serde_json::json!({"timeout_s": 60});
    client
        .create_endpoint(&receiver.url("/hook"), settings)
        .await?;
    client.publish(&e2e::event("license.created", "l")).await?;
    receiver.wait_for("/hook", 1, e2e::SOON).await?;
    for process in installation.processes_mut() {
        process.terminate()?;
        ensure!(process.ended(ENDS_WITHIN).await?.code() == Some(0));
    }
    Ok(())
}
