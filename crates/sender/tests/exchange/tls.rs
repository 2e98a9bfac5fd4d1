use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http_body_util::Full;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use model::{ErrorClass, Outcome, Timestamp};
use rcgen::{CertificateParams, CertifiedIssuer, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use sender::{Sender, SenderConfig};
use time::OffsetDateTime;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use url::Url;

use crate::peer::{PATIENT, Peer, SHORT, send, sender};

/// A certificate authority of our own, and a server with a certificate from it.
struct Authority {
    root_pem: String,
    acceptor: TlsAcceptor,
}

fn authority(host: &str, alpn: &[&[u8]]) -> Authority {
    ending(host, alpn, CertificateParams::default().not_after)
}

/// One whose certificate ends then.
fn ending(host: &str, alpn: &[&[u8]], not_after: OffsetDateTime) -> Authority {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let root = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec![host.to_owned()]).unwrap();
    params.not_after = not_after;
    let certificate = params.signed_by(&key, &root).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        )
        .unwrap();
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    Authority {
        root_pem: root.pem(),
        acceptor: TlsAcceptor::from(Arc::new(config)),
    }
}

/// Serves HTTP over TLS and counts the requests by version.
async fn serve(acceptor: TlsAcceptor, http2: Arc<AtomicUsize>) -> Peer {
    Peer::start(move |stream| serve_one(acceptor.clone(), stream, Arc::clone(&http2))).await
}

async fn serve_one(
    acceptor: TlsAcceptor,
    stream: TcpStream,
    http2: Arc<AtomicUsize>,
) -> std::io::Result<()> {
    let stream = acceptor.accept(stream).await?;
    let service = hyper::service::service_fn(move |request: http::Request<_>| {
        let _: &hyper::body::Incoming = request.body();
        if request.version() == http::Version::HTTP_2 {
            http2.fetch_add(1, Ordering::SeqCst);
        }
        let response = http::Response::new(Full::new(bytes::Bytes::from_static(b"ok")));
        std::future::ready(Ok::<_, std::convert::Infallible>(response))
    });
    auto::Builder::new(TokioExecutor::new())
        .serve_connection(TokioIo::new(stream), service)
        .await
        .map_err(std::io::Error::other)
}

fn trusting(authority: &Authority) -> Sender {
    let extra_roots_pem = Some(authority.root_pem.clone().into_bytes());
    Sender::new(&SenderConfig {
        allow_private_targets: true,
        extra_roots_pem,
    })
    .unwrap()
}

fn url(peer: &Peer) -> Url {
    format!("https://localhost:{}/hooks", peer.port)
        .parse()
        .unwrap()
}

const ANSWERED: Outcome = Outcome::Answered {
    status: 200,
    retry_after: None,
};

#[tokio::test]
async fn http_2_is_spoken_where_it_is_offered_and_shares_a_connection() {
    for (alpn, expected) in [
        (&[&b"h2"[..], b"http/1.1"][..], 8),
        (&[b"http/1.1"], 0),
        (&[], 0),
    ] {
        let authority = authority("localhost", alpn);
        let http2 = Arc::new(AtomicUsize::new(0));
        let peer = serve(authority.acceptor.clone(), Arc::clone(&http2)).await;
        let sender = trusting(&authority);
        for _ in 0..8 {
            let reply = send(&sender, &url(&peer), PATIENT).await;
            assert_eq!((reply.outcome, &reply.body[..]), (ANSWERED, &b"ok"[..]));
        }
        assert_eq!(http2.load(Ordering::SeqCst), expected);
        assert_eq!(peer.connections(), 1);
    }
}

#[tokio::test]
async fn a_certificate_that_ends_soon_or_has_ended_is_remembered() {
    const DAY: i64 = 24 * 60 * 60;
    let now = ambient::now().as_seconds();
    for (days, remembered, outcome) in [
        (60, false, ANSWERED),
        (10, true, ANSWERED),
        (-1, true, Outcome::Unanswered(ErrorClass::TlsFailed)),
    ] {
        let ends_at = now + days * DAY;
        let not_after = OffsetDateTime::from_unix_timestamp(ends_at).unwrap();
        let authority = ending("localhost", &[], not_after);
        let peer = serve(authority.acceptor.clone(), Arc::default()).await;
        let sender = trusting(&authority);
        let reply = send(&sender, &url(&peer), PATIENT).await;
        assert_eq!(reply.outcome, outcome);
        let seen = sender.expiring();
        let expected = remembered.then(|| Timestamp::from_seconds(ends_at));
        assert_eq!(seen.get("localhost").copied(), expected, "{days} days");
    }
    let stranger = authority("localhost", &[]);
    let soon = OffsetDateTime::from_unix_timestamp(now + DAY).unwrap();
    let unknown = ending("localhost", &[], soon);
    let peer = serve(unknown.acceptor.clone(), Arc::default()).await;
    let sender = trusting(&stranger);
    send(&sender, &url(&peer), PATIENT).await;
    assert!(sender.expiring().is_empty(), "nobody vouches for it");
}

#[tokio::test]
async fn a_certificate_nobody_vouches_for_or_of_another_host_is_refused() {
    let (ours, theirs) = (
        authority("localhost", &[]),
        authority("receiver.example", &[]),
    );
    let unknown = serve(ours.acceptor.clone(), Arc::default()).await;
    let other_host = serve(theirs.acceptor.clone(), Arc::default()).await;
    for (sender, peer) in [(sender(), unknown), (trusting(&theirs), other_host)] {
        let reply = send(&sender, &url(&peer), PATIENT).await;
        assert_eq!(reply.outcome, Outcome::Unanswered(ErrorClass::TlsFailed));
    }
}

#[tokio::test]
async fn a_peer_without_tls_fails_as_such() {
    let plain = Peer::start(|mut stream| async move {
        tokio::io::AsyncWriteExt::write_all(&mut stream, b"HTTP/1.1 400 Bad Request\r\n\r\n").await
    })
    .await;
    let closing = Peer::start(|stream| async move {
        stream.readable().await?;
        let mut hello = [0; 4096];
        while stream.try_read(&mut hello).is_ok_and(|read| read > 0) {}
        Ok(())
    })
    .await;
    for peer in [plain, closing] {
        let reply = send(&sender(), &url(&peer), PATIENT).await;
        assert_eq!(reply.outcome, Outcome::Unanswered(ErrorClass::TlsFailed));
    }
}

#[tokio::test]
async fn a_handshake_that_takes_too_long_meets_the_deadline() {
    let peer = Peer::start(|stream| async move {
        let _held_open = stream;
        std::future::pending().await
    })
    .await;
    let reply = send(&sender(), &url(&peer), SHORT).await;
    assert_eq!(reply.outcome, Outcome::Unanswered(ErrorClass::Timeout));
}

#[tokio::test]
async fn an_http_2_peer_that_goes_away_is_a_closed_or_reset_connection() {
    let authority = authority("localhost", &[b"h2"]);
    let acceptor = authority.acceptor.clone();
    let peer = Peer::start(move |stream| {
        let acceptor = acceptor.clone();
        async move {
            let stream = acceptor.accept(stream).await?;
            let requests = hyper::service::service_fn(|_: http::Request<_>| {
                std::future::pending::<std::io::Result<http::Response<Full<bytes::Bytes>>>>()
            });
            let server = auto::Builder::new(TokioExecutor::new());
            let connection = server.serve_connection(TokioIo::new(stream), requests);
            let _ = tokio::time::timeout(SHORT, connection).await;
            Ok(())
        }
    })
    .await;
    let reply = send(&trusting(&authority), &url(&peer), PATIENT).await;
    let gone = [ErrorClass::ConnectionClosed, ErrorClass::ConnectionReset];
    assert!(
        gone.map(Outcome::Unanswered).contains(&reply.outcome),
        "{:?}",
        reply.outcome
    );
}

#[test]
fn roots_that_are_none_are_refused_at_start() {
    let new = |pem: &str| {
        Sender::new(&SenderConfig {
            extra_roots_pem: Some(pem.as_bytes().to_vec()),
            ..SenderConfig::default()
        })
    };
    assert!(new("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").is_err());
    assert!(new("-----BEGIN CERTIFICATE-----\nAAAA").is_err());
    assert!(new("").is_ok());
}
