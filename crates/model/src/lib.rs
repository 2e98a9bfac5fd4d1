//! The nouns of Fanfare: events, endpoints, deliveries, attempts, tenants, and what makes each of
//! them valid.
//!
//! Nothing here does IO, reads a clock or draws a random number: whoever makes an id or a
//! timestamp passes in what it needs.
//!
//! ```
//! use model::{Submission, Timestamp};
//!
//! let body = br#"{"type":"license.created","data":{"license":{"id":"lic_1"}}}"#;
//! let submission = Submission::parse(body).unwrap();
//! assert_eq!(submission.license.as_deref(), Some("lic_1"));
//! assert_eq!(submission.event_type.as_str(), "license.created");
//! ```

mod base64_bytes;
mod catalog;
mod cloud_event;
mod delivery;
mod endpoint;
mod event;
mod form;
mod hex;
mod id;
mod jitter;
mod json;
mod members;
mod percent;
mod signing_key;
mod source;
mod submission;
mod tenant;
mod time;
mod trace;
mod validation;
mod work;

pub use catalog::{CATALOG, CatalogEntry, is_catalogued, is_test, is_urgent};
pub use cloud_event::{BinaryAttributes, CLOUD_EVENT_BATCH_TYPE, CLOUD_EVENT_TYPE};
pub use delivery::{
    Attempt, Delivery, DeliveryStatus, ErrorClass, HoldReason, Outcome, RESPONSE_BODY_KEPT_MAX,
};
pub use endpoint::{
    Circuit, CircuitAction, Consent, DisabledReason, Endpoint, EndpointSecret, EndpointState,
    OnExhausted, RateLimit, Retry,
};
pub use event::{Environment, Event, EventType};
pub use form::{EventForm, EventLimits};
pub use hex::from_hex;
pub use id::{
    AttemptId, DeliveryId, EndpointId, EventId, IdError, KeyId, LicenseId, SourceId, TenantId,
};
pub use jitter::Jitter;
pub use json::DEPTH_MAX;
pub use members::Members;
pub use percent::percent_decode;
pub use signing_key::{KeyAlgorithm, SigningKey};
pub use source::{KeyKind, Source};
pub use submission::{EVENT_BYTES_MAX, Submission, SubmissionError, check_product};
pub use tenant::{ApiKey, KeyHash, Plan, RegisteredEventType, Role, Tenant};
pub use time::{Timestamp, TimestampError};
pub use trace::{TRACE_PARENT_HEADER, TraceParent, TraceParentError};
pub use validation::FieldError;
pub use work::{WORKS_PER_MESSAGE_MAX, Work, WorkError};
