//! The receiver, asked as a sender and as a browser would.

#![expect(
    clippy::unwrap_used,
    reason = "what a test needs and lacks fails the test"
)]

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use dialect::{Delivered, Dialect, Rendered};
use http_body_util::BodyExt as _;
use model::{DeliveryId, Endpoint, EndpointId, KeyKind, Submission, TenantId};
use receiver::{BODY_BYTES_MAX, FAILURES_MAX, Receiver, ReceiverConfig};
use secrecy::{ExposeSecret as _, SecretString};
use tower::ServiceExt as _;

fn secret() -> SecretString {
    Dialect::generate_secret([7; 32])
}

fn receiver(dialect: Dialect) -> Receiver {
    Receiver::new(ReceiverConfig {
        dialect,
        secret: Some(secret()),
    })
}

fn delivery(dialect: Dialect, id: &str) -> Rendered {
    let now = ambient::now();
    let tenant = TenantId::new("demo").unwrap();
    let body = format!(
        r#"{{"id":"{id}","type":"license.expired","occurred_at":"2026-04-15T12:00:00Z","data":{{"b":"<script>","a":{{"n":1.0}}}}}}"#
    );
    let event = Submission::parse(body.as_bytes())
        .unwrap()
        .into_event(tenant.clone(), now, 1);
    let url = "https://receiver.example/".parse().unwrap();
    let id = EndpointId::new(now, 1);
    let endpoint = Endpoint::new(id, tenant, url, dialect.name(), secret());
    let delivery = DeliveryId::from_u128(2);
    dialect
        .render(&Delivered {
            event: &event,
            endpoint: &endpoint,
            delivery,
            keys: &dialect::SigningKeys::default(),
            now,
        })
        .unwrap()
}

async fn post(router: &Router, path: &str, rendered: Rendered) -> (StatusCode, String) {
    let mut request = Request::post(path);
    for (name, value) in rendered.headers {
        request = request.header(name, value);
    }
    answer(router, request.body(Body::from(rendered.body)).unwrap()).await
}

async fn get(router: &Router, path: &str) -> String {
    let (status, body) = answer(router, Request::get(path).body(Body::empty()).unwrap()).await;
    assert_eq!(status, StatusCode::OK, "{path}");
    body
}

async fn answer(router: &Router, request: Request<Body>) -> (StatusCode, String) {
    let response = router.clone().oneshot(request).await.unwrap();
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

fn unsigned() -> Rendered {
    Rendered {
        headers: Vec::new(),
        body: "{}".into(),
    }
}

#[tokio::test]
async fn deliveries_of_every_dialect_verify_on_any_path_and_are_announced() {
    let with_a_secret = |dialect: &&Dialect| dialect.key_kinds().any(|it| it == KeyKind::Secret);
    for dialect in Dialect::ALL.iter().filter(with_a_secret) {
        let receiver = receiver(*dialect);
        let mut arrivals = receiver.subscribe();
        let router = receiver.router();
        let mut ids = Vec::new();
        for (path, duplicate) in [("/", false), ("/hooks/a?b=c", true)] {
            let (status, _) = post(&router, path, delivery(*dialect, "evt_1")).await;
            assert_eq!(status, StatusCode::NO_CONTENT);
            let arrival = arrivals.recv().await.unwrap();
            assert!(arrival.verified);
            assert_eq!(arrival.duplicate, duplicate, "{}", dialect.name());
            assert_eq!(arrival.event_type.as_deref(), Some("license.expired"));
            ids.push(arrival.id.clone().unwrap());
        }
        assert_eq!(ids[0], ids[1], "{}", dialect.name());
    }
}

#[tokio::test]
async fn what_does_not_verify_is_answered_401_with_the_reason() {
    let router = receiver(Dialect::Standard).router();
    let (status, reason) = post(&router, "/", unsigned()).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    assert_eq!(reason, "the header webhook-id is missing\n");
    let mut tampered = delivery(Dialect::Standard, "evt_1");
    tampered.body = "{}".into();
    let (status, reason) = post(&router, "/", tampered).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    assert!(reason.starts_with("signature mismatch"), "{reason}");
}

#[tokio::test]
async fn a_message_without_a_signature_is_taken_and_said_to_be_unsigned() {
    let receiver = receiver(Dialect::Slack);
    let mut arrivals = receiver.subscribe();
    let sent = delivery(Dialect::Slack, "evt_1");
    let (status, _) = post(&receiver.router(), "/", sent).await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    let arrival = arrivals.recv().await.unwrap();
    assert!(!arrival.verified);
    assert!(arrival.problem.as_ref().unwrap().contains("no signature"));
}

#[tokio::test]
async fn without_a_secret_it_asks_for_a_retry_until_it_has_one() {
    let receiver = Receiver::new(ReceiverConfig {
        dialect: Dialect::Standard,
        secret: None,
    });
    let router = receiver.router();
    let (status, _) = post(&router, "/", delivery(Dialect::Standard, "evt_1")).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    receiver.set_secret(secret());
    let (status, _) = post(&router, "/", delivery(Dialect::Standard, "evt_1")).await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    assert!(
        !get(&router, "/_received")
            .await
            .contains(r#""duplicate":true"#)
    );
}

#[tokio::test]
async fn it_fails_as_often_as_it_was_asked_to() {
    let router = receiver(Dialect::KeyPort).router();
    let (status, _) = post(&router, "/_fail?status=500&times=2", unsigned()).await;
    assert_eq!(status, StatusCode::OK);
    for expected in [500, 500, 204, 204] {
        let (status, _) = post(&router, "/", delivery(Dialect::KeyPort, "evt_1")).await;
        assert_eq!(status.as_u16(), expected);
    }
    post(&router, "/_fail", unsigned()).await;
    post(&router, "/_fail?times=0", unsigned()).await;
    let (status, _) = post(&router, "/", delivery(Dialect::KeyPort, "evt_2")).await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    let beyond = format!("/_fail?times={}", FAILURES_MAX + 1);
    for bad in [
        "/_fail?status=204",
        "/_fail?status=600",
        "/_fail?time=1",
        &beyond,
    ] {
        assert_eq!(
            post(&router, bad, unsigned()).await.0,
            StatusCode::BAD_REQUEST,
            "{bad}"
        );
    }
    let bound = format!("/_fail?times={FAILURES_MAX}");
    assert_eq!(post(&router, &bound, unsigned()).await.0, StatusCode::OK);
}

#[tokio::test]
async fn the_page_and_the_list_show_what_arrived_but_no_secret() {
    let receiver = receiver(Dialect::Standard);
    let router = receiver.router();
    assert!(get(&router, "/").await.contains("Nothing has arrived yet"));
    post(&router, "/", delivery(Dialect::Standard, "evt_1")).await;
    post(&router, "/", unsigned()).await;
    let page = get(&router, "/").await;
    assert!(page.contains("✓") && page.contains("✗") && page.contains("evt_1"));
    assert!(page.contains("&lt;script&gt;") && !page.contains("\"<script>\""));
    let list = get(&router, "/_received").await;
    assert!(
        list.starts_with(r#"{"received":2,"items":[{"number":2"#),
        "{list}"
    );
    assert!(
        list.contains(r#""data":{"b":"<script>","a":{"n":1.0}}"#),
        "{list}"
    );
    assert!(get(&router, "/_page.js").await.contains("fetch("));
    let told = format!("{page}{list}{receiver:?}");
    assert!(!told.contains(secret().expose_secret()));
}

#[tokio::test]
async fn a_sender_that_asks_first_is_agreed_to() {
    for (dialect, status) in [
        (Dialect::CloudEvents, StatusCode::OK),
        (Dialect::Standard, StatusCode::METHOD_NOT_ALLOWED),
    ] {
        let router = receiver(dialect).router();
        for path in ["/", "/hooks"] {
            let question = Request::options(path)
                .header("webhook-request-origin", "hooks.example.net")
                .header("webhook-request-rate", "120");
            let question = question.body(Body::empty()).unwrap();
            let answer = router.clone().oneshot(question).await.unwrap();
            assert_eq!(answer.status(), status);
            let headers = answer.headers();
            assert_eq!(headers["allow"], "POST");
            if status == StatusCode::OK {
                assert_eq!(headers["webhook-allowed-origin"], "hooks.example.net");
                assert_eq!(headers["webhook-allowed-rate"], "120");
            }
        }
    }
}

#[tokio::test]
async fn bodies_are_bounded_and_only_posts_are_deliveries() {
    let router = receiver(Dialect::Standard).router();
    for (bytes, expected) in [
        (BODY_BYTES_MAX, StatusCode::UNAUTHORIZED),
        (BODY_BYTES_MAX + 1, StatusCode::PAYLOAD_TOO_LARGE),
    ] {
        let rendered = Rendered {
            headers: Vec::new(),
            body: vec![b'x'; bytes].into(),
        };
        assert_eq!(post(&router, "/any", rendered).await.0, expected);
    }
    let request = Request::get("/any").body(Body::empty()).unwrap();
    assert_eq!(
        answer(&router, request).await.0,
        StatusCode::METHOD_NOT_ALLOWED
    );
}
