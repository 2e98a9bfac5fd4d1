//! A full disk under the embedded queue, as a limit on the size of a process's files.

use std::process::Command;
use std::time::Duration;

use broker::{BrokerError, BrokerStatus, Destination, Options, Publication, Queue};
use bytes::Bytes;
use testkit::eventually;

const URL: &str = "FANFARE_TEST_DISK_URL";
const LIMIT: Duration = Duration::from_secs(20);
/// In units of 512 bytes, as the shell counts.
const FILE_BLOCKS_MAX: u32 = 8_000;

#[test]
fn a_full_disk_refuses_publishing_and_recovers_without_a_restart() {
    let folder = testkit::scratch_folder().unwrap();
    // A file that would grow too large is an error like a full disk, if the signal is ignored.
    let script = format!("trap '' XFSZ; ulimit -S -f {FILE_BLOCKS_MAX}; exec \"$0\" \"$@\"");
    let output = Command::new("sh")
        .args(["-c", &script])
        .arg(std::env::current_exe().unwrap())
        .args([
            "--ignored",
            "--exact",
            "a_child_that_runs_out_of_disk",
            "--nocapture",
        ])
        .env(URL, format!("embedded://{}", folder.path().display()))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{said}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(said.contains("recovered"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "the other test runs it with little room for files"]
#[expect(clippy::disallowed_methods, reason = "told by its parent")]
async fn a_child_that_runs_out_of_disk() {
    let url = std::env::var(URL).unwrap();
    let broker = broker::open(&url, Options::default()).await.unwrap();
    let message = || Publication {
        to: Destination::Delivery {
            urgent: false,
            due_at: None,
        },
        body: Bytes::from(vec![b'x'; 1_000]),
    };
    let mut confirmed = 0;
    let refused = loop {
        match broker.publish(vec![message(); 100]).await {
            Ok(()) => confirmed += 100,
            Err(error) => break error,
        }
        assert!(confirmed < 100_000, "the limit does not hold");
    };
    assert!(
        matches!(refused, BrokerError::Unavailable { .. }),
        "{refused}"
    );
    assert!(
        matches!(broker.status(), BrokerStatus::Blocked { .. }),
        "{:?}",
        broker.status()
    );

    // What is there can be worked on meanwhile.
    let mut consumer = broker.consume(Queue::Deliveries, 10);
    for _ in 0..20 {
        consumer.next().await.unwrap().ack.ack();
    }
    let pid = std::process::id().to_string();
    let room = Command::new("prlimit")
        .args(["--pid", &pid, "--fsize=unlimited:"])
        .status();
    assert!(room.unwrap().success());
    eventually("recovery", LIMIT, async || {
        (broker.status() == BrokerStatus::Connected).then_some(())
    })
    .await
    .unwrap();
    broker.publish(vec![message(); 100]).await.unwrap();
    for _ in 20..confirmed + 100 {
        consumer.next().await.unwrap().ack.ack();
    }
    broker.close().await;
    println!("recovered");
}
