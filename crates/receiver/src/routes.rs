use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Query, State as Shared};
use axum::http::uri::PathAndQuery;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use bytes::Bytes;
use dialect::{Received, Verified, VerifyError};
use model::EVENT_BYTES_MAX;
use serde::{Deserialize, Serialize};

use crate::arrivals::Request;
use crate::{Arrival, Failing, Receiver, State, page};

/// The largest delivery it takes: any batch that Fanfare sends fits. Beyond that it answers 413.
pub const BODY_BYTES_MAX: usize = 5 * EVENT_BYTES_MAX;
/// Failures asked for at once, at most.
pub const FAILURES_MAX: u32 = 1_000;

impl Receiver {
    /// `POST` any path: a delivery. `OPTIONS` any path: agrees to senders that ask first. `GET /`: the page. `GET /_received`: the same as JSON.
    /// `POST /_fail?status=503&times=3`: fail the next deliveries.
    pub fn router(&self) -> Router {
        Router::new()
            .route("/", get(show).post(deliver).options(agree))
            .route("/_received", get(list))
            .route("/_fail", post(fail))
            .route("/_page.js", get(script))
            .fallback_service(post(deliver).options(agree).with_state(self.clone()))
            .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
            .with_state(self.clone())
    }

    fn receive(&self, uri: &Uri, headers: &HeaderMap, body: &[u8]) -> Arc<Arrival> {
        let request = Request {
            target: uri.path_and_query().map_or("/", PathAndQuery::as_str),
            body,
            received_at: ambient::now(),
        };
        let mut state = self.state.lock();
        let (verdict, answer) = self.judge(&state, headers, &request);
        let answered = state.failing.take().map_or(answer, |failing| {
            let times = failing.times - 1;
            state.failing = (times > 0).then_some(Failing { times, ..failing });
            failing.status
        });
        let arrival = state.arrivals.record(&request, verdict, answered);
        drop(state);
        let _nobody_listens = self.arrived.send(Arc::clone(&arrival));
        arrival
    }

    fn judge(
        &self,
        state: &State,
        headers: &HeaderMap,
        request: &Request<'_>,
    ) -> (Result<Verified, String>, u16) {
        let Some(secret) = &state.secret else {
            return (
                Err("this receiver has no secret to verify with yet".to_owned()),
                503,
            );
        };
        let received = Received {
            target: request.target,
            url: None,
            headers: &|name| text(headers, name),
            body: request.body,
            now: request.received_at,
        };
        match self.dialect.verify(secret, &received) {
            Ok(verified) => (Ok(verified), 204),
            Err(error @ VerifyError::Unsigned) => (Err(error.to_string()), 204),
            Err(error) => (Err(error.to_string()), 401),
        }
    }
}

async fn deliver(
    Shared(receiver): Shared<Receiver>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let arrival = receiver.receive(&uri, &headers, &body);
    let status = StatusCode::from_u16(arrival.answered).expect("checked where it was asked for");
    match &arrival.problem {
        Some(problem) => (status, format!("{problem}\n")).into_response(),
        None => status.into_response(),
    }
}

/// Agrees to every sender that asks by the dialect's rules.
async fn agree(Shared(receiver): Shared<Receiver>, headers: HeaderMap) -> Response {
    let allow = [(header::ALLOW, "POST")];
    match receiver.dialect.agree(&|name| text(&headers, name)) {
        Some(agreed) => (allow, agreed).into_response(),
        None => (StatusCode::METHOD_NOT_ALLOWED, allow).into_response(),
    }
}

/// A header's value, where it is text.
fn text<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name)?.to_str().ok()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fail {
    status: Option<u16>,
    times: Option<u32>,
}

async fn fail(Shared(receiver): Shared<Receiver>, Query(fail): Query<Fail>) -> Response {
    let (status, times) = (fail.status.unwrap_or(503), fail.times.unwrap_or(1));
    if !(300..600).contains(&status) {
        return (StatusCode::BAD_REQUEST, "status must be 300 to 599\n").into_response();
    }
    if times > FAILURES_MAX {
        let detail = format!("times must be at most {FAILURES_MAX}\n");
        return (StatusCode::BAD_REQUEST, detail).into_response();
    }
    receiver.state.lock().failing = (times > 0).then_some(Failing { status, times });
    match times {
        0 => "the next deliveries are answered as they deserve\n".into_response(),
        _ => format!("the next {times} deliveries are answered {status}\n").into_response(),
    }
}

#[derive(Serialize)]
struct List<'a> {
    /// All that ever arrived; the newest of them are `items`.
    received: u64,
    items: Vec<&'a Arrival>,
}

async fn list(Shared(receiver): Shared<Receiver>) -> Response {
    let (received, arrivals) = {
        let state = receiver.state.lock();
        (state.arrivals.count(), state.arrivals.newest())
    };
    let items = arrivals.iter().map(AsRef::as_ref).collect();
    axum::Json(List { received, items }).into_response()
}

async fn show(Shared(receiver): Shared<Receiver>) -> impl IntoResponse {
    let (received, arrivals) = {
        let state = receiver.state.lock();
        (state.arrivals.count(), state.arrivals.newest())
    };
    let policy = "default-src 'none'; style-src 'unsafe-inline'; script-src 'self'; \
                  connect-src 'self'; frame-ancestors 'none'; base-uri 'none'";
    let headers = [
        (header::CONTENT_SECURITY_POLICY, policy),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (
        headers,
        Html(page::render(receiver.dialect.name(), received, &arrivals)),
    )
}

async fn script() -> impl IntoResponse {
    (
        [(header::CONTENT_TYPE, "text/javascript; charset=utf-8")],
        page::SCRIPT,
    )
}
