use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use model::{ErrorClass, Outcome};
use sender::Request;
use tokio::io::AsyncWriteExt as _;
use tokio::sync::mpsc;

use crate::peer::{PATIENT, Peer, read_request, rendered, send, sender};

fn answered(status: u16) -> Outcome {
    Outcome::Answered {
        status,
        retry_after: None,
    }
}

#[tokio::test]
async fn what_was_rendered_is_what_is_sent() {
    let (requests, mut received) = mpsc::unbounded_channel();
    let peer = Peer::start(move |mut stream| {
        let requests = requests.clone();
        async move {
            requests.send(read_request(&mut stream).await?).unwrap();
            stream
                .write_all(b"HTTP/1.1 204 No Content\r\nX-Seen: yes\r\n\r\n")
                .await
        }
    })
    .await;
    let headers = BTreeMap::from([
        ("Authorization".to_owned(), "Bearer t".to_owned()),
        ("Webhook-Id".to_owned(), "forged".to_owned()),
    ]);
    let url = peer.url();
    let request = Request {
        url: &url,
        rendered: rendered(),
        headers: &headers,
        timeout: PATIENT,
    };
    let reply = sender().send(request).await;
    assert_eq!(reply.outcome, answered(204));
    assert!(
        reply
            .headers
            .contains(&("x-seen".to_owned(), "yes".to_owned()))
    );

    let request = received.recv().await.unwrap();
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    assert_eq!(body, r#"{"type":"license.created","data":{}}"#);
    let mut lines: Vec<_> = head.lines().collect();
    assert_eq!(lines.remove(0), "POST /hooks?a=b HTTP/1.1");
    lines.sort_unstable();
    let host = format!("host: 127.0.0.1:{}", peer.port);
    let agent = format!("user-agent: Fanfare/{}", env!("CARGO_PKG_VERSION"));
    let expected = [
        "authorization: Bearer t",
        "content-length: 36",
        "content-type: application/json",
        &host,
        &agent,
        "webhook-id: evt_1",
    ];
    assert_eq!(lines, expected);
}

#[tokio::test]
async fn every_status_is_an_answer_and_the_body_is_kept() {
    for status in [200, 299, 400, 404, 410, 429, 500, 503, 999] {
        let response = format!("HTTP/1.1 {status} Whatever\r\nContent-Length: 2\r\n\r\nok");
        let peer = Peer::answering(response).await;
        let reply = send(&sender(), &peer.url(), PATIENT).await;
        assert_eq!(reply.outcome, answered(status));
        assert_eq!(reply.body, b"ok");
    }
}

#[tokio::test]
async fn a_redirect_is_an_answer_and_not_followed() {
    let elsewhere = Peer::answering("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
    for status in [301, 302, 303, 307, 308] {
        let response = format!(
            "HTTP/1.1 {status} Moved\r\nLocation: {}\r\n\r\n",
            elsewhere.url()
        );
        let peer = Peer::answering(response).await;
        assert_eq!(
            send(&sender(), &peer.url(), PATIENT).await.outcome,
            answered(status)
        );
    }
    assert_eq!(elsewhere.connections(), 0);
}

#[tokio::test]
async fn retry_after_is_told() {
    for (value, expected) in [("120", Some(120)), ("later", None)] {
        let response = format!("HTTP/1.1 429 Slow\r\nRetry-After: {value}\r\n\r\n");
        let peer = Peer::answering(response).await;
        let reply = send(&sender(), &peer.url(), PATIENT).await;
        let retry_after = expected.map(Duration::from_secs);
        assert_eq!(
            reply.outcome,
            Outcome::Answered {
                status: 429,
                retry_after
            }
        );
    }
}

/// Answers request after request on each connection.
async fn keeping_alive(response: String) -> Peer {
    let response: Arc<str> = response.into();
    Peer::start(move |mut stream| {
        let response = Arc::clone(&response);
        async move {
            loop {
                read_request(&mut stream).await?;
                stream.write_all(response.as_bytes()).await?;
            }
        }
    })
    .await
}

#[tokio::test]
async fn a_connection_is_used_again_after_a_body_within_bounds() {
    let body = "x".repeat(sender::BODY_READ_MAX);
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
    let peer = keeping_alive(head + &body).await;
    let sender = sender();
    for _ in 0..5 {
        assert_eq!(
            send(&sender, &peer.url(), PATIENT).await.outcome,
            answered(200)
        );
    }
    assert_eq!(peer.connections(), 1);
}

#[tokio::test]
async fn a_connection_that_the_peer_closed_is_not_used_again() {
    let peer = Peer::answering("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
    let sender = sender();
    for number in 1..=20 {
        let outcome = send(&sender, &peer.url(), PATIENT).await.outcome;
        assert_eq!(outcome, answered(200), "request {number}");
    }
}

#[tokio::test]
async fn a_request_that_the_peer_read_and_dropped_is_not_repeated_unseen() {
    let peer = Peer::start(|mut stream| async move {
        read_request(&mut stream).await?;
        stream
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
            .await?;
        read_request(&mut stream).await.map(drop)
    })
    .await;
    let sender = sender();
    assert_eq!(
        send(&sender, &peer.url(), PATIENT).await.outcome,
        answered(200)
    );
    let outcome = send(&sender, &peer.url(), PATIENT).await.outcome;
    assert_eq!(outcome, Outcome::Unanswered(ErrorClass::ConnectionClosed));
    assert_eq!(peer.connections(), 1);
}

#[tokio::test]
async fn an_interim_response_is_not_the_answer() {
    let response = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 202 OK\r\ncontent-length: 0\r\n\r\n";
    let peer = Peer::answering(response).await;
    assert_eq!(
        send(&sender(), &peer.url(), PATIENT).await.outcome,
        answered(202)
    );
}
