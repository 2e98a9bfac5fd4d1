//! Reading canonical `data`, and the tables that say which dialect calls which member what.

use std::borrow::Cow;

pub(crate) use model::Members;
use model::Timestamp;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::RenderError;
use crate::compact::{self, Object};
use crate::mask::mask;

/// The name of a member whose own means something else here: `data_` before it, until it is free.
pub(crate) fn another_name(name: &str, is_taken: impl Fn(&str) -> bool) -> String {
    let mut another = format!("data_{name}");
    while is_taken(&another) {
        another.insert_str(0, "data_");
    }
    another
}

pub(crate) fn is_null(value: &RawValue) -> bool {
    value.get() == "null"
}

/// The parts of canonical `data` that dialects map member by member.
const PARTS: &[&str] = &["license", "customer", "activation", "actor"];

/// Canonical `data`, its parts opened.
#[derive(Debug)]
pub(crate) struct Data<'a> {
    pub(crate) members: Members<'a>,
    parts: [Members<'a>; PARTS.len()],
}

impl<'a> Data<'a> {
    pub(crate) fn read(raw: &'a RawValue) -> Result<Self, RenderError> {
        let members: Members<'a> = serde_json::from_str(raw.get())
            .map_err(|_| RenderError::BadData("data is not an object"))?;
        let open = |name| {
            let part = members.get(name);
            let opened = part.and_then(|part: &'a RawValue| serde_json::from_str(part.get()).ok());
            opened.unwrap_or_default()
        };
        let parts = std::array::from_fn(|index| open(PARTS[index]));
        Ok(Self { members, parts })
    }

    /// The members of `license`, `customer`, `activation` or `actor`; none if it is not there.
    pub(crate) fn part(&self, name: &str) -> Option<&Members<'a>> {
        let index = PARTS.iter().position(|part| *part == name)?;
        Some(&self.parts[index])
    }

    /// A member of `data` or of one of its parts, unless it is absent or null.
    pub(crate) fn get(&self, path: &[&str]) -> Option<&'a RawValue> {
        match path {
            [name] => self.members.get(name),
            [part, name] => self.part(part)?.get(name),
            _ => None,
        }
    }

    pub(crate) fn text(&self, path: &[&str]) -> Option<Cow<'a, str>> {
        text(self.get(path)?)
    }
}

pub(crate) fn text(raw: &RawValue) -> Option<Cow<'_, str>> {
    #[derive(Deserialize)]
    struct Text<'t>(#[serde(borrow)] Cow<'t, str>);
    serde_json::from_str(raw.get()).ok().map(|Text(text)| text)
}

/// An id, which some systems have as a number.
pub(crate) fn id_text(raw: &RawValue) -> Option<Cow<'_, str>> {
    let is_number = raw.get().starts_with(|first: char| first.is_ascii_digit());
    text(raw).or_else(|| is_number.then_some(Cow::Borrowed(raw.get())))
}

/// One row of a dialect's table: what it calls a member of canonical `data`.
pub(crate) struct Field {
    pub(crate) own: &'static str,
    pub(crate) canonical: &'static [&'static str],
    pub(crate) form: Form,
}

/// How a value is written.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Same,
    /// A time, without fractions of a second.
    Seconds,
    /// A license key, all but its last group hidden.
    Masked,
}

pub(crate) const fn field(own: &'static str, canonical: &'static [&'static str]) -> Field {
    Field {
        own,
        canonical,
        form: Form::Same,
    }
}

impl Field {
    pub(crate) const fn form(self, form: Form) -> Self {
        Self { form, ..self }
    }
}

/// Writes an object of `fields`, in the table's order. What `data` lacks is left out. A producer
/// may have used the dialect's own names; members that no dialect maps go as they came, at the end,
/// but a dialect that masks license keys masks them there too.
pub(crate) fn write_fields(out: &mut Vec<u8>, fields: &[Field], data: &Data<'_>) {
    let mut members = Object::begin(out);
    for field in fields {
        if let Some(value) = data.get(field.canonical).or_else(|| data.get(&[field.own])) {
            write_value(members.member(field.own), value, field.form);
        }
    }
    let is_mapped = |name: &str| {
        PARTS.contains(&name)
            || fields
                .iter()
                .any(|field| field.own == name || field.canonical == [name])
    };
    let masks = fields.iter().any(|field| field.form == Form::Masked);
    for (name, value) in &data.members.0 {
        if is_mapped(name) {
        } else if masks {
            write_masking(members.member(name), name, value, "");
        } else {
            members.value(name, value);
        }
    }
    members.end();
}

/// Copies the value of the member `name` of `parent` with every license key in it masked.
fn write_masking(out: &mut Vec<u8>, name: &str, value: &RawValue, parent: &str) {
    match value.get().as_bytes()[0] {
        b'{' => {
            let inner: Members<'_> = serde_json::from_str(value.get()).unwrap_or_default();
            let mut members = Object::begin(out);
            for (inner_name, value) in &inner.0 {
                write_masking(members.member(inner_name), inner_name, value, name);
            }
            members.end();
        }
        b'[' => {
            let items: Vec<&RawValue> = serde_json::from_str(value.get()).unwrap_or_default();
            out.push(b'[');
            for (index, item) in items.into_iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                write_masking(out, name, item, parent);
            }
            out.push(b']');
        }
        _ if holds_license_keys(name, parent) => write_value(out, value, Form::Masked),
        _ => compact::value(out, value),
    }
}

/// Whether a member is a license key: what is merely called `key` may be something else.
fn holds_license_keys(name: &str, parent: &str) -> bool {
    match name {
        "licenseKey" | "license_key" | "licenseKeys" | "license_keys" => true,
        "key" | "keys" => parent.is_empty() || parent == "key" || parent.contains("license"),
        _ => false,
    }
}

fn write_value(out: &mut Vec<u8>, value: &RawValue, form: Form) {
    let written = match form {
        Form::Same => None,
        Form::Masked if is_null(value) => None,
        // What is no text is hidden whole.
        Form::Masked => Some(mask(&text(value).unwrap_or_default()).into_owned()),
        Form::Seconds => text(value)
            .and_then(|time| time.parse::<Timestamp>().ok())
            .map(|time| time.rfc3339(0)),
    };
    match written {
        Some(text) => compact::string(out, &text),
        None => compact::value(out, value),
    }
}

/// Canonical `data` from an object in the dialect's own names: the reverse of [`write_fields`].
pub(crate) fn read_fields(own: &Members<'_>, fields: &[Field]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut members = Object::begin(&mut out);
    for part in PARTS {
        let inside = fields.iter().filter_map(|field| match field.canonical {
            [first, name] if first == part => Some((*name, own.get(field.own)?)),
            _ => None,
        });
        write_part(
            &mut members,
            part,
            &inside.collect::<Vec<_>>(),
            own.get(part),
        );
    }
    for (name, value) in &own.0 {
        match fields.iter().find(|field| field.own == name) {
            Some(field) if field.canonical.len() == 1 => {
                members.value(field.canonical[0], value);
            }
            Some(_) => {}
            None if PARTS.contains(&&**name) => {}
            None => members.value(name, value),
        }
    }
    members.end();
    out
}

/// Writes a part of canonical data: what the dialect maps, and then whatever the sender has under
/// the part's own name besides.
pub(crate) fn write_part(
    members: &mut Object<'_>,
    part: &str,
    mapped: &[(&str, &RawValue)],
    whole: Option<&RawValue>,
) {
    let given: Option<Members<'_>> = whole.and_then(|raw| serde_json::from_str(raw.get()).ok());
    let other = whole.filter(|_| given.is_none());
    match other {
        None if mapped.is_empty() && given.is_none() => return,
        // A license is always an object.
        Some(other) if mapped.is_empty() && part != "license" => {
            members.value(part, other);
            return;
        }
        Some(_) | None => {}
    }
    let mut object = Object::begin(members.member(part));
    for (name, value) in mapped {
        write_member(&mut object, name, value);
    }
    let is_mapped = |name: &str| mapped.iter().any(|(known, _)| *known == name);
    for (name, value) in given.iter().flat_map(|given| &given.0) {
        if !is_mapped(name) {
            write_member(&mut object, name, value);
        }
    }
    if let Some(other) = other {
        object.value(part, other);
    }
    object.end();
}

/// Writes a member of a part. Ids are texts there.
pub(crate) fn write_member(part: &mut Object<'_>, name: &str, value: &RawValue) {
    match id_text(value).filter(|_| name == "id") {
        Some(id) => part.text(name, &id),
        None => part.value(name, value),
    }
}
