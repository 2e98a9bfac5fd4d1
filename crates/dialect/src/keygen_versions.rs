//! What the versions of Keygen's API put differently (keygen.sh/changelog). Those before 1.3 have
//! other heartbeats of machines and other releases, too, and are not spoken.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Deserializer, de};
use serde_json::value::RawValue;

use crate::compact::{self, Object};
use crate::keygen_resources::object;

/// A version of Keygen's API: 1 and this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ApiVersion(u8);

const OLDEST: u8 = 3;
const NEWEST: u8 = 8;

/// An attribute that got another name.
struct Renamed {
    /// The resource it is of.
    singular: &'static str,
    /// The last version with the name of `then`.
    until: u8,
    now: &'static str,
    then: &'static str,
}

const RENAMED: &[Renamed] = &[
    policy(6, "processLeasingStrategy", "leasingStrategy"),
    policy(
        3,
        "machineUniquenessStrategy",
        "fingerprintUniquenessStrategy",
    ),
    policy(3, "machineMatchingStrategy", "fingerprintMatchingStrategy"),
];

const fn policy(until: u8, now: &'static str, then: &'static str) -> Renamed {
    Renamed {
        singular: "policy",
        until,
        now,
        then,
    }
}

impl ApiVersion {
    /// Whether the `owner` of a license or a machine is its `user`.
    pub(crate) const fn calls_owners_users(self) -> bool {
        self.0 <= 5
    }

    /// What an attribute is called, which is called `now` in the newest version.
    pub(crate) fn attribute<'n>(self, singular: &str, now: Cow<'n, str>) -> Cow<'n, str> {
        let mut renamed = RENAMED.iter();
        let row = renamed.find(|row| row.singular == singular && row.now == now);
        match row.filter(|row| self.0 <= row.until) {
            Some(row) => Cow::Borrowed(row.then),
            None => now,
        }
    }

    /// Appends metadata. Its own names are everywhere as they came; those within its values were in
    /// snake_case once.
    pub(crate) fn write_metadata(self, out: &mut Vec<u8>, metadata: &RawValue) {
        match object(metadata).filter(|_| self.0 <= 4) {
            Some(inner) => {
                let mut members = Object::begin(out);
                for (name, value) in &inner.0 {
                    write_underscored(members.member(name), value);
                }
                members.end();
            }
            None => compact::value(out, metadata),
        }
    }
}

impl Default for ApiVersion {
    fn default() -> Self {
        Self(NEWEST)
    }
}

impl<'de> Deserialize<'de> for ApiVersion {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let versions = (OLDEST..=NEWEST).map(Self);
        let mut named = versions.filter(|version| version.to_string() == text);
        let expected = || de::Error::custom("api_version must be 1.3 to 1.8");
        named.next().ok_or_else(expected)
    }
}

impl fmt::Display for ApiVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "1.{}", self.0)
    }
}

/// What the newest version calls the attribute `own`, of whatever version it is.
pub(crate) fn current<'n>(singular: &str, own: &'n str) -> &'n str {
    let mut renamed = RENAMED.iter();
    let row = renamed.find(|row| row.singular == singular && row.then == own);
    row.map_or(own, |row| row.now)
}

/// Copies a value with every name in it in snake_case.
fn write_underscored(out: &mut Vec<u8>, value: &RawValue) {
    if let Some(inner) = object(value) {
        let mut members = Object::begin(out);
        for (index, (name, value)) in inner.0.iter().enumerate() {
            let name = underscored(name);
            let before = &inner.0[..index];
            if !before.iter().any(|(other, _)| underscored(other) == name) {
                write_underscored(members.member(&name), value);
            }
        }
        members.end();
    } else if let Ok(items) = serde_json::from_str::<Vec<&RawValue>>(value.get()) {
        out.push(b'[');
        for (index, item) in items.into_iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            write_underscored(out, item);
        }
        out.push(b']');
    } else {
        compact::value(out, value);
    }
}

/// `fooBar`, `FooBar` and `foo-bar` are `foo_bar`, and `fooJSONBar` is `foo_json_bar`.
fn underscored(name: &str) -> String {
    let characters: Vec<char> = name.chars().collect();
    let mut underscored = String::with_capacity(name.len() + 4);
    for (index, character) in characters.iter().enumerate() {
        let before = index.checked_sub(1).map(|before| characters[before]);
        let after = characters.get(index + 1);
        let begins_word = before.is_some_and(|before| {
            before.is_ascii_lowercase()
                || before.is_ascii_digit()
                || (before.is_ascii_uppercase() && after.is_some_and(char::is_ascii_lowercase))
        });
        if character.is_ascii_uppercase() && begins_word {
            underscored.push('_');
        }
        match character {
            '-' => underscored.push('_'),
            other => underscored.extend(other.to_lowercase()),
        }
    }
    underscored
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_within_metadata_are_underscored_as_rails_does() {
        for (name, expected) in [
            ("fooBar", "foo_bar"),
            ("FooBar", "foo_bar"),
            ("foo_bar", "foo_bar"),
            ("foo-bar", "foo_bar"),
            ("fooJSONBar", "foo_json_bar"),
            ("v2Key", "v2_key"),
            ("ID", "id"),
            ("", ""),
        ] {
            assert_eq!(underscored(name), expected);
            assert_eq!(underscored(expected), expected);
        }
    }

    #[test]
    fn every_renamed_attribute_is_read_back_by_its_name_of_now() {
        for row in RENAMED {
            assert_eq!(current(row.singular, row.then), row.now);
            let called = |minor| ApiVersion(minor).attribute(row.singular, row.now.into());
            assert_eq!(called(row.until), row.then);
            assert_eq!(called(row.until + 1), row.now);
            assert_eq!(
                ApiVersion(row.until).attribute("x", row.now.into()),
                row.now
            );
        }
    }
}
