use std::collections::HashSet;
use std::sync::Arc;

use parking_lot::RwLock;

/// What stands for every value beyond a label's cap.
pub const OTHER: &str = "_other";

/// How an attempt ended, as a label: finite whatever receivers answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttemptLabel {
    Status(u16),
    Error(&'static str),
}

impl AttemptLabel {
    /// The label, by whether the attempt has delivered.
    pub const fn result(self) -> Result<&'static str, &'static str> {
        match self {
            Self::Status(200..=299) => Ok(self.as_str()),
            Self::Status(_) | Self::Error(_) => Err(self.as_str()),
        }
    }

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Status(200..=299) => "2xx",
            Self::Status(300..=399) => "3xx",
            Self::Status(400..=499) => "4xx",
            Self::Status(500..=599) => "5xx",
            Self::Status(_) => "other_status",
            Self::Error(class) => class,
        }
    }
}

/// A label whose values customers make: the first so many have series of their own, the others
/// share [`OTHER`]. Clones share what they know.
#[derive(Clone, Debug)]
pub(crate) struct Capped {
    max: usize,
    known: Arc<RwLock<HashSet<Box<str>>>>,
}

impl Capped {
    pub(crate) fn new(max: usize) -> Self {
        Self {
            max,
            known: Arc::default(),
        }
    }

    /// The value itself if it is among the first, else [`OTHER`].
    pub(crate) fn label<'a>(&self, value: &'a str) -> &'a str {
        if self.known.read().contains(value) {
            return value;
        }
        let mut known = self.known.write();
        if known.len() < self.max {
            known.insert(value.into());
        }
        if known.contains(value) { value } else { OTHER }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_beyond_the_cap_share_one_label() {
        let capped = Capped::new(2);
        assert_eq!(capped.label("a"), "a");
        assert_eq!(capped.label("b"), "b");
        assert_eq!(capped.label("c"), OTHER);
        assert_eq!(capped.clone().label("a"), "a");
        assert_eq!(capped.label("c"), OTHER);
    }
}
