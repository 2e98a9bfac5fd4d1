use std::fmt;
use std::ops::Deref;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use ulid::Ulid;

use crate::Timestamp;

/// A text that is not an id of the wanted kind.
#[derive(Debug, thiserror::Error)]
#[error("not {expected}")]
pub struct IdError {
    expected: &'static str,
}

impl IdError {
    pub(crate) const fn expected(expected: &'static str) -> Self {
        Self { expected }
    }
}

/// Ids that Fanfare makes: a prefix and a ULID, so that they sort by the time they were made.
macro_rules! made_id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Ulid);

        impl $name {
            pub const PREFIX: &'static str = $prefix;

            /// Makes an id from the time and 80 random bits (the rest of `random` is dropped).
            pub fn new(now: Timestamp, random: u128) -> Self {
                Self(Ulid::from_parts(u64::try_from(now.as_millis()).unwrap_or(0), random))
            }

            pub fn from_u128(value: u128) -> Self {
                Self(Ulid(value))
            }

            pub fn as_u128(self) -> u128 {
                self.0.0
            }

            /// When the id was made, to the millisecond.
            pub fn created_at(self) -> Timestamp {
                Timestamp::from_millis(i64::try_from(self.0.timestamp_ms()).unwrap_or(i64::MAX))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let mut text = [0; ulid::ULID_LEN];
                f.write_str($prefix)?;
                f.write_str(self.0.array_to_str(&mut text))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                text.strip_prefix($prefix)
                    .and_then(|ulid| Ulid::from_string(ulid).ok())
                    .map(Self)
                    .ok_or(IdError { expected: concat!("an id that starts with ", $prefix) })
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(de::Error::custom)
            }
        }
    };
}

made_id!(
    /// An endpoint's id, `ep_…`.
    EndpointId, "ep_"
);
made_id!(
    /// A delivery's id, `dlv_…`: the same on every attempt.
    DeliveryId, "dlv_"
);
made_id!(
    /// An attempt's id, `att_…`.
    AttemptId, "att_"
);
made_id!(
    /// An API key's id, `key_…`; not the key itself.
    KeyId, "key_"
);
made_id!(
    /// A source's id, `src_…`.
    SourceId, "src_"
);

/// Ids that come from outside: short texts, checked once and then shared.
macro_rules! given_id {
    ($(#[$doc:meta])* $name:ident, $bytes_max:literal, $expected:literal, $allowed:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[serde(transparent)]
        pub struct $name(Arc<str>);

        impl $name {
            pub const BYTES_MAX: usize = $bytes_max;

            pub fn new(text: &str) -> Result<Self, IdError> {
                let allowed: fn(char) -> bool = $allowed;
                if text.is_empty() || text.len() > Self::BYTES_MAX || !text.chars().all(allowed) {
                    return Err(IdError { expected: $expected });
                }
                Ok(Self(text.into()))
            }

            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl Deref for $name {
            type Target = str;

            fn deref(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                Self::new(text)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                Self::new(&text).map_err(de::Error::custom)
            }
        }
    };
}

given_id!(
    /// A tenant's id, chosen by the operator.
    TenantId, 64, "1 to 64 characters of a-z A-Z 0-9 _ -",
    |c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-')
);
given_id!(
    /// An event's id and idempotency key: the producer's own, or `evt_` and a ULID.
    EventId, 128, "1 to 128 characters of A-Z a-z 0-9 _ : -",
    |c| c.is_ascii_alphanumeric() || matches!(c, '_' | ':' | '-')
);
given_id!(
    /// The license an event belongs to, as the license backend names it.
    LicenseId, 256, "1 to 256 bytes without control characters",
    |c| !c.is_control()
);

impl EventId {
    /// Makes an id for an event that came without one.
    pub fn generate(now: Timestamp, random: u128) -> Self {
        let ulid = Ulid::from_parts(u64::try_from(now.as_millis()).unwrap_or(0), random);
        Self(format!("evt_{ulid}").into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn made_ids_read_back_and_know_their_time() {
        let now = Timestamp::from_millis(1_776_254_400_123);
        let id = DeliveryId::new(now, 42);
        assert_eq!(id.to_string().parse::<DeliveryId>().unwrap(), id);
        assert_eq!(id.created_at(), now);
        assert_eq!(DeliveryId::from_u128(id.as_u128()), id);
        assert!(
            "ep_01JRX5K9Q8ZV3T7Y2M4N6P8R0S"
                .parse::<DeliveryId>()
                .is_err()
        );
    }

    #[test]
    fn event_ids_are_bounded_at_128_characters() {
        assert!(EventId::new(&"a".repeat(128)).is_ok());
        assert!(EventId::new(&"a".repeat(129)).is_err());
        assert!(EventId::new("").is_err());
        assert!(EventId::new("a b").is_err());
        assert!(EventId::new("evt_1:2-3").is_ok());
    }
}
