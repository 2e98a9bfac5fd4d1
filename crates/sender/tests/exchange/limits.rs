use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use model::{ErrorClass, Outcome, RESPONSE_BODY_KEPT_MAX};
use sender::{BODY_READ_MAX, RESPONSE_HEADER_BYTES_MAX, RESPONSE_HEADERS_MAX};
use tokio::io::AsyncWriteExt as _;

use crate::peer::{PATIENT, Peer, read_request, send, sender};

const BODY_BYTES: u64 = 500 * 1024 * 1024;

/// Sends 500 MB with a length, or for ever without one; counts what it got rid of.
async fn flood(chunked: bool) -> (Peer, Arc<AtomicU64>) {
    let written = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&written);
    let peer = Peer::start(move |mut stream| {
        let counter = Arc::clone(&counter);
        async move {
            read_request(&mut stream).await?;
            let framing = match chunked {
                true => "transfer-encoding: chunked".to_owned(),
                false => format!("content-length: {BODY_BYTES}"),
            };
            stream
                .write_all(format!("HTTP/1.1 200 OK\r\n{framing}\r\n\r\n").as_bytes())
                .await?;
            let mut block = vec![b'x'; 64 * 1024];
            if chunked {
                block = [b"10000\r\n", &block[..], b"\r\n"].concat();
            }
            let mut sent = 0;
            while sent < BODY_BYTES {
                stream.write_all(&block).await?;
                sent += block.len() as u64;
                counter.fetch_add(block.len() as u64, Ordering::SeqCst);
            }
            Ok(())
        }
    })
    .await;
    (peer, written)
}

#[tokio::test]
async fn a_body_of_500_mb_is_left_with_the_peer_and_its_status_counts() {
    for chunked in [false, true] {
        let (peer, written) = flood(chunked).await;
        let reply = send(&sender(), &peer.url(), PATIENT).await;
        assert_eq!(
            reply.outcome,
            Outcome::Answered {
                status: 200,
                retry_after: None
            }
        );
        assert_eq!(reply.body, vec![b'x'; RESPONSE_BODY_KEPT_MAX]);
        // What the sockets' buffers hold is gone; the rest is not waited for.
        assert!(written.load(Ordering::SeqCst) < BODY_BYTES / 10);
    }
}

#[tokio::test]
async fn a_body_is_kept_up_to_its_limit() {
    for length in [
        RESPONSE_BODY_KEPT_MAX,
        RESPONSE_BODY_KEPT_MAX + 1,
        BODY_READ_MAX + 1,
    ] {
        let body = "x".repeat(length);
        let response = format!("HTTP/1.1 500 No\r\ncontent-length: {length}\r\n\r\n{body}");
        let peer = Peer::answering(response).await;
        let reply = send(&sender(), &peer.url(), PATIENT).await;
        assert_eq!(
            reply.outcome,
            Outcome::Answered {
                status: 500,
                retry_after: None
            }
        );
        assert_eq!(reply.body.len(), RESPONSE_BODY_KEPT_MAX);
    }
}

#[tokio::test]
async fn a_head_of_1_mb_is_an_invalid_response() {
    let one = format!("X-Big: {}\r\n", "x".repeat(1024 * 1024));
    let many: String = (0..10_000)
        .map(|n| format!("X-{n}: {}\r\n", "x".repeat(90)))
        .collect();
    let endless = "x".repeat(1024 * 1024);
    for lines in [one, many, endless] {
        let peer = Peer::answering(format!("HTTP/1.1 200 OK\r\n{lines}\r\n")).await;
        let reply = send(&sender(), &peer.url(), PATIENT).await;
        assert_eq!(
            reply.outcome,
            Outcome::Unanswered(ErrorClass::ResponseInvalid)
        );
        assert!(reply.headers.is_empty());
    }
}

#[tokio::test]
async fn headers_are_kept_up_to_their_limits() {
    async fn kept(lines: String) -> usize {
        let response = format!("HTTP/1.1 200 OK\r\n{lines}content-length: 0\r\n\r\n");
        let peer = Peer::answering(response).await;
        let reply = send(&sender(), &peer.url(), PATIENT).await;
        assert_eq!(
            reply.outcome,
            Outcome::Answered {
                status: 200,
                retry_after: None
            }
        );
        reply.headers.len()
    }
    let lines = |count: usize| (0..count).map(|n| format!("x-{n}: y\r\n")).collect();
    assert_eq!(
        kept(lines(RESPONSE_HEADERS_MAX - 1)).await,
        RESPONSE_HEADERS_MAX
    );
    assert_eq!(
        kept(lines(RESPONSE_HEADERS_MAX)).await,
        RESPONSE_HEADERS_MAX
    );

    let big = |bytes: usize| format!("x-big: {}\r\n", "y".repeat(bytes - "x-big".len()));
    let length = "content-length".len() + "0".len();
    assert_eq!(kept(big(RESPONSE_HEADER_BYTES_MAX - length)).await, 2);
    assert_eq!(kept(big(RESPONSE_HEADER_BYTES_MAX - length + 1)).await, 1);
    assert_eq!(kept(big(RESPONSE_HEADER_BYTES_MAX + 1)).await, 0);
}

/// The process's memory, in bytes.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .unwrap();
    line.trim()
        .trim_end_matches(" kB")
        .parse::<usize>()
        .unwrap()
        * 1024
}

#[tokio::test]
async fn floods_side_by_side_cost_little_memory() {
    let (peer, _) = flood(false).await;
    let (sender, url) = (sender(), peer.url());
    send(&sender, &url, PATIENT).await;
    let before = resident();
    let mut peak = before;
    for _ in 0..10 {
        let sends = (0..64).map(|_| send(&sender, &url, PATIENT));
        for reply in futures::future::join_all(sends).await {
            assert_eq!(
                reply.outcome,
                Outcome::Answered {
                    status: 200,
                    retry_after: None
                }
            );
        }
        peak = peak.max(resident());
    }
    // Of these, the 64 peers' own blocks are 4 MiB.
    assert!(
        peak - before < 32 * 1024 * 1024,
        "{} MiB",
        (peak - before) >> 20
    );
}
