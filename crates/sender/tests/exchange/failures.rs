use std::time::Duration;

use model::{ErrorClass, Outcome};
use sender::Reply;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;

use crate::peer::{PATIENT, Peer, SHORT, read_request, send, sender};

fn check(reply: &Reply, class: ErrorClass) {
    assert_eq!(reply.outcome, Outcome::Unanswered(class));
}

/// Within the deadline, give or take a busy machine.
fn in_time(reply: &Reply) {
    assert!(reply.duration >= SHORT, "{:?}", reply.duration);
    assert!(
        reply.duration < SHORT + Duration::from_millis(700),
        "{:?}",
        reply.duration
    );
}

#[tokio::test]
async fn nobody_listens() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap())
        .parse()
        .unwrap();
    drop(listener);
    check(
        &send(&sender(), &url, PATIENT).await,
        ErrorClass::ConnectionRefused,
    );
}

#[tokio::test]
async fn the_peer_resets() {
    let peer = Peer::start(|mut stream| async move {
        read_request(&mut stream).await?;
        socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO))
    })
    .await;
    check(
        &send(&sender(), &peer.url(), PATIENT).await,
        ErrorClass::ConnectionReset,
    );
}

#[tokio::test]
async fn the_peer_never_answers() {
    let peer = Peer::start(|mut stream| async move {
        read_request(&mut stream).await?;
        std::future::pending().await
    })
    .await;
    let reply = send(&sender(), &peer.url(), SHORT).await;
    check(&reply, ErrorClass::Timeout);
    in_time(&reply);
}

#[tokio::test]
async fn the_peer_drips() {
    let heads: [&'static [u8]; 2] = [b"", b"HTTP/1.1 200 OK\r\ncontent-length: 9999\r\n\r\n"];
    for head in heads {
        let peer = Peer::start(move |mut stream| async move {
            read_request(&mut stream).await?;
            stream.write_all(head).await?;
            let mut second = tokio::time::interval(Duration::from_millis(50));
            for byte in b"HTTP/1.1 200 OK\r\ncontent-length: 9999\r\n\r\n"
                .iter()
                .cycle()
            {
                second.tick().await;
                stream.write_all(&[*byte]).await?;
            }
            Ok(())
        })
        .await;
        let reply = send(&sender(), &peer.url(), SHORT).await;
        check(&reply, ErrorClass::Timeout);
        in_time(&reply);
        let kept = (reply.headers.len(), reply.body.is_empty());
        assert_eq!(
            kept,
            if head.is_empty() {
                (0, true)
            } else {
                (1, false)
            }
        );
    }
}

#[tokio::test]
async fn the_peer_closes_before_it_answers() {
    for sent in ["", "HTTP/1.1 200 OK\r\nContent-"] {
        let peer = Peer::answering(sent).await;
        check(
            &send(&sender(), &peer.url(), PATIENT).await,
            ErrorClass::ConnectionClosed,
        );
    }
}

#[tokio::test]
async fn the_peer_closes_in_mid_body() {
    let length = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n0123456789";
    let chunks = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\na\r\n0123456789\r\n";
    for response in [length, chunks] {
        let peer = Peer::answering(response).await;
        let reply = send(&sender(), &peer.url(), PATIENT).await;
        check(&reply, ErrorClass::ConnectionClosed);
        assert_eq!(reply.body, b"0123456789");
        assert_eq!(reply.headers.len(), 1);
    }
}

#[tokio::test]
async fn what_the_peer_speaks_is_not_http() {
    let responses = [
        "SSH-2.0-OpenSSH_9.2p1\r\n\r\n",
        "HTTP/1.1 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ];
    for response in responses {
        let peer = Peer::answering(response).await;
        let reply = send(&sender(), &peer.url(), PATIENT).await;
        check(&reply, ErrorClass::ResponseInvalid);
    }
}

#[tokio::test]
async fn the_name_does_not_resolve() {
    let url = "http://receiver.invalid/".parse().unwrap();
    check(&send(&sender(), &url, PATIENT).await, ErrorClass::DnsFailed);
}
