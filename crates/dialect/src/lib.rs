//! How each licensing system puts an event on the wire: names, body, headers, signature, and the
//! habits of its senders (schedule, timeout, end state). Pure: the caller brings time and secrets.
//!
//! A dialect is a module with its format, and a row of [`Profile`]s; [`Dialect`] is the only way
//! in. Nothing here sends, stores or draws anything.
//!
//! ```
//! use dialect::{Dialect, Received};
//! use model::Timestamp;
//! use secrecy::{ExposeSecret, SecretString};
//!
//! let standard = Dialect::from_name("standard").unwrap();
//! let secret = Dialect::generate_secret([7; 32]);
//! assert!(standard.check_secret(secret.expose_secret()).is_ok());
//!
//! let headers = |_: &str| None;
//! let now = Timestamp::EPOCH;
//! let received = Received { target: "/", url: None, headers: &headers, body: b"{}", now };
//! let error = standard.verify(&secret, &received).unwrap_err();
//! assert_eq!(error.to_string(), "the header webhook-id is missing");
//! ```

mod batch_id;
mod cloudevents;
mod cloudevents_reading;
mod compact;
mod data;
mod discord;
mod formats;
mod getkeymanager;
mod github;
mod guid;
mod handshake;
mod hmac_sha256;
mod inbound;
mod keygen;
mod keygen_document;
mod keygen_names;
mod keygen_reading;
mod keygen_resources;
mod keygen_signature;
mod keygen_versions;
mod keyport;
mod keyport_docs;
mod licvalidator;
mod mask;
mod message;
mod names;
mod options;
mod percent;
mod policy;
mod profile;
mod public_key;
mod request;
mod rsa_sha256;
mod signing_keys;
mod slack;
mod standard;
mod stripe;
mod subject;
mod submitted;
mod subscription;
mod traffic;
pub mod webhook_api;
mod whole_secret;

pub use formats::Dialect;
pub use handshake::{Answer, Handshake};
pub use names::EventName;
pub use options::{BATCH_BYTES_MAX, BATCH_EVENTS_MAX, BATCH_WAIT_MS_MAX, Batch};
pub use policy::{
    DELAY_S_MAX, DELAY_S_MIN, DELAYS_MAX, IN_FLIGHT_MAX, MAX_IN_FLIGHT_DEFAULT, OPEN_AFTER_MAX,
    Overrides, Policy, RATE_PER_SECOND_MAX, TIMEOUT_S_MAX, TIMEOUT_S_MIN, check_policy,
};
pub use profile::{CheckKey, OptionDoc, Profile};
pub use request::{
    ParseError, Received, RenderError, Rendered, Submissions, TOLERANCE_S, Taker, Verified,
    VerifyError,
};
pub use signing_keys::{PublishedKey, SigningKeyError, SigningKeys};
pub use subscription::EVENT_TYPES_MAX;

use model::{DeliveryId, Endpoint, Event, Timestamp};

/// Everything a dialect may put on the wire.
#[derive(Clone, Copy, Debug)]
pub struct Delivered<'a> {
    pub event: &'a Event,
    pub endpoint: &'a Endpoint,
    pub delivery: DeliveryId,
    /// The tenant's; empty where it has none.
    pub keys: &'a SigningKeys,
    /// The time of this attempt.
    pub now: Timestamp,
}
