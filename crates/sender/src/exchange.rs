use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use bytes::Bytes;
use dialect::Rendered;
use http::Method;
use http::header::{HeaderMap, HeaderName, HeaderValue, RETRY_AFTER, USER_AGENT};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use model::{ErrorClass, Outcome, RESPONSE_BODY_KEPT_MAX, Timestamp};
use tokio::time::{Instant, timeout};
use url::Url;

use crate::certificates::Certificates;
use crate::classify::classify;
use crate::guard::{Guard, GuardedResolver};
use crate::retry_after::retry_after;
use crate::tls;

/// A response's body is read up to this many bytes: a small rest keeps the connection alive, a
/// longer one closes it.
pub const BODY_READ_MAX: usize = 16 * 1024;
/// Response headers kept at most.
pub const RESPONSE_HEADERS_MAX: usize = 64;
/// Bytes of response headers, names and values, kept at most.
pub const RESPONSE_HEADER_BYTES_MAX: usize = 8 * 1024;

/// What is buffered of a response's head at most, in bytes; more is an invalid response.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// Idle connections kept to one destination at most.
const IDLE_CONNECTIONS_MAX: usize = dialect::MAX_IN_FLIGHT_DEFAULT;
/// How long an idle connection is kept. Less than the 5 s after which common servers close theirs:
/// a request must not cross the peer's close on the wire, for nobody could tell whether it arrived.
const IDLE: Duration = Duration::from_secs(4);
/// For the TCP connection alone, within the deadline, so that a second address has its chance.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// HTTP/2 connections are shared by many requests: one that went dead must be noticed.
const HTTP2_PING_INTERVAL: Duration = Duration::from_secs(10);
const HTTP2_PING_TIMEOUT: Duration = Duration::from_secs(5);
const HTTP2_STREAM_WINDOW: u32 = 64 * 1024;
const HTTP2_CONNECTION_WINDOW: u32 = 1024 * 1024;

/// What a sender may reach and whom it trusts.
#[derive(Clone, Debug, Default)]
pub struct SenderConfig {
    /// Lets targets be `http://` and on private or loopback addresses: for development only.
    pub allow_private_targets: bool,
    /// Certificates in PEM, trusted besides those of the operating system.
    pub extra_roots_pem: Option<Vec<u8>>,
}

/// Why no sender could be made.
#[derive(Debug, thiserror::Error)]
pub enum SenderError {
    #[error("the extra root certificates are not PEM certificates")]
    ExtraRoots(#[source] rustls::pki_types::pem::Error),
    #[error("one of the extra root certificates cannot be a root")]
    UnusableRoot(#[source] rustls::Error),
    #[error("TLS cannot be set up")]
    Tls(#[source] rustls::Error),
}

/// One request to make.
#[derive(Debug)]
pub struct Request<'a> {
    pub url: &'a Url,
    pub rendered: Rendered,
    /// The endpoint's own; the dialect's take precedence.
    pub headers: &'a BTreeMap<String, String>,
    /// For the whole exchange.
    pub timeout: Duration,
}

/// How it ended, and what is kept of the response.
#[derive(Clone, Debug)]
pub struct Reply {
    pub outcome: Outcome,
    /// What the error class does not say, in words fit for a user.
    pub error_detail: Option<String>,
    pub duration: Duration,
    /// At most [`RESPONSE_HEADERS_MAX`] and [`RESPONSE_HEADER_BYTES_MAX`].
    pub headers: Vec<(String, String)>,
    /// At most [`RESPONSE_BODY_KEPT_MAX`] bytes, as received.
    pub body: Vec<u8>,
}

/// Makes requests; holds the connections. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Sender {
    client: Client<HttpsConnector<HttpConnector<GuardedResolver>>, Full<Bytes>>,
    pub(crate) guard: Guard,
    pub(crate) resolver: GuardedResolver,
    certificates: Certificates,
}

/// What has been received so far; outlives an exchange that its deadline ends.
#[derive(Default)]
struct Received {
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Sender {
    pub fn new(config: &SenderConfig) -> Result<Self, SenderError> {
        let guard = Guard {
            allow_private: config.allow_private_targets,
        };
        let resolver = GuardedResolver::new(guard);
        let mut connector = HttpConnector::new_with_resolver(resolver.clone());
        connector.enforce_http(false);
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
        let certificates = Certificates::default();
        let extra_roots = config.extra_roots_pem.as_deref();
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls::client_config(extra_roots, certificates.clone())?)
            .https_or_http()
            .enable_all_versions()
            .wrap_connector(connector);
        let client = Client::builder(TokioExecutor::new())
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(IDLE_CONNECTIONS_MAX)
            .http1_max_buf_size(HEAD_BYTES_MAX)
            .http2_max_header_list_size(u32::try_from(HEAD_BYTES_MAX).expect("64 KiB fit"))
            .http2_initial_stream_window_size(HTTP2_STREAM_WINDOW)
            .http2_initial_connection_window_size(HTTP2_CONNECTION_WINDOW)
            .http2_keep_alive_interval(HTTP2_PING_INTERVAL)
            .http2_keep_alive_timeout(HTTP2_PING_TIMEOUT)
            .build(connector);
        Ok(Self {
            client,
            guard,
            resolver,
            certificates,
        })
    }

    /// The hosts whose certificate ends within [`EXPIRES_SOON`](crate::EXPIRES_SOON), has ended or
    /// was renewed since, as seen when last connected, and when it ends; at most
    /// [`EXPIRING_HOSTS_MAX`](crate::EXPIRING_HOSTS_MAX).
    pub fn expiring(&self) -> HashMap<String, Timestamp> {
        self.certificates.expiring()
    }

    /// Makes one request. Every way it can end is an outcome.
    pub async fn send(&self, request: Request<'_>) -> Reply {
        self.request(Method::POST, request).await
    }

    /// Asks a receiver about itself, with `OPTIONS`.
    pub async fn ask(&self, request: Request<'_>) -> Reply {
        self.request(Method::OPTIONS, request).await
    }

    async fn request(&self, method: Method, request: Request<'_>) -> Reply {
        let started = Instant::now();
        let mut received = Received::default();
        let deadline = request.timeout;
        let exchange = self.exchange(method, request, &mut received);
        let outcome = match timeout(deadline, exchange).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(class)) => Outcome::Unanswered(class),
            Err(_elapsed) => Outcome::Unanswered(ErrorClass::Timeout),
        };
        let Received { headers, body } = received;
        let unsendable = outcome == Outcome::Unanswered(ErrorClass::Misconfigured);
        Reply {
            outcome,
            error_detail: unsendable.then(|| UNSENDABLE.to_owned()),
            duration: started.elapsed(),
            headers,
            body,
        }
    }

    async fn exchange(
        &self,
        method: Method,
        request: Request<'_>,
        received: &mut Received,
    ) -> Result<Outcome, ErrorClass> {
        if !self.guard.admits_scheme(request.url) || !self.guard.admits_host(request.url) {
            return Err(ErrorClass::TargetForbidden);
        }
        let response = self
            .client
            .request(http_request(method, request).ok_or(ErrorClass::Misconfigured)?)
            .await
            .map_err(|error| classify(&error, error.is_connect()))?;
        let status = response.status().as_u16();
        let retry_after = response
            .headers()
            .get(RETRY_AFTER)
            .and_then(|value| retry_after(value.to_str().ok()?, ambient::now));
        keep_headers(response.headers(), &mut received.headers);
        read_body(response.into_body(), &mut received.body).await?;
        Ok(Outcome::Answered {
            status,
            retry_after,
        })
    }
}

const PRODUCT: HeaderValue =
    HeaderValue::from_static(concat!("Fanfare/", env!("CARGO_PKG_VERSION")));

const UNSENDABLE: &str = "the endpoint's URL or one of its headers cannot be sent";

/// `None` if a header or the URL is not what was checked when the endpoint was registered.
fn http_request(method: Method, request: Request<'_>) -> Option<http::Request<Full<Bytes>>> {
    let Request {
        url,
        rendered,
        headers,
        timeout: _,
    } = request;
    let mut http = http::Request::new(Full::new(rendered.body));
    *http.method_mut() = method;
    *http.uri_mut() = url.as_str().parse().ok()?;
    let map = http.headers_mut();
    map.reserve(headers.len() + rendered.headers.len() + 3);
    map.insert(USER_AGENT, PRODUCT);
    for (name, value) in headers {
        map.insert(
            HeaderName::try_from(name).ok()?,
            HeaderValue::try_from(value).ok()?,
        );
    }
    for (name, value) in rendered.headers {
        map.insert(
            HeaderName::from_static(name),
            HeaderValue::try_from(value).ok()?,
        );
    }
    Some(http)
}

fn keep_headers(headers: &HeaderMap, kept: &mut Vec<(String, String)>) {
    let mut bytes = 0;
    for (name, value) in headers.iter().take(RESPONSE_HEADERS_MAX) {
        bytes += name.as_str().len() + value.len();
        if bytes > RESPONSE_HEADER_BYTES_MAX {
            break;
        }
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        kept.push((name.as_str().to_owned(), value));
    }
}

/// Reads to the end, or until [`BODY_READ_MAX`]: what comes behind it changes nothing.
async fn read_body(mut body: Incoming, kept: &mut Vec<u8>) -> Result<(), ErrorClass> {
    let mut read = 0;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| classify(&error, false))?;
        let Some(data) = frame.data_ref() else {
            continue;
        };
        read += data.len();
        let room = RESPONSE_BODY_KEPT_MAX.saturating_sub(kept.len());
        kept.extend_from_slice(&data[..data.len().min(room)]);
        if read > BODY_READ_MAX {
            break;
        }
    }
    Ok(())
}
