//! One object about an event's subject, for systems that know no parts: the members of the
//! subject's part of `data`, then everything else.

use std::borrow::Cow;
use std::collections::HashMap;

use crate::compact::Object;
use crate::data::{Members, another_name};

/// What canonical `data` has beside its subject.
const BESIDE: &[&str] = &[
    "license",
    "customer",
    "previous_customer",
    "activation",
    "actor",
    "reason",
];

/// What an event is about: the first word of its name.
pub(crate) fn of(name: &str) -> &str {
    name.split('.').next().unwrap_or(name)
}

/// The subject's part of `data`, if it has one.
pub(crate) fn part<'a>(data: &Members<'a>, subject: &str) -> Option<Members<'a>> {
    serde_json::from_str(data.get(subject)?.get()).ok()
}

/// Writes the members of the subject's part and then the others of `data`. What stands there
/// already, as the names and values `before` do, is not written again; another value under the same
/// name gets another name.
pub(crate) fn write_flat(
    members: &mut Object<'_>,
    data: &Members<'_>,
    subject: &str,
    before: &[(&str, &str)],
) {
    let part = part(data, subject);
    let is_part = |name: &str| part.is_some() && name == subject;
    let inside = part.as_ref().map_or(&[][..], |part| &part.0);
    let beside = data.0.iter().filter(|(name, _)| !is_part(name));
    let mut written: HashMap<Cow<'_, str>, &str> = before
        .iter()
        .map(|(name, value)| (Cow::Borrowed(*name), *value))
        .collect();
    for (name, value) in inside.iter().chain(beside) {
        let name = match written.get(name) {
            None => Cow::Borrowed(&**name),
            Some(same) if *same == value.get() => continue,
            Some(_) => Cow::Owned(another_name(name, |name| {
                written.contains_key(name)
                    || data.has(name)
                    || inside.iter().any(|(known, _)| known == name)
            })),
        };
        members.value(&name, value);
        written.insert(name, value.get());
    }
}

/// Canonical `data` from an object that was written flat: what stands at its end and is known to
/// stand beside a subject does so again, the rest is the subject's. `but` is left out.
pub(crate) fn read_flat(own: &Members<'_>, subject: &str, but: &[&str]) -> Vec<u8> {
    let is_beside = |name: &str| name != subject && BESIDE.contains(&name);
    let beside = own.0.iter().rev().take_while(|(name, _)| is_beside(name));
    let (part, beside) = own.0.split_at(own.0.len() - beside.count());
    let mut part = part
        .iter()
        .filter(|(name, _)| !but.contains(&&**name))
        .peekable();

    let mut out = Vec::new();
    let mut members = Object::begin(&mut out);
    if part.peek().is_some() {
        let mut object = Object::begin(members.member(subject));
        for (name, value) in part {
            object.value(name, value);
        }
        object.end();
    }
    for (name, value) in beside {
        members.value(name, value);
    }
    members.end();
    out
}
