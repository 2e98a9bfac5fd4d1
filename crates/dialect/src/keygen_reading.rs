//! From Keygen's JSON:API document to canonical data: the reverse of `keygen_document`.

use std::borrow::Cow;
use std::collections::HashSet;

use serde_json::value::RawValue;

use crate::ParseError;
use crate::compact::{self, Object};
use crate::data::{Members, text};
use crate::keygen_document::{CONTEXT, FAILED, SUCCEEDED};
use crate::keygen_resources::{BELONGS_TO, Resource, id_of, listed, object, snake};
use crate::keygen_versions::current;

/// What a payload says.
pub(crate) struct Read {
    /// Canonical data.
    pub(crate) data: Vec<u8>,
    pub(crate) product: Option<String>,
}

const EXPECTED: &str = "the payload is not a JSON:API document";

/// Reads the document about the subject of an event of this name.
pub(crate) fn read(name: &str, payload: &str) -> Result<Read, ParseError> {
    let bad = ParseError::BadBody(EXPECTED);
    let document: Members<'_> = serde_json::from_str(payload).map_err(|_| bad)?;
    let subject = document.get("data").ok_or(ParseError::BadBody(EXPECTED))?;
    let items: Option<Vec<&RawValue>> = serde_json::from_str(subject.get()).ok();
    let mut canonical = Canonical::default();
    let product = match &items {
        Some(items) => {
            canonical.read_list(name, items)?;
            None
        }
        None => canonical.read_subject(name, subject)?,
    };
    if let Some(meta) = document.get("meta").and_then(object) {
        canonical.read_meta(name, &meta);
    }
    Ok(Read {
        data: canonical.finish(),
        product,
    })
}

/// Canonical data in the making: members and their values.
#[derive(Default)]
struct Canonical {
    members: Vec<(String, Vec<u8>)>,
    names: HashSet<String>,
}

impl Canonical {
    /// Adds a member, unless there is one of that name.
    fn put(&mut self, name: &str, value: Vec<u8>) {
        if self.names.insert(name.to_owned()) {
            self.members.push((name.to_owned(), value));
        }
    }

    fn put_id(&mut self, member: &str, id: &str) {
        let mut object = Self::default();
        object.put("id", string(id));
        self.put(member, object.finish());
    }

    fn finish(self) -> Vec<u8> {
        let mut out = Vec::new();
        let mut object = Object::begin(&mut out);
        for (name, value) in self.members {
            object.member(&name).extend_from_slice(&value);
        }
        object.end();
        out
    }

    /// Reads the subject; answers the product it is of.
    fn read_subject(
        &mut self,
        name: &str,
        subject: &RawValue,
    ) -> Result<Option<String>, ParseError> {
        let resource = object(subject).ok_or(ParseError::BadBody(EXPECTED))?;
        let relationships = resource.get("relationships").and_then(object);
        let relationships = relationships.unwrap_or_default();
        let kind = Resource::of(name);
        let mut subject = members_of(&resource, &kind);
        for (relation, member, _) in BELONGS_TO {
            if let Some(id) = linked(&relationships, relation) {
                subject.put(member, string(&id));
            }
        }
        self.put(&kind.member, subject.finish());
        let customer = linked(&relationships, "owner").or_else(|| linked(&relationships, "user"));
        for (member, id) in [
            ("license", linked(&relationships, "license")),
            ("customer", customer),
        ] {
            if let Some(id) = id {
                self.put_id(member, &id);
            }
        }
        let product = match kind.singular.as_str() {
            "product" => id_of(&resource, "id"),
            _ => linked(&relationships, "product"),
        };
        Ok(product.map(Cow::into_owned))
    }

    fn read_list(&mut self, name: &str, items: &[&RawValue]) -> Result<(), ParseError> {
        let (kind, parent) = (Resource::of(""), Resource::of(name));
        let mut list = vec![b'['];
        for (index, item) in items.iter().enumerate() {
            let item = object(item).ok_or(ParseError::BadBody(EXPECTED))?;
            if index > 0 {
                list.push(b',');
            }
            list.extend_from_slice(&members_of(&item, &kind).finish());
            let relationships = item.get("relationships").and_then(object);
            if let Some(id) = relationships.and_then(|it| linked(&it, &parent.singular)) {
                self.put_id(&parent.member, &id);
            }
        }
        list.push(b']');
        self.put(listed(name).unwrap_or(&parent.member), list);
        Ok(())
    }

    fn read_meta(&mut self, name: &str, meta: &Members<'_>) {
        let is_validation = matches!(name, SUCCEEDED | FAILED);
        let code = meta.get("code").or_else(|| meta.get("constant"));
        if let Some(code) = code.and_then(text).filter(|_| name == FAILED) {
            self.put("reason", string(&code.to_ascii_lowercase()));
        }
        let is_told = |name: &str| {
            CONTEXT.contains(&name)
                || (is_validation && ["ts", "valid", "code", "constant"].contains(&name))
        };
        for (name, value) in meta.0.iter().filter(|(name, _)| !is_told(name)) {
            self.put(&snake(name), compacted(value));
        }
    }
}

/// A resource's id and attributes, under canonical names.
fn members_of(resource: &Members<'_>, kind: &Resource) -> Canonical {
    let mut canonical = Canonical::default();
    if let Some(id) = id_of(resource, "id") {
        canonical.put("id", string(&id));
    }
    let attributes = resource.get("attributes").and_then(object);
    for (name, value) in &attributes.unwrap_or_default().0 {
        let row = kind.rows().find(|row| row.own == name);
        let member = match row {
            Some(row) => Cow::Borrowed(row.canonical),
            None => snake(current(&kind.singular, name)),
        };
        let constant = text(value).filter(|_| row.is_some_and(|row| row.is_constant));
        match constant {
            Some(constant) => canonical.put(&member, string(&constant.to_ascii_lowercase())),
            None if row.is_some() && value.get() == "null" => {}
            None => canonical.put(&member, compacted(value)),
        }
    }
    canonical
}

/// The id of the one resource that a relationship leads to.
fn linked<'a>(relationships: &Members<'a>, name: &str) -> Option<Cow<'a, str>> {
    let relation = object(relationships.get(name)?)?;
    id_of(&object(relation.get("data")?)?, "id")
}

fn string(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + 2);
    compact::string(&mut out, text);
    out
}

fn compacted(value: &RawValue) -> Vec<u8> {
    let mut out = Vec::with_capacity(value.get().len());
    compact::value(&mut out, value);
    out
}
