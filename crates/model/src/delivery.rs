use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{
    AttemptId, DeliveryId, EndpointId, EventId, EventType, LicenseId, TenantId, Timestamp,
};

/// How many bytes of a response's body are kept with the attempt.
pub const RESPONSE_BODY_KEPT_MAX: usize = 4 * 1024;

/// One event on its way to one endpoint, as the store knows it.
#[derive(Clone, Debug)]
pub struct Delivery {
    pub id: DeliveryId,
    pub tenant: TenantId,
    pub endpoint: EndpointId,
    pub event: EventId,
    pub event_type: EventType,
    pub license: Option<LicenseId>,
    pub status: DeliveryStatus,
    /// Set while `status` is held.
    pub hold_reason: Option<HoldReason>,
    /// Attempts made so far.
    pub attempts: u32,
    /// When the next attempt is due; `None` once finished or while held.
    pub next_attempt_at: Option<Timestamp>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// Defines an enum of names: one `as_str`, and its inverse.
macro_rules! names {
    ($(#[$doc:meta])* $name:ident, $expected:literal, {
        $($(#[$variant_doc:meta])* $variant:ident = $text:literal,)*
    }) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash,
            serde::Serialize, serde::Deserialize,
        )]
        pub enum $name {
            $($(#[$variant_doc])* #[serde(rename = $text)] $variant,)*
        }

        impl $name {
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)*
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl std::str::FromStr for $name {
            type Err = crate::IdError;

            fn from_str(text: &str) -> Result<Self, crate::IdError> {
                match text {
                    $($text => Ok(Self::$variant),)*
                    _ => Err(crate::IdError::expected($expected)),
                }
            }
        }
    };
}
pub(crate) use names;

names!(
    /// Where a delivery stands.
    DeliveryStatus, "queued, retrying, held, delivered, failed or discarded", {
        /// Due now, first attempt not yet recorded.
        Queued = "queued",
        /// An attempt failed; the next one has its time.
        Retrying = "retrying",
        /// Due nowhere until released; see [`HoldReason`].
        Held = "held",
        Delivered = "delivered",
        /// The schedule is exhausted, or the endpoint asked for no more.
        Failed = "failed",
        /// Held, then dropped at somebody's wish.
        Discarded = "discarded",
    }
);

names!(
    /// Why a delivery is held.
    HoldReason, "endpoint_disabled, circuit_open, rate_limit or max_in_flight", {
        /// Until somebody enables the endpoint.
        EndpointDisabled = "endpoint_disabled",
        /// Until a probe succeeds.
        CircuitOpen = "circuit_open",
        /// Until the endpoint's rate allows it.
        RateLimit = "rate_limit",
        /// Until fewer requests are in flight.
        MaxInFlight = "max_in_flight",
    }
);

names!(
    /// What kept a request from being answered.
    ErrorClass, "an error class", {
        /// The whole exchange took longer than the endpoint's timeout.
        Timeout = "timeout",
        DnsFailed = "dns_failed",
        ConnectionRefused = "connection_refused",
        /// Any other failure to connect.
        ConnectFailed = "connect_failed",
        TlsFailed = "tls_failed",
        ConnectionReset = "connection_reset",
        /// The peer closed before the response was complete.
        ConnectionClosed = "connection_closed",
        /// Not HTTP, or headers beyond what is read.
        ResponseInvalid = "response_invalid",
        /// The address is private, local or otherwise not a target.
        TargetForbidden = "target_forbidden",
        /// The event could not be put into the endpoint's dialect, and never can: nothing was sent.
        RenderFailed = "render_failed",
        /// The endpoint's settings or secrets do not allow a request: nothing was sent until now.
        Misconfigured = "misconfigured",
    }
);

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Answered {
        status: u16,
        /// From `Retry-After`, relative to the end of the attempt.
        retry_after: Option<Duration>,
    },
    Unanswered(ErrorClass),
}

/// One HTTP request of a delivery.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    pub id: AttemptId,
    pub delivery: DeliveryId,
    /// Counts from 1.
    pub number: u32,
    pub started_at: Timestamp,
    pub duration: Duration,
    pub outcome: Outcome,
    /// What the error class does not say, in words fit for a user; without secrets or data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_detail: Option<String>,
    pub response_headers: Vec<(String, String)>,
    /// At most [`RESPONSE_BODY_KEPT_MAX`] bytes, as received.
    #[serde(with = "crate::base64_bytes")]
    pub response_body: Vec<u8>,
}
