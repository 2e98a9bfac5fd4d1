use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A moment in UTC, in microseconds since 1970-01-01T00:00:00Z.
///
/// Written as RFC 3339 with three decimals (`2026-04-15T12:00:00.000Z`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

/// Why a text is no time, or not one that is asked for.
#[derive(Debug, thiserror::Error)]
pub enum TimestampError {
    #[error("not an RFC 3339 time such as 2026-04-15T12:00:00Z")]
    Form,
    #[error("before 1970")]
    BeforeEpoch,
}

impl Timestamp {
    pub const EPOCH: Self = Self(0);

    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    pub const fn from_millis(millis: i64) -> Self {
        Self(millis.saturating_mul(1_000))
    }

    pub const fn from_seconds(seconds: i64) -> Self {
        Self(seconds.saturating_mul(1_000_000))
    }

    pub const fn as_micros(self) -> i64 {
        self.0
    }

    pub const fn as_millis(self) -> i64 {
        self.0.div_euclid(1_000)
    }

    pub const fn as_seconds(self) -> i64 {
        self.0.div_euclid(1_000_000)
    }

    /// How long after `earlier` this is; zero if it is not after it.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(micros(duration)))
    }

    #[must_use]
    pub fn minus(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(micros(duration)))
    }

    /// RFC 3339 with `decimals` digits of the second (0, 3 or 6), always `Z`.
    pub fn rfc3339(self, decimals: u8) -> String {
        let time = jiff::Timestamp::from_microsecond(self.0).unwrap_or(jiff::Timestamp::MAX);
        format!("{time:.*}", usize::from(decimals))
    }
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.rfc3339(3))
    }
}

impl FromStr for Timestamp {
    type Err = TimestampError;

    fn from_str(text: &str) -> Result<Self, TimestampError> {
        // Signed years, which jiff reads, are no RFC 3339, and no database holds all of them.
        if text.starts_with(['+', '-']) {
            return Err(TimestampError::Form);
        }
        let time: jiff::Timestamp = text.parse().map_err(|_| TimestampError::Form)?;
        Ok(Self(time.as_microsecond()))
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_written_with_three_decimals_and_z() {
        let time = Timestamp::from_seconds(1_776_254_400);
        assert_eq!(time.to_string(), "2026-04-15T12:00:00.000Z");
        assert_eq!(time.rfc3339(0), "2026-04-15T12:00:00Z");
        assert_eq!(time.rfc3339(6), "2026-04-15T12:00:00.000000Z");
    }

    #[test]
    fn offsets_are_converted_and_times_without_one_refused() {
        let time: Timestamp = "2026-04-15T14:00:00+02:00".parse().unwrap();
        assert_eq!(time, Timestamp::from_seconds(1_776_254_400));
        assert!("2026-04-15T14:00:00".parse::<Timestamp>().is_err());
        assert!("yesterday".parse::<Timestamp>().is_err());
    }

    #[test]
    fn years_have_four_digits_and_no_sign() {
        assert!("0001-01-01T00:00:00Z".parse::<Timestamp>().is_ok());
        assert!("-005000-01-01T00:00:00Z".parse::<Timestamp>().is_err());
        assert!("+002026-04-15T12:00:00Z".parse::<Timestamp>().is_err());
        assert!("10000-01-01T00:00:00Z".parse::<Timestamp>().is_err());
    }
}
