//! Strict reading of JSON that came from outside: one pass that builds nothing and refuses what
//! receivers would disagree about.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use crate::FieldError;

/// How many arrays and objects may be nested in one another.
pub const DEPTH_MAX: usize = 64;

/// Up to this many members of an object are compared pairwise; more go through a hash set.
const PAIRWISE_MAX: usize = 16;

/// Checks that `body` is one JSON value without duplicate members, lone surrogates or nesting
/// beyond `depth_max`. The error points at the innermost value that could not be read.
pub(crate) fn check(body: &[u8], depth_max: usize) -> Result<(), FieldError> {
    let mut path = Vec::new();
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    Checked {
        path: &mut path,
        deeper: depth_max,
    }
    .deserialize(&mut deserializer)
    .and_then(|()| deserializer.end())
    .map_err(|error| FieldError::new(pointer(&path), detail(&error)))
}

fn detail(error: &serde_json::Error) -> String {
    if error.line() == 0 {
        error.to_string()
    } else {
        format!("not valid JSON: {error}")
    }
}

enum Segment<'de> {
    Member(Cow<'de, str>),
    Index(usize),
}

fn pointer(path: &[Segment<'_>]) -> String {
    let mut pointer = String::new();
    for segment in path {
        pointer.push('/');
        match segment {
            Segment::Member(name) => {
                pointer.push_str(&name.replace('~', "~0").replace('/', "~1"));
            }
            Segment::Index(index) => pointer.push_str(&index.to_string()),
        }
    }
    pointer
}

struct Checked<'p, 'de> {
    path: &'p mut Vec<Segment<'de>>,
    /// How many levels there may be from here on.
    deeper: usize,
}

impl<'de> Checked<'_, 'de> {
    fn deeper<E: Error>(&self) -> Result<usize, E> {
        self.deeper
            .checked_sub(1)
            .ok_or_else(|| E::custom(format_args!("nested more than {DEPTH_MAX} levels deep")))
    }
}

impl<'de> DeserializeSeed<'de> for Checked<'_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Checked<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let deeper = self.deeper()?;
        for index in 0.. {
            self.path.push(Segment::Index(index));
            if seq
                .next_element_seed(Checked {
                    path: self.path,
                    deeper,
                })?
                .is_none()
            {
                self.path.pop();
                break;
            }
            self.path.pop();
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let deeper = self.deeper()?;
        let mut seen = Members::Few(Vec::new());
        while let Some(name) = map.next_key_seed(Name)? {
            let fresh = seen.insert(name.clone());
            self.path.push(Segment::Member(name));
            if !fresh {
                return Err(A::Error::custom("this member stands here twice; keep one"));
            }
            map.next_value_seed(Checked {
                path: self.path,
                deeper,
            })?;
            self.path.pop();
        }
        Ok(())
    }
}

enum Members<'de> {
    Few(Vec<Cow<'de, str>>),
    Many(HashSet<Cow<'de, str>>),
}

impl<'de> Members<'de> {
    fn insert(&mut self, name: Cow<'de, str>) -> bool {
        match self {
            Self::Few(names) if names.contains(&name) => false,
            Self::Few(names) if names.len() < PAIRWISE_MAX => {
                names.push(name);
                true
            }
            Self::Few(names) => {
                let mut names: HashSet<_> = names.drain(..).collect();
                let fresh = names.insert(name);
                *self = Self::Many(names);
                fresh
            }
            Self::Many(names) => names.insert(name),
        }
    }
}

/// Reads a member's name without copying it where it holds no escapes.
struct Name;

impl<'de> DeserializeSeed<'de> for Name {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Name {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a member's name")
    }

    fn visit_borrowed_str<E>(self, name: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(name))
    }

    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(body: &str, at: &str, saying: &str) {
        let error = check(body.as_bytes(), DEPTH_MAX).expect_err(body);
        assert_eq!(error.pointer, at, "{body}: {}", error.detail);
        assert!(error.detail.contains(saying), "{body}: {}", error.detail);
    }

    #[test]
    fn what_receivers_would_disagree_about_is_refused_where_it_stands() {
        refused(
            r#"{"data":{"a":1,"b":[{"x":1,"x":2}]}}"#,
            "/data/b/0/x",
            "twice",
        );
        refused(
            r#"{"data":{"name":"\ud800"}}"#,
            "/data/name",
            "not valid JSON",
        );
        refused(
            r#"{"data":{"a/b~c":tru}}"#,
            "/data/a~1b~0c",
            "not valid JSON",
        );
        refused("", "", "not valid JSON");
        refused("{} x", "", "not valid JSON");
        refused(r#"{"data":1e999}"#, "/data", "out of range");
    }

    #[test]
    fn nesting_is_bounded_at_its_limit() {
        let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        assert!(check(nested(DEPTH_MAX).as_bytes(), DEPTH_MAX).is_ok());
        let error = check(nested(DEPTH_MAX + 1).as_bytes(), DEPTH_MAX).unwrap_err();
        assert!(error.detail.contains("64 levels"), "{}", error.detail);
        assert!(check(nested(100_000).as_bytes(), DEPTH_MAX).is_err());
    }

    #[test]
    fn duplicates_are_found_in_objects_of_any_size() {
        let members: Vec<_> = (0..5_000).map(|n| format!(r#""m{n}":{n}"#)).collect();
        assert!(check(format!("{{{}}}", members.join(",")).as_bytes(), DEPTH_MAX).is_ok());
        let twice = format!("{{{},\"m17\":0}}", members.join(","));
        assert_eq!(
            check(twice.as_bytes(), DEPTH_MAX).unwrap_err().pointer,
            "/m17"
        );
    }
}
