use model::{Endpoint, Event, EventType, FieldError};
use serde_json::{Map, Value};

use crate::names::Names;
use crate::{Dialect, options};

/// Entries of an endpoint's `event_types` at most.
pub const EVENT_TYPES_MAX: usize = 200;

impl Dialect {
    /// Checks an endpoint's `event_types`: `*`, a family such as `license.*`, or exact names, all
    /// in the dialect's own names. `options` are the endpoint's `dialect_options`, `registered`
    /// knows the tenant's own types.
    pub fn check_event_types(
        self,
        patterns: &[String],
        options: &Map<String, Value>,
        registered: &dyn Fn(&str) -> bool,
    ) -> Vec<FieldError> {
        if patterns.is_empty() {
            return vec![FieldError::new(
                "/event_types",
                "must name at least one type, or *",
            )];
        }
        if patterns.len() > EVENT_TYPES_MAX {
            let detail = format!("must have at most {EVENT_TYPES_MAX} entries");
            return vec![FieldError::new("/event_types", detail)];
        }
        let extras = options::asks_for_extras(options);
        let problem = |(index, pattern): (usize, &String)| {
            if self.knows(pattern, extras, registered) {
                return None;
            }
            let detail = if self.knows(pattern, true, registered) {
                "needs \"dialect_options\": {\"extras\": true}".to_owned()
            } else {
                let name = self.name();
                format!(
                    "is neither an event name of the dialect {name} nor *, nor a family such as license.*"
                )
            };
            Some(FieldError::new(format!("/event_types/{index}"), detail))
        };
        patterns.iter().enumerate().filter_map(problem).collect()
    }

    fn knows(self, pattern: &str, extras: bool, registered: &dyn Fn(&str) -> bool) -> bool {
        let names = self.format().names.all(extras);
        let canonical = matches!(self.format().names, Names::Canonical);
        let well_formed = |name: &str| name.parse::<EventType>().is_ok();
        match pattern.strip_suffix('*') {
            Some("") => true,
            // Which families a tenant's own types make up nobody can tell beforehand.
            Some(family) if canonical => well_formed(&format!("{family}x")),
            Some(family) => family.ends_with('.') && names.iter().any(|it| it.starts_with(family)),
            None => names.contains(&pattern) || (canonical && registered(pattern)),
        }
    }

    /// Whether the endpoint asked for this event. Whether it is active does not matter here.
    pub fn wants(self, endpoint: &Endpoint, event: &Event) -> bool {
        endpoint
            .environment
            .is_none_or(|environment| environment == event.environment)
            && endpoint
                .product
                .as_deref()
                .is_none_or(|product| event.product.as_deref() == Some(product))
            && self.event_name(endpoint, event).is_some_and(|name| {
                endpoint
                    .event_types
                    .iter()
                    .any(|pattern| matches(pattern, &name))
            })
    }
}

fn matches(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(family) => name.starts_with(family),
        None => pattern == name,
    }
}
