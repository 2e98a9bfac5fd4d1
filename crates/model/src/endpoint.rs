use std::collections::BTreeMap;

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use url::Url;

use crate::{EndpointId, Environment, KeyHash, TenantId, Timestamp};

/// Where deliveries go: URL, secrets, what it subscribes to, and how it wants to be treated.
///
/// What is `None` follows the dialect's profile. `secrets` never serializes: the store seals it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Endpoint {
    pub id: EndpointId,
    pub tenant: TenantId,
    pub url: Url,
    pub dialect: String,
    /// In the dialect's own names; `*` for all, `license.*` for a family.
    pub event_types: Vec<String>,
    pub name: Option<String>,
    pub description: Option<String>,
    /// Only events of this environment; `None` for all.
    pub environment: Option<Environment>,
    /// Only events of this product; `None` for all.
    pub product: Option<String>,
    pub retry: Option<Retry>,
    pub timeout_s: Option<u32>,
    pub rate_limit: Option<RateLimit>,
    pub max_in_flight: Option<u32>,
    pub circuit: Option<Circuit>,
    pub on_exhausted: Option<OnExhausted>,
    /// Sent with every request besides the dialect's own.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    #[serde(default)]
    pub dialect_options: serde_json::Map<String, serde_json::Value>,
    pub state: EndpointState,
    /// Whether the receiver agreed to be sent to, where the dialect asks first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consent: Option<Consent>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    /// Counts changes; a write names the revision it changes.
    pub revision: u64,
    /// Newest first.
    #[serde(skip)]
    pub secrets: Vec<EndpointSecret>,
}

/// A retry schedule of the endpoint's own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Retry {
    /// Seconds from the end of each failed attempt to the next.
    pub delays_s: Vec<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RateLimit {
    pub per_second: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Circuit {
    /// Consecutive failed attempts after which the circuit opens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open_after: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<CircuitAction>,
}

/// What opening the circuit does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CircuitAction {
    /// Deliveries are held until a probe succeeds.
    #[default]
    Hold,
    /// The endpoint is disabled.
    Disable,
}

/// What the last failed attempt of a delivery does to its endpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnExhausted {
    #[default]
    Fail,
    Disable,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum EndpointState {
    Active,
    Disabled {
        reason: DisabledReason,
        since: Timestamp,
    },
}

crate::delivery::names!(
    /// Why an endpoint gets no deliveries.
    DisabledReason, "a reason", {
        Requested = "requested",
        /// It answered 410.
        Gone = "gone",
        /// A delivery exhausted its schedule and the endpoint disables then.
        Exhausted = "exhausted",
        /// Its circuit opened and the endpoint disables then.
        CircuitOpened = "circuit_opened",
        /// Its receiver was asked and has not agreed.
        AwaitingConsent = "awaiting_consent",
    }
);

/// What a receiver answered when it was asked whether it may be sent to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Consent {
    pub asked_at: Timestamp,
    /// Of the key that a later agreement has to bring along.
    pub key: KeyHash,
    /// `None` until it has agreed.
    pub granted_at: Option<Timestamp>,
    /// Requests a minute it agreed to; `None` for any number.
    pub rate_per_minute: Option<u32>,
}

/// A signing secret, in clear; only ever in memory.
#[derive(Clone, Debug)]
pub struct EndpointSecret {
    pub value: SecretString,
    pub created_at: Timestamp,
    /// For a rotated secret: until when it still signs.
    pub signs_until: Option<Timestamp>,
}

impl EndpointSecret {
    /// The last four characters, of a short secret fewer: enough to tell two secrets apart.
    pub fn hint(&self) -> String {
        let value = self.value.expose_secret();
        let length = value.chars().count();
        let tail: String = value.chars().skip(length - (length / 4).min(4)).collect();
        format!("…{tail}")
    }
}

impl Endpoint {
    /// An active endpoint that gets everything and follows its dialect in all.
    pub fn new(
        id: EndpointId,
        tenant: TenantId,
        url: Url,
        dialect: &str,
        secret: SecretString,
    ) -> Self {
        let now = id.created_at();
        Self {
            id,
            tenant,
            url,
            dialect: dialect.to_owned(),
            event_types: vec!["*".to_owned()],
            name: None,
            description: None,
            environment: None,
            product: None,
            retry: None,
            timeout_s: None,
            rate_limit: None,
            max_in_flight: None,
            circuit: None,
            on_exhausted: None,
            headers: BTreeMap::new(),
            dialect_options: serde_json::Map::new(),
            state: EndpointState::Active,
            consent: None,
            created_at: now,
            updated_at: now,
            revision: 1,
            secrets: vec![EndpointSecret {
                value: secret,
                created_at: now,
                signs_until: None,
            }],
        }
    }

    /// Deliveries a minute at most, at least 1: its own limit or what its receiver agreed to,
    /// whichever is less. `None`: as fast as it takes them.
    pub fn rate_per_minute(&self) -> Option<u32> {
        let own = self
            .rate_limit
            .map(|rate| rate.per_second.saturating_mul(60));
        let agreed = self
            .consent
            .as_ref()
            .and_then(|consent| consent.rate_per_minute);
        own.into_iter().chain(agreed).min().map(|rate| rate.max(1))
    }

    pub const fn is_active(&self) -> bool {
        matches!(self.state, EndpointState::Active)
    }

    /// The secrets that sign at `now`, newest first.
    pub fn signing_secrets(&self, now: Timestamp) -> impl Iterator<Item = &EndpointSecret> {
        self.secrets
            .iter()
            .filter(move |secret| secret.signs_until.is_none_or(|until| now < until))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hint_is_the_end_of_a_secret_and_a_quarter_of_it_at_most() {
        for (secret, hint) in [
            ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "…LaSw"),
            ("geheimer Schlüssel", "…ssel"),
            ("12345678", "…78"),
            ("123", "…"),
        ] {
            let secret = EndpointSecret {
                value: secret.into(),
                created_at: Timestamp::EPOCH,
                signs_until: None,
            };
            assert_eq!(secret.hint(), hint);
        }
    }
}
