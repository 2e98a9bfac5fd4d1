//! How dialects name events: their columns of the event catalogue.

use model::Event;

use crate::data::Data;

/// A dialect's names.
pub(crate) enum Names {
    /// The canonical ones, a tenant's own types included.
    Canonical,
    /// Its own. An event has the name of the first row that fits; a name that comes in is the event
    /// of the first row that has it.
    Own(&'static [Name]),
}

/// One row: what the dialect calls a canonical event.
pub(crate) struct Name {
    pub(crate) own: &'static str,
    pub(crate) canonical: &'static str,
    pub(crate) when: When,
}

/// What a dialect calls an event of the catalogue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventName {
    pub own: &'static str,
    pub canonical: &'static str,
    /// Which events of the canonical type have the name; all where there is none.
    pub condition: Option<String>,
}

/// Which events of the canonical type have the name.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum When {
    Always,
    /// Those whose `data.reason` is this.
    Reason(&'static str),
    /// Those whose `data.actor.type` is this.
    Actor(&'static str),
    /// Those somebody caused: without `data.manual` somebody did, since only other machinery has
    /// a reason to say no.
    Manual,
    /// All, at endpoints with the option `extras`.
    Extra,
}

pub(crate) const fn same(name: &'static str) -> Name {
    named(name, name)
}

pub(crate) const fn named(canonical: &'static str, own: &'static str) -> Name {
    when(canonical, own, When::Always)
}

pub(crate) const fn when(canonical: &'static str, own: &'static str, when: When) -> Name {
    Name {
        own,
        canonical,
        when,
    }
}

impl Names {
    pub(crate) fn of<'e>(&self, event: &'e Event, extras: bool) -> Option<&'e str> {
        let canonical = event.event_type.as_str();
        match self {
            Self::Canonical => Some(canonical),
            Self::Own(rows) => {
                let mut rows = rows.iter().filter(|row| row.canonical == canonical);
                rows.find(|row| row.when.fits(event, extras))
                    .map(|row| row.own)
            }
        }
    }

    /// The canonical name behind one of the dialect's.
    pub(crate) fn canonical<'n>(&self, own: &'n str) -> Option<&'n str> {
        match self {
            Self::Canonical => Some(own),
            Self::Own(rows) => {
                let row = rows.iter().find(|row| row.own == own);
                row.map(|row| row.canonical)
            }
        }
    }

    /// Its own names with the canonical ones behind them, in the order in which they are tried; none
    /// where they are the canonical ones.
    pub(crate) fn table(&self) -> Vec<EventName> {
        let rows: &[Name] = match self {
            Self::Canonical => &[],
            Self::Own(rows) => rows,
        };
        let shown = rows.iter().map(|row| EventName {
            own: row.own,
            canonical: row.canonical,
            condition: row.when.in_words(),
        });
        shown.collect()
    }

    /// The names that an endpoint may ask for, sorted; where they are the canonical ones, without
    /// those that a tenant registered.
    pub(crate) fn all(&self, extras: bool) -> Vec<&'static str> {
        match self {
            Self::Canonical => model::CATALOG.iter().map(|entry| entry.name).collect(),
            Self::Own(rows) => {
                let rows = rows.iter().filter(|row| extras || row.when != When::Extra);
                let mut names: Vec<_> = rows.map(|row| row.own).collect();
                names.sort_unstable();
                names.dedup();
                names
            }
        }
    }
}

impl When {
    fn in_words(self) -> Option<String> {
        match self {
            Self::Always => None,
            Self::Reason(reason) => Some(format!("data.reason is {reason}")),
            Self::Actor(actor) => Some(format!("data.actor.type is {actor}")),
            Self::Manual => Some("data.manual is not false".to_owned()),
            Self::Extra => Some("dialect_options.extras is true".to_owned()),
        }
    }

    fn fits(self, event: &Event, extras: bool) -> bool {
        let member = |path: &[&str]| Data::read(&event.data).ok()?.text(path);
        match self {
            Self::Always => true,
            Self::Reason(reason) => member(&["reason"]).is_some_and(|text| text == reason),
            Self::Actor(actor) => member(&["actor", "type"]).is_some_and(|text| text == actor),
            Self::Manual => {
                let data = Data::read(&event.data).ok();
                let manual = data.and_then(|data| data.get(&["manual"]));
                manual.is_none_or(|manual| manual.get() != "false")
            }
            Self::Extra => extras,
        }
    }
}
