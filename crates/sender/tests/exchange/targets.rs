use model::{ErrorClass, Outcome};
use sender::{Sender, SenderConfig, URL_BYTES_MAX};
use url::Url;

use crate::peer::{PATIENT, Peer, send, sender};

fn guarded() -> Sender {
    Sender::new(&SenderConfig::default()).unwrap()
}

async fn peer() -> Peer {
    Peer::answering("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await
}

#[tokio::test]
async fn forbidden_targets_are_refused_when_connecting_in_every_spelling() {
    let peer = peer().await;
    let hosts = [
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f.0.0.1",
        "0177.0.0.1",
        "0",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[::]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
        "169.254.169.254",
        "[fd00:ec2::254]",
        "10.0.0.1",
        "localhost",
        "LOCALHOST",
        "%6cocalhost",
    ];
    for host in hosts {
        let url: Url = format!("https://{host}:{}/", peer.port).parse().unwrap();
        let reply = send(&guarded(), &url, PATIENT).await;
        assert_eq!(
            reply.outcome,
            Outcome::Unanswered(ErrorClass::TargetForbidden),
            "{host}"
        );
    }
    let plain = format!("http://receiver.example:{}/", peer.port)
        .parse()
        .unwrap();
    let reply = send(&guarded(), &plain, PATIENT).await;
    assert_eq!(
        reply.outcome,
        Outcome::Unanswered(ErrorClass::TargetForbidden)
    );
    assert_eq!(peer.connections(), 0);
}

#[tokio::test]
async fn private_targets_are_reached_where_they_are_allowed() {
    let peer = peer().await;
    for host in ["127.0.0.1", "localhost"] {
        let url: Url = format!("http://{host}:{}/", peer.port).parse().unwrap();
        let reply = send(&sender(), &url, PATIENT).await;
        assert_eq!(
            reply.outcome,
            Outcome::Answered {
                status: 200,
                retry_after: None
            },
            "{host}"
        );
    }
}

#[tokio::test]
async fn mistakes_in_a_url_are_told_at_registration() {
    let long = format!("https://8.8.8.8/{}", "x".repeat(URL_BYTES_MAX));
    let cases = [
        ("receiver.example", "must be a URL"),
        ("https://", "must be a URL"),
        ("ftp://receiver.example/", "must begin with https://"),
        ("http://8.8.8.8/", "development only"),
        ("https://user@8.8.8.8/", "user name or password"),
        ("https://:secret@8.8.8.8/", "user name or password"),
        ("https://8.8.8.8/#part", "fragment"),
        ("https://8.8.8.8:0/", "port 0"),
        ("https://127.0.0.1/", "private"),
        ("https://2130706433/", "private"),
        ("https://[::ffff:10.0.0.1]/", "private"),
        ("https://localhost/", "resolves to a private"),
        (&long, "at most 2048 bytes"),
    ];
    for (url, saying) in cases {
        let error = guarded().check_target(url).await.unwrap_err();
        assert_eq!(error.pointer, "/url");
        assert!(error.detail.contains(saying), "{url}: {}", error.detail);
    }
}

#[tokio::test]
async fn good_urls_pass_registration_even_before_their_name_resolves() {
    let longest = format!("https://8.8.8.8/{}", "x".repeat(URL_BYTES_MAX - 16));
    for url in [
        "https://8.8.8.8:8443/a?b=c|d",
        "https://receiver.invalid/hooks",
        &longest,
    ] {
        assert!(guarded().check_target(url).await.is_ok(), "{url}");
    }
    for url in [
        "http://localhost:3000/",
        "http://127.0.0.1/",
        "https://[::1]/",
    ] {
        assert!(sender().check_target(url).await.is_ok(), "{url}");
    }
    assert!(sender().check_target("ftp://localhost/").await.is_err());
}
