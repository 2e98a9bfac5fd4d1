//! One event about many licenses, for receivers that only know events about one.

use std::sync::Arc;

use model::{Event, EventId, EventType, FieldError, LicenseId};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::collections::BTreeMap;

/// Licenses in one event at most.
pub(crate) const LICENSES_MAX: usize = 1_000;

/// Events about `data.licenses`, and what happened to each of the licenses.
const SPLIT: &[(&str, &str)] = &[("license.bulk_revoked", "license.revoked")];

/// The events about each license, in order, none if this is no event about many. Their ids follow
/// from the whole event's, so that a repetition makes the same.
pub(crate) fn parts(whole: &Event) -> Result<Vec<Event>, FieldError> {
    let mut split = SPLIT.iter();
    let Some((_, part)) = split.find(|(name, _)| *name == whole.event_type.as_str()) else {
        return Ok(Vec::new());
    };
    let event_type: EventType = part.parse().expect("it is in the catalogue");
    let at = |detail: String| FieldError::new("/data/licenses", detail);
    let data: BTreeMap<String, &RawValue> =
        serde_json::from_str(whole.data.get()).unwrap_or_default();
    let licenses: Vec<&RawValue> = match data.get("licenses") {
        Some(licenses) => serde_json::from_str(licenses.get())
            .map_err(|_| at("must be an array of licenses".to_owned()))?,
        None => return Ok(Vec::new()),
    };
    if licenses.len() > LICENSES_MAX {
        return Err(at(format!("must be at most {LICENSES_MAX} licenses")));
    }
    let parts = licenses.iter().enumerate().map(|(index, license)| {
        let license_id = license_id(license)
            .ok_or_else(|| FieldError::new(format!("/data/licenses/{index}"), "must have an id"))?;
        let id = EventId::new(&format!("{}:{}", whole.id, index + 1)).map_err(|_| {
            FieldError::new("/id", "must leave room for the numbers of its licenses")
        })?;
        Ok(Event {
            id,
            event_type: event_type.clone(),
            license: Some(license_id),
            data: data_of(license, &data),
            ..whole.clone()
        })
    });
    parts.collect()
}

fn license_id(license: &RawValue) -> Option<LicenseId> {
    #[derive(Deserialize)]
    struct License {
        id: LicenseId,
    }
    let license: License = serde_json::from_str(license.get()).ok()?;
    Some(license.id)
}

/// The whole event's data, about this license alone.
fn data_of(license: &RawValue, whole: &BTreeMap<String, &RawValue>) -> Arc<RawValue> {
    let mut data = whole.clone();
    data.remove("licenses");
    data.insert("license".to_owned(), license);
    let json = serde_json::to_string(&data).expect("it has only string keys");
    Arc::from(RawValue::from_string(json).expect("it was just serialized"))
}

#[cfg(test)]
mod tests {
    use model::{Submission, TenantId, Timestamp};

    use super::*;

    fn event(event_type: &str, id: &str, data: &str) -> Event {
        let body = format!(r#"{{"id":"{id}","type":"{event_type}","data":{data}}}"#);
        let submission = Submission::parse(body.as_bytes()).unwrap();
        submission.into_event(TenantId::new("acme").unwrap(), Timestamp::EPOCH, 1)
    }

    #[test]
    fn each_license_of_a_bulk_has_an_event_of_its_own() {
        let data = r#"{"reason":"fraud","licenses":[{"id":"lic_1","key":"K"},{"id":"lic_2"}]}"#;
        let parts = parts(&event("license.bulk_revoked", "bulk-7", data)).unwrap();
        let shown: Vec<_> = parts
            .iter()
            .map(|part| {
                (
                    part.id.as_str(),
                    part.event_type.as_str(),
                    part.license.as_deref().unwrap(),
                    part.data.get(),
                )
            })
            .collect();
        let revoked = "license.revoked";
        let first = r#"{"license":{"id":"lic_1","key":"K"},"reason":"fraud"}"#;
        let second = r#"{"license":{"id":"lic_2"},"reason":"fraud"}"#;
        assert_eq!(
            shown,
            [
                ("bulk-7:1", revoked, "lic_1", first),
                ("bulk-7:2", revoked, "lic_2", second)
            ]
        );
        assert!(
            super::parts(&event("license.revoked", "a", data))
                .unwrap()
                .is_empty()
        );
    }

    #[test]
    fn what_cannot_be_split_is_named() {
        let refused = |id: &str, data: &str| {
            let error = parts(&event("license.bulk_revoked", id, data)).unwrap_err();
            error.pointer
        };
        assert_eq!(refused("a", r#"{"licenses":{}}"#), "/data/licenses");
        assert_eq!(
            refused("a", r#"{"licenses":[{"id":"l"},{}]}"#),
            "/data/licenses/1"
        );
        assert_eq!(
            refused(&"a".repeat(127), r#"{"licenses":[{"id":"l"}]}"#),
            "/id"
        );
        let many = |count: usize| {
            let licenses = vec![r#"{"id":"l"}"#; count].join(",");
            parts(&event(
                "license.bulk_revoked",
                "a",
                &format!(r#"{{"licenses":[{licenses}]}}"#),
            ))
        };
        assert_eq!(many(LICENSES_MAX).unwrap().len(), LICENSES_MAX);
        assert!(many(LICENSES_MAX + 1).is_err());
    }
}
