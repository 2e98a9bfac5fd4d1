//! A receiver to try things with: verifies deliveries as a customer's would, drops duplicates,
//! shows what arrived on a page, and fails on request so that retries can be watched.
//!
//! It keeps everything in memory, within bounds, and shows payloads on purpose: for development.
//!
//! ```
//! use dialect::Dialect;
//! use receiver::{Receiver, ReceiverConfig};
//!
//! let secret = Dialect::generate_secret([7; 32]);
//! let dialect = Dialect::from_name("standard").unwrap();
//! let receiver = Receiver::new(ReceiverConfig { dialect, secret: Some(secret) });
//! let mut arrivals = receiver.subscribe();
//! let router: axum::Router = receiver.router();
//! # let _ = (arrivals.try_recv(), router);
//! ```

mod arrivals;
mod page;
mod routes;

use std::sync::Arc;

use dialect::Dialect;
use parking_lot::Mutex;
use secrecy::SecretString;
use tokio::sync::broadcast;

pub use arrivals::{ARRIVALS_KEPT_MAX, Arrival, BODY_SHOWN_BYTES_MAX, IDS_KEPT_MAX};
pub use routes::{BODY_BYTES_MAX, FAILURES_MAX};

use arrivals::Arrivals;

/// Arrivals a slow subscriber may lag behind before it loses the oldest.
const SUBSCRIBER_LAG_MAX: usize = 256;

/// What to verify with.
#[derive(Clone, Debug)]
pub struct ReceiverConfig {
    pub dialect: Dialect,
    /// May come later, see [`Receiver::set_secret`]; until then deliveries are answered 503.
    pub secret: Option<SecretString>,
}

/// A handle to the receiver; clones share everything.
#[derive(Clone, Debug)]
pub struct Receiver {
    dialect: Dialect,
    state: Arc<Mutex<State>>,
    arrived: broadcast::Sender<Arc<Arrival>>,
}

#[derive(Debug)]
struct State {
    secret: Option<SecretString>,
    arrivals: Arrivals,
    failing: Option<Failing>,
}

/// How the next deliveries are answered, for trying out retries.
#[derive(Clone, Copy, Debug)]
struct Failing {
    status: u16,
    times: u32,
}

impl Receiver {
    pub fn new(config: ReceiverConfig) -> Self {
        let ReceiverConfig { dialect, secret } = config;
        let state = State {
            secret,
            arrivals: Arrivals::default(),
            failing: None,
        };
        let (arrived, _) = broadcast::channel(SUBSCRIBER_LAG_MAX);
        Self {
            dialect,
            state: Arc::new(Mutex::new(state)),
            arrived,
        }
    }

    /// Verifies with this secret from now on.
    pub fn set_secret(&self, secret: SecretString) {
        self.state.lock().secret = Some(secret);
    }

    /// Everything that arrives from now on, as it arrives.
    pub fn subscribe(&self) -> broadcast::Receiver<Arc<Arrival>> {
        self.arrived.subscribe()
    }
}

/// The Rust verifiers of the page for receivers are run as tests.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/receivers.md")]
struct PageForReceivers;
