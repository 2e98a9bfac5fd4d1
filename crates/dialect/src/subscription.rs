use model::{Endpoint, Event, EventType, FieldError};

use crate::Dialect;
use crate::names::Names;

/// Entries of an endpoint's `event_types` at most.
pub const EVENT_TYPES_MAX: usize = 200;

impl Dialect {
    /// Checks an endpoint's `event_types`: `*`, a family such as `license.*`, or exact names, all
    /// in the dialect's own names. `registered` knows the tenant's own types.
    pub fn check_event_types(
        self,
        patterns: &[String],
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
        let problem = |(index, pattern): (usize, &String)| {
            let detail = self.problem_with(pattern, registered)?;
            Some(FieldError::new(format!("/event_types/{index}"), detail))
        };
        patterns.iter().enumerate().filter_map(problem).collect()
    }

    fn problem_with(self, pattern: &str, registered: &dyn Fn(&str) -> bool) -> Option<String> {
        let names = self.event_names();
        let canonical = matches!(self.format().names, Names::Canonical);
        let well_formed = |name: &str| name.parse::<EventType>().is_ok();
        let known = match pattern.strip_suffix('*') {
            Some("") => true,
            // Which families a tenant's own types make up nobody can tell beforehand.
            Some(family) if canonical => well_formed(&format!("{family}x")),
            Some(family) => family.ends_with('.') && names.iter().any(|it| it.starts_with(family)),
            None => names.contains(&pattern) || (canonical && registered(pattern)),
        };
        (!known).then(|| {
            let name = self.name();
            format!("is neither an event name of the dialect {name} nor *, nor a family such as license.*")
        })
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
