//! The JSON:API document (jsonapi.org, version 1.0) that Keygen puts into `payload`.

use std::borrow::Cow;
use std::collections::HashSet;

use model::Event;
use serde_json::value::RawValue;

use crate::RenderError;
use crate::compact::{self, Object};
use crate::data::{Members, text};
use crate::keygen_resources::{
    Absent, Attribute, BELONGS_TO, Resource, TIMES, camel, id_of, listed, object, snake,
};
use crate::keygen_versions::ApiVersion;
use crate::percent;

/// What a document depends on besides the event.
pub(crate) struct Rendering<'a> {
    /// Keygen's name of the event.
    pub(crate) name: &'a str,
    pub(crate) account: &'a str,
    /// Whose relationships to customers there are: `owner`, `user`.
    pub(crate) owners: &'static [&'static str],
    pub(crate) version: ApiVersion,
}

/// Members of canonical data that are no resource's own.
pub(crate) const CONTEXT: &[&str] = &["license", "customer", "activation"];

pub(crate) const SUCCEEDED: &str = "license.validation.succeeded";
pub(crate) const FAILED: &str = "license.validation.failed";

/// Appends the document of the event's subject. Data that is a document goes as it came.
pub(crate) fn write(
    out: &mut Vec<u8>,
    rendering: &Rendering<'_>,
    event: &Event,
) -> Result<(), RenderError> {
    let data = object(&event.data).ok_or(RenderError::BadData("data is not an object"))?;
    if is_document(&data) {
        compact::value(out, &event.data);
        return Ok(());
    }
    let kind = Resource::of(rendering.name);
    let writer = Writer {
        rendering,
        event,
        data: &data,
        kind: &kind,
    };
    let mut document = Object::begin(out);
    match writer.list() {
        Some((name, items)) => writer.write_list(document.member("data"), name, &items),
        None => writer.write_subject(document.member("data")),
    }
    if let Some(meta) = writer.meta() {
        document.member("meta").extend_from_slice(&meta);
    }
    document.end();
    Ok(())
}

/// Whether data is a JSON:API document already: its `data` is a resource, or a list of them.
fn is_document(data: &Members<'_>) -> bool {
    let is_resource =
        |raw: &RawValue| object(raw).is_some_and(|it| it.get("type").and_then(text).is_some());
    let Some(data) = data.get("data") else {
        return false;
    };
    let list = serde_json::from_str::<Vec<&RawValue>>(data.get());
    is_resource(data) || list.is_ok_and(|list| list.into_iter().all(is_resource))
}

struct Writer<'a> {
    rendering: &'a Rendering<'a>,
    event: &'a Event,
    data: &'a Members<'a>,
    kind: &'a Resource,
}

impl<'a> Writer<'a> {
    /// The event's subject, if data has an object for it.
    fn subject(&self) -> Option<Members<'a>> {
        let mut members = self.kind.members().into_iter();
        members.find_map(|name| object(self.data.get(&name)?))
    }

    fn list(&self) -> Option<(&'a str, Vec<Members<'a>>)> {
        let name = listed(self.rendering.name)?;
        let items: Vec<&RawValue> = serde_json::from_str(self.data.get(name)?.get()).ok()?;
        let items: Option<Vec<_>> = items.into_iter().map(object).collect();
        Some((name, items?))
    }

    /// Members that belong to nothing else: of the subject where data is the subject, else of
    /// `meta`.
    fn others(&self) -> Members<'a> {
        let kinds = self.kind.members();
        let list = self.list().map(|(name, _)| name);
        let is_taken = |name: &str| {
            CONTEXT.contains(&name)
                || kinds.iter().any(|kind| kind == name)
                || list == Some(name)
                || (self.is_validation() && ["ts", "valid", "code", "detail"].contains(&name))
                || (self.rendering.name == FAILED && name == "reason")
        };
        let members = self.data.0.iter();
        Members(
            members
                .filter(|(name, _)| !is_taken(name))
                .cloned()
                .collect(),
        )
    }

    fn is_validation(&self) -> bool {
        matches!(self.rendering.name, SUCCEEDED | FAILED)
    }

    fn write_subject(&self, out: &mut Vec<u8>) {
        let subject = self.subject().unwrap_or_else(|| self.others());
        let product = self.event.product.as_deref().map(Cow::Borrowed);
        let is_product = self.kind.singular == "product";
        let id = id_of(&subject, "id").or_else(|| product.clone().filter(|_| is_product));
        let path = id.as_deref().map(|id| self.path(&self.kind.plural(), id));
        let mut resource = Object::begin(out);
        if let Some(id) = &id {
            resource.text("id", id);
        }
        resource.text("type", &self.kind.plural());
        self.write_attributes(resource.member("attributes"), self.kind, &subject);

        let mut relations = Relations::begin(resource.member("relationships"), self.rendering);
        if let Some(product) = id_of(&subject, "product_id").or(product.filter(|_| !is_product)) {
            relations.one("product", path.as_deref(), Some(("products", &product)));
        }
        for (name, member, plural) in BELONGS_TO {
            if let Some(id) = id_of(&subject, member) {
                relations.one(name, path.as_deref(), Some((plural, &id)));
            }
        }
        if self.kind.singular != "license"
            && let Some(license) = self.id_in("license")
        {
            relations.one("license", path.as_deref(), Some(("licenses", &license)));
        }
        if self.kind.is_owned {
            let customer = self.id_in("customer");
            let user = customer.as_deref().map(|id| ("users", id));
            for name in self.rendering.owners {
                relations.one(name, path.as_deref(), user);
            }
        }
        relations.end();
        if let Some(path) = &path {
            let mut links = Object::begin(resource.member("links"));
            links.text("self", path);
            links.end();
        }
        resource.end();
    }

    fn write_list(&self, out: &mut Vec<u8>, name: &str, items: &[Members<'_>]) {
        let kind = Resource::of("");
        let parent = self.id_in(&self.kind.member);
        out.push(b'[');
        for (index, item) in items.iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            let mut resource = Object::begin(out);
            if let Some(id) = id_of(item, "id") {
                resource.text("id", &id);
            }
            resource.text("type", name);
            self.write_attributes(resource.member("attributes"), &kind, item);
            let mut relations = Relations::begin(resource.member("relationships"), self.rendering);
            if let Some(parent) = &parent {
                let parent = Some((self.kind.plural(), parent));
                let parent = parent
                    .as_ref()
                    .map(|(plural, id)| (plural.as_str(), &***id));
                relations.one(&self.kind.singular, None, parent);
            }
            relations.end();
            resource.end();
        }
        out.push(b']');
    }

    /// Writes the attributes of the table, those that it does not know, the metadata and the times.
    fn write_attributes(&self, out: &mut Vec<u8>, kind: &Resource, subject: &Members<'_>) {
        let version = self.rendering.version;
        let mut attributes = Object::begin(out);
        for row in kind.attributes {
            write_attribute(&mut attributes, row, subject);
        }
        let is_taken = |name: &str| {
            let relation = |(_, member, _): &(&str, &str, &str)| *member == name;
            matches!(name, "id" | "product_id")
                || BELONGS_TO.iter().any(relation)
                || kind
                    .rows()
                    .any(|row| row.own == name || row.canonical == snake(name))
        };
        let unknown = subject.0.iter().filter(|(name, _)| !is_taken(name));
        let unknown = Members(unknown.cloned().collect());
        write_others(&mut attributes, &unknown, |name| {
            version.attribute(&kind.singular, camel(name))
        });
        match subject.get("metadata") {
            Some(metadata) => version.write_metadata(attributes.member("metadata"), metadata),
            None => write_attribute(&mut attributes, &kind.metadata, subject),
        }
        for row in TIMES {
            write_attribute(&mut attributes, row, subject);
        }
        attributes.end();
    }

    fn id_in(&self, member: &str) -> Option<Cow<'a, str>> {
        id_of(&object(self.data.get(member)?)?, "id")
    }

    fn path(&self, plural: &str, id: &str) -> String {
        let account = self.rendering.account;
        format!("/v1/accounts/{account}/{plural}/{}", percent::encode(id))
    }

    /// The result of a validation, and what data has besides its parts.
    fn meta(&self) -> Option<Vec<u8>> {
        let others = match self.subject().is_some() || self.list().is_some() {
            true => self.others(),
            false => Members::default(),
        };
        if others.0.is_empty() && !self.is_validation() {
            return None;
        }
        let mut meta = Vec::new();
        let mut members = Object::begin(&mut meta);
        if self.is_validation() {
            let succeeded = self.rendering.name == SUCCEEDED;
            members.text("ts", &self.event.occurred_at.rfc3339(3));
            let valid = if succeeded { "true" } else { "false" };
            members.member("valid").extend_from_slice(valid.as_bytes());
            if let Some(detail) = self.data.get("detail") {
                members.value("detail", detail);
            } else if succeeded {
                members.text("detail", "is valid");
            }
            if succeeded {
                members.text("code", "VALID");
            } else if let Some(reason) = self.reason() {
                members.text("code", &reason.to_ascii_uppercase());
            }
        }
        write_others(&mut members, &others, camel);
        members.end();
        Some(meta)
    }

    fn reason(&self) -> Option<Cow<'a, str>> {
        let is_ip_limit = self.event.event_type.as_str() == "license.ip_blocked";
        let reason = self.data.get("reason").and_then(text);
        reason.or(is_ip_limit.then_some(Cow::Borrowed("ip_limit")))
    }
}

/// Writes members under the names they are `called` by, each once.
fn write_others(
    members: &mut Object<'_>,
    others: &Members<'_>,
    called: impl Fn(&str) -> Cow<'_, str>,
) {
    let mut written = HashSet::with_capacity(others.0.len());
    for (name, value) in &others.0 {
        let name = called(name);
        if !written.contains(&name) {
            members.value(&name, value);
            written.insert(name);
        }
    }
}

fn write_attribute(attributes: &mut Object<'_>, row: &Attribute, subject: &Members<'_>) {
    let value = subject.get(row.canonical).or_else(|| subject.get(row.own));
    match (value, row.absent) {
        (Some(value), _) => match text(value).filter(|_| row.is_constant) {
            Some(constant) => attributes.text(row.own, &constant.to_ascii_uppercase()),
            None => attributes.value(row.own, value),
        },
        (None, Absent::LeftOut) => {}
        (None, Absent::Null) => attributes.member(row.own).extend_from_slice(b"null"),
        (None, Absent::EmptyObject) => attributes.member(row.own).extend_from_slice(b"{}"),
    }
}

/// The relationships of a resource.
struct Relations<'o, 'r> {
    members: Object<'o>,
    account: &'r str,
}

impl<'o, 'r> Relations<'o, 'r> {
    fn begin(out: &'o mut Vec<u8>, rendering: &'r Rendering<'_>) -> Self {
        let mut relations = Self {
            members: Object::begin(out),
            account: rendering.account,
        };
        write_account(relations.members.member("account"), relations.account);
        relations
    }

    fn one(&mut self, name: &str, path: Option<&str>, to: Option<(&str, &str)>) {
        let mut relation = Object::begin(self.members.member(name));
        if let Some(path) = path {
            write_related(relation.member("links"), &format!("{path}/{name}"));
        }
        write_linkage(relation.member("data"), to);
        relation.end();
    }

    fn end(self) {
        self.members.end();
    }
}

/// The relationship that every resource has.
pub(crate) fn write_account(out: &mut Vec<u8>, account: &str) {
    let mut relation = Object::begin(out);
    write_related(relation.member("links"), &format!("/v1/accounts/{account}"));
    write_linkage(relation.member("data"), Some(("accounts", account)));
    relation.end();
}

fn write_related(out: &mut Vec<u8>, path: &str) {
    let mut links = Object::begin(out);
    links.text("related", path);
    links.end();
}

fn write_linkage(out: &mut Vec<u8>, to: Option<(&str, &str)>) {
    let Some((plural, id)) = to else {
        out.extend_from_slice(b"null");
        return;
    };
    let mut linkage = Object::begin(out);
    linkage.text("type", plural);
    linkage.text("id", id);
    linkage.end();
}
