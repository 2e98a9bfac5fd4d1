//! The disk under the embedded store is full: 503 with a reason, and recovery without a restart.

use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;

use anyhow::{Result, ensure};
use e2e::SOON;
use serde_json::json;
use testkit::{Fanfare, Receiver, Role, Settings, among_others, eventually, scratch_folder};

/// The size of the disk.
const DISK_MIB: usize = 24;

/// A file that takes what room there is.
fn fill(path: &PathBuf) -> Result<()> {
    let mut file = File::create(path)?;
    let block = vec![0; 64 * 1024];
    while file.write_all(&block).is_ok() {}
    Ok(())
}

#[tokio::test]
async fn a_full_disk_is_a_503_with_a_reason_and_recovers_without_a_restart() -> Result<()> {
    let _turn = among_others().await;
    let folder = scratch_folder()?;
    let settings = Settings::embedded(folder.path())?;
    // A small disk that only this process sees.
    let mount = format!(
        "mount -t tmpfs -o size={DISK_MIB}m tmpfs {}",
        folder.path().display()
    );
    let fanfare = Fanfare::start_in_mount(Role::Serve, settings, &mount).await?;
    let seen_from_inside = |name: &str| {
        PathBuf::from(format!(
            "/proc/{}/root{}/{name}",
            fanfare.pid(),
            folder.path().display()
        ))
    };
    let filler = seen_from_inside("filler");
    let client = fanfare.tenant_client("acme").await?;
    let receiver = Receiver::start().await?;
    client
        .create_endpoint(&receiver.url("/hook"), json!({}))
        .await?;
    client
        .publish(&json!({"id": "before", "type": "license.created", "data": {}}))
        .await?;
    client
        .delivery_with_status("before", "delivered", SOON)
        .await?;

    fill(&filler)?;
    let mut accepted = vec!["before".to_owned()];
    let mut refused = None;
    for n in 0..2_000 {
        let id = format!("full-{n}");
        let event =
            json!({"id": id, "type": "license.created", "data": {"pad": "x".repeat(8_000)}});
        let answer = client.post("/v1/events", &event).await?;
        match answer.status {
            202 => accepted.push(id),
            503 => {
                refused = Some(answer);
                break;
            }
            other => anyhow::bail!("{other}: {}", answer.text()),
        }
    }
    let Some(refused) = refused else {
        anyhow::bail!("the disk was never full")
    };
    ensure!(
        refused.header("retry-after").is_some(),
        "{}",
        refused.text()
    );
    ensure!(
        refused.json()["detail"]
            .as_str()
            .is_some_and(|detail| !detail.is_empty())
    );
    ensure!(!refused.text().contains("SQLITE"), "{}", refused.text());

    let pid = fanfare.pid();
    fs::remove_file(&filler)?;
    eventually("events are taken in again", 2 * SOON, async || {
        let event = json!({"id": "after", "type": "license.created", "data": {}});
        (client.post("/v1/events", &event).await.ok()?.status == 202).then_some(())
    })
    .await?;
    accepted.push("after".to_owned());
    ensure!(fanfare.pid() == pid);
    receiver
        .wait_for_distinct("/hook", accepted.len(), 3 * SOON)
        .await?;
    for id in [
        &accepted[0],
        &accepted[accepted.len() / 2],
        &accepted[accepted.len() - 1],
    ] {
        client
            .delivery_with_status(id, "delivered", 2 * SOON)
            .await?;
    }
    Ok(())
}
