//! How each licensing system puts an event on the wire: names, body, headers, signature, and the
//! habits of its senders (schedule, timeout, end state). Pure: the caller brings time and secrets.
//!
//! A dialect is a module with its format, and a row of [`Profile`]s; [`Dialect`] is the only way
//! in. Nothing here sends, stores or draws anything.
//!
//! ```
//! use dialect::Dialect;
//! use model::Timestamp;
//! use secrecy::{ExposeSecret, SecretString};
//!
//! let standard = Dialect::from_name("standard").unwrap();
//! let secret = Dialect::generate_secret([7; 32]);
//! assert!(standard.check_secret(secret.expose_secret()).is_ok());
//!
//! let nothing = |_: &str| None;
//! let error = standard.verify(&secret, &nothing, b"{}", Timestamp::EPOCH).unwrap_err();
//! assert_eq!(error.to_string(), "the header webhook-id is missing");
//! ```

mod compact;
mod formats;
mod hmac_sha256;
mod keyport;
mod policy;
mod profile;
mod standard;
mod subscription;

pub use formats::{Dialect, RenderError, Rendered, Verified, VerifyError};
pub use policy::{
    DELAY_S_MAX, DELAY_S_MIN, DELAYS_MAX, IN_FLIGHT_MAX, MAX_IN_FLIGHT_DEFAULT, OPEN_AFTER_MAX,
    Overrides, Policy, RATE_PER_SECOND_MAX, TIMEOUT_S_MAX, TIMEOUT_S_MIN, check_policy,
};
pub use profile::Profile;
pub use subscription::EVENT_TYPES_MAX;

use model::{DeliveryId, Endpoint, Event, Timestamp};

/// Everything a dialect may put on the wire.
#[derive(Clone, Copy, Debug)]
pub struct Delivered<'a> {
    pub event: &'a Event,
    pub endpoint: &'a Endpoint,
    pub delivery: DeliveryId,
    /// The time of this attempt.
    pub now: Timestamp,
}
