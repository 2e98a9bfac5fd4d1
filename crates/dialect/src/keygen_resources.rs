//! What Keygen calls resources and their attributes, and where canonical data has them.

use std::borrow::Cow;

use serde_json::value::RawValue;

use crate::data::{Members, id_text};

/// A kind of resource.
pub(crate) struct Resource {
    /// As events name it: `license`, `second-factor`.
    pub(crate) singular: String,
    /// The member of canonical data that a resource read is written to.
    pub(crate) member: String,
    /// At the beginning; those that canonical data has beyond the table follow them.
    pub(crate) attributes: &'static [Attribute],
    pub(crate) metadata: Attribute,
    /// Whether customers own such resources.
    pub(crate) is_owned: bool,
}

/// One row: what Keygen calls a member of the resource.
pub(crate) struct Attribute {
    pub(crate) own: &'static str,
    pub(crate) canonical: &'static str,
    pub(crate) absent: Absent,
    /// Written in capitals, where canonical data has small letters.
    pub(crate) is_constant: bool,
}

/// What stands for an attribute that the event lacks.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Absent {
    LeftOut,
    Null,
    EmptyObject,
}

const fn attribute(own: &'static str, canonical: &'static str) -> Attribute {
    Attribute {
        own,
        canonical,
        absent: Absent::LeftOut,
        is_constant: false,
    }
}

const fn nullable(own: &'static str, canonical: &'static str) -> Attribute {
    Attribute {
        absent: Absent::Null,
        ..attribute(own, canonical)
    }
}

const LICENSE: &[Attribute] = &[
    nullable("name", "name"),
    attribute("key", "key"),
    nullable("expiry", "expires_at"),
    Attribute {
        is_constant: true,
        ..attribute("status", "status")
    },
    attribute("uses", "uses"),
    attribute("maxMachines", "max_activations"),
];

const MACHINE: &[Attribute] = &[
    attribute("fingerprint", "fingerprint"),
    nullable("name", "device_name"),
    nullable("ip", "ip_address"),
    nullable("hostname", "hostname"),
    nullable("platform", "platform"),
];

const USER: &[Attribute] = &[nullable("fullName", "name"), attribute("email", "email")];

const ANY: &[Attribute] = &[attribute("name", "name")];

/// At the end, after the metadata.
pub(crate) const TIMES: &[Attribute] = &[
    attribute("created", "created_at"),
    attribute("updated", "updated_at"),
];

/// Resources that a license, a machine or a user belongs to, and their types.
pub(crate) const BELONGS_TO: &[(&str, &str, &str)] = &[
    ("policy", "policy_id", "policies"),
    ("group", "group_id", "groups"),
];

impl Resource {
    /// The resource that an event of this name is about.
    pub(crate) fn of(name: &str) -> Self {
        let singular = name.split('.').next().unwrap_or(name);
        let (member, attributes) = match singular {
            "license" => ("license", LICENSE),
            "machine" => ("activation", MACHINE),
            "user" => ("customer", USER),
            other => (other, ANY),
        };
        let absent = match singular {
            "license" | "machine" | "user" => Absent::EmptyObject,
            _ => Absent::LeftOut,
        };
        Self {
            singular: singular.to_owned(),
            member: member.replace('-', "_"),
            attributes,
            metadata: Attribute {
                absent,
                ..attribute("metadata", "metadata")
            },
            is_owned: matches!(singular, "license" | "machine"),
        }
    }

    /// The type of such resources.
    pub(crate) fn plural(&self) -> String {
        match self.singular.as_str() {
            "policy" => "policies".to_owned(),
            "process" => "processes".to_owned(),
            other => format!("{other}s"),
        }
    }

    /// Where canonical data may have the resource: under Keygen's name or ours.
    pub(crate) fn members(&self) -> [String; 2] {
        [self.singular.replace('-', "_"), self.member.clone()]
    }

    /// Every row, in order.
    pub(crate) fn rows(&self) -> impl Iterator<Item = &Attribute> {
        let metadata = std::iter::once(&self.metadata);
        self.attributes.iter().chain(metadata).chain(TIMES)
    }
}

/// What events such as `license.users.attached` list: their second word.
pub(crate) fn listed(name: &str) -> Option<&str> {
    let mut words = name.split('.');
    let (_, listed, happened) = (words.next()?, words.next()?, words.next()?);
    matches!(happened, "attached" | "detached").then_some(listed)
}

/// `device_type` is `deviceType`. Names that would not come back stay as they are.
pub(crate) fn camel(name: &str) -> Cow<'_, str> {
    let plain = |word: &str| {
        word.starts_with(|first: char| first.is_ascii_lowercase())
            && word
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
    };
    if !name.contains('_') || !name.split('_').all(plain) {
        return Cow::Borrowed(name);
    }
    let mut camel = String::with_capacity(name.len());
    for (index, word) in name.split('_').enumerate() {
        let (first, rest) = word.split_at(1);
        match index {
            0 => camel.push_str(first),
            _ => camel.push_str(&first.to_ascii_uppercase()),
        }
        camel.push_str(rest);
    }
    Cow::Owned(camel)
}

/// The reverse of [`camel`].
pub(crate) fn snake(name: &str) -> Cow<'_, str> {
    let plain = name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if !plain || !name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Cow::Borrowed(name);
    }
    let mut snake = String::with_capacity(name.len() + 4);
    for character in name.chars() {
        if character.is_ascii_uppercase() {
            snake.push('_');
        }
        snake.push(character.to_ascii_lowercase());
    }
    Cow::Owned(snake)
}

/// An object's members; `None` if it is something else.
pub(crate) fn object(raw: &RawValue) -> Option<Members<'_>> {
    serde_json::from_str(raw.get()).ok()
}

/// An id: JSON:API has texts only.
pub(crate) fn id_of<'a>(members: &Members<'a>, name: &str) -> Option<Cow<'a, str>> {
    id_text(members.get(name)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_members_are_turned_and_come_back() {
        for (ours, keygens) in [
            ("name", "name"),
            ("device_type", "deviceType"),
            ("password_reset_token", "passwordResetToken"),
            ("sha256_sum", "sha256Sum"),
            ("a_1", "a_1"),
            ("_id", "_id"),
            ("Ünder_score", "Ünder_score"),
            ("", ""),
        ] {
            assert_eq!(camel(ours), keygens);
            assert_eq!(snake(keygens), ours);
        }
        assert_eq!(camel(&snake("fooBAR")), "fooBAR");
    }

    #[test]
    fn types_are_plurals() {
        for (name, plural) in [
            ("license.created", "licenses"),
            ("policy.created", "policies"),
            ("process.heartbeat.ping", "processes"),
            ("key.created", "keys"),
            ("second-factor.enabled", "second-factors"),
        ] {
            assert_eq!(Resource::of(name).plural(), plural);
        }
        assert_eq!(listed("license.users.attached"), Some("users"));
        assert_eq!(listed("license.created"), None);
    }
}
