//! One object about an event's subject, for systems that know no parts: the members of the
//! subject's part of `data`, then everything else.

use std::collections::HashSet;

use crate::compact::Object;
use crate::data::Members;

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

/// Writes the members of the subject's part and then the others of `data`, each name once and none
/// of those `but`, which are written already.
pub(crate) fn write_flat(
    members: &mut Object<'_>,
    data: &Members<'_>,
    subject: &str,
    but: &[&str],
) {
    let part = part(data, subject);
    let is_part = |name: &str| part.is_some() && name == subject;
    let inside = part.as_ref().map_or(&[][..], |part| &part.0);
    let beside = data.0.iter().filter(|(name, _)| !is_part(name));
    let mut written: HashSet<&str> = but.iter().copied().collect();
    for (name, value) in inside.iter().chain(beside) {
        if written.insert(name) {
            members.value(name, value);
        }
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
