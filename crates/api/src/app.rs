use std::ops::Deref;
use std::sync::Arc;

use axum::extract::FromRef;
use broker::Broker;
use bytes::Bytes;
use sender::Sender;
use shared_state::SharedState;
use store::{Directory, Store};
use tokio::sync::{Mutex, Semaphore};
use url::Url;
use utoipa::openapi::OpenApi;
use web::ApiError;

/// Requests to receivers under way at most, over all tenants: tests, and questions whether they may
/// be sent to.
const PROBES_IN_FLIGHT_MAX: usize = 32;

/// What the API works with.
pub struct ApiState {
    pub directory: Arc<Directory>,
    pub store: Arc<dyn Store>,
    pub broker: Arc<dyn Broker>,
    pub shared_state: Arc<dyn SharedState>,
    /// Checks targets when they are registered, and sends the tests of endpoints.
    pub sender: Arc<Sender>,
    /// Where this API is reached from outside, without a slash at its end.
    pub public_url: Option<String>,
    /// Published for allow-lists, as configured.
    pub egress_addresses: Vec<String>,
    /// Routes of other crates on the same server, for the OpenAPI document.
    pub also_documented: OpenApi,
}

/// What handlers share.
#[derive(Clone)]
pub(crate) struct App(Arc<Shared>);

pub(crate) struct Shared {
    pub(crate) state: ApiState,
    /// The OpenAPI document, as it is served.
    pub(crate) document: Bytes,
    public_host: Option<String>,
    pub(crate) probes: Semaphore,
    /// Held while somebody looks at messages that were set aside.
    pub(crate) set_aside: Mutex<()>,
    /// Held while somebody makes a key pair.
    pub(crate) key_making: Mutex<()>,
}

impl App {
    pub(crate) fn new(state: ApiState, document: Bytes) -> Self {
        let probes = Semaphore::new(PROBES_IN_FLIGHT_MAX);
        let public_url = state.public_url.as_deref();
        let public_url = public_url.and_then(|url| Url::parse(url).ok());
        let public_host = public_url.and_then(|url| url.domain().map(str::to_owned));
        Self(Arc::new(Shared {
            state,
            document,
            public_host,
            probes,
            set_aside: Mutex::new(()),
            key_making: Mutex::new(()),
        }))
    }
}

impl Shared {
    /// The DNS name in `public_url`, if it has one.
    pub(crate) fn public_host(&self) -> Option<&str> {
        self.public_host.as_deref()
    }
}

impl Deref for App {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

impl Deref for Shared {
    type Target = ApiState;

    fn deref(&self) -> &ApiState {
        &self.state
    }
}

impl FromRef<App> for Arc<Directory> {
    fn from_ref(app: &App) -> Self {
        Self::clone(&app.directory)
    }
}

/// Refuses one more of something of which there may be `max`.
pub(crate) fn check_room(what: &str, count: usize, max: usize) -> Result<(), ApiError> {
    if count < max {
        return Ok(());
    }
    Err(ApiError::conflict(format!(
        "there are {max} {what} already, no more are allowed"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_room_up_to_the_limit() {
        assert!(check_room("keys", 9, 10).is_ok());
        assert_eq!(check_room("keys", 10, 10).unwrap_err().status(), 409);
    }
}
