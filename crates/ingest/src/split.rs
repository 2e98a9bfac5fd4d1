//! One event about many licenses, for receivers that only know events about one.

use std::borrow::Cow;
use std::sync::Arc;

use model::{Event, EventId, EventType, FieldError, LicenseId, Members};
use serde_json::value::RawValue;

/// Licenses in one event at most.
const LICENSES_MAX: usize = 1_000;
/// Bytes at most that the events about each license repeat of the whole.
const SPLIT_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Events about `data.licenses`, and what happened to each of the licenses.
const SPLIT: &[(&str, &str)] = &[("license.bulk_revoked", "license.revoked")];

/// An event about many licenses, or about `data.license` if it has no `data.licenses`.
pub(crate) struct Bulk<'e> {
    whole: &'e Event,
    /// Of the events about each license.
    event_type: EventType,
    data: Members<'e>,
    licenses: Vec<License<'e>>,
}

struct License<'e> {
    id: LicenseId,
    json: &'e RawValue,
    /// Its own, where the licenses have several.
    customer: Option<&'e RawValue>,
}

impl<'e> Bulk<'e> {
    /// `None` if this is no event about many licenses.
    pub(crate) fn read(whole: &'e Event) -> Result<Option<Self>, FieldError> {
        let mut split = SPLIT.iter();
        let Some((_, part)) = split.find(|(name, _)| *name == whole.event_type.as_str()) else {
            return Ok(None);
        };
        let data: Members<'_> =
            serde_json::from_str(whole.data.get()).expect("an event's data is an object");
        let bulk = Self {
            whole,
            event_type: part.parse().expect("it is in the catalogue"),
            licenses: licenses(&data)?,
            data,
        };
        bulk.check_size()?;
        if bulk.part_id(bulk.licenses.len()).is_none() {
            let detail = "must leave room for the numbers of its licenses";
            return Err(FieldError::new("/id", detail));
        }
        Ok(Some(bulk))
    }

    fn check_size(&self) -> Result<(), FieldError> {
        let repeated = self.data.0.iter().filter(|(name, _)| !is_license(name));
        let bytes: usize = repeated
            .map(|(name, value)| name.len() + value.get().len())
            .sum();
        if bytes * self.licenses.len() <= SPLIT_BYTES_MAX {
            return Ok(());
        }
        let detail = format!(
            "has {bytes} bytes beside its licenses, too much to repeat for {} of them",
            self.licenses.len()
        );
        Err(FieldError::new("/data", detail))
    }

    /// Follows from the whole event's, so that a repetition makes the same.
    fn part_id(&self, number: usize) -> Option<EventId> {
        EventId::new(&format!("{}:{number}", self.whole.id)).ok()
    }

    /// The events about each license, in order.
    pub(crate) fn parts(&self) -> impl Iterator<Item = Event> {
        self.licenses.iter().enumerate().map(|(index, license)| {
            let id = self.part_id(index + 1);
            Event {
                id: id.expect("the longest one fits"),
                event_type: self.event_type.clone(),
                license: Some(license.id.clone()),
                data: self.data_of(license),
                ..self.whole.clone()
            }
        })
    }

    /// The whole event's data, in order, about this license alone.
    fn data_of(&self, license: &License<'e>) -> Arc<RawValue> {
        let mut data = Members::default();
        for (name, value) in &self.data.0 {
            if !is_license(name) {
                let customer = license.customer.filter(|_| name == CUSTOMER);
                data.0.push((name.clone(), customer.unwrap_or(value)));
            } else if data.get(LICENSE).is_none() {
                data.0.push((Cow::Borrowed(LICENSE), license.json));
            }
        }
        if let (Some(customer), None) = (license.customer, data.get(CUSTOMER)) {
            data.0.push((Cow::Borrowed(CUSTOMER), customer));
        }
        let json = serde_json::to_string(&data).expect("it has only string keys");
        Arc::from(RawValue::from_string(json).expect("it was just serialized"))
    }
}

const LICENSE: &str = "license";
const LICENSES: &str = "licenses";
const CUSTOMER: &str = "customer";

fn is_license(name: &str) -> bool {
    matches!(name, LICENSE | LICENSES)
}

fn licenses<'e>(data: &Members<'e>) -> Result<Vec<License<'e>>, FieldError> {
    let at = |detail: String| FieldError::new("/data/licenses", detail);
    let array = || at("must be an array of licenses".to_owned());
    let Some(licenses) = data.get(LICENSES) else {
        let license = data.get(LICENSE).ok_or_else(array)?;
        return Ok(vec![License::read(license, "/data/license")?]);
    };
    let licenses: Vec<&RawValue> = serde_json::from_str(licenses.get()).map_err(|_| array())?;
    if licenses.len() > LICENSES_MAX {
        return Err(at(format!("must be at most {LICENSES_MAX} licenses")));
    }
    let licenses = licenses.into_iter().enumerate();
    licenses
        .map(|(index, license)| License::read(license, &format!("/data/licenses/{index}")))
        .collect()
}

impl<'e> License<'e> {
    fn read(json: &'e RawValue, pointer: &str) -> Result<Self, FieldError> {
        let members: Option<Members<'_>> = serde_json::from_str(json.get()).ok();
        let id = members.as_ref().and_then(|members| members.get("id"));
        let id = id.and_then(|id| serde_json::from_str(id.get()).ok());
        Ok(Self {
            id: id.ok_or_else(|| FieldError::new(pointer, "must have an id"))?,
            json,
            customer: members.and_then(|members| members.get(CUSTOMER)),
        })
    }
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

    fn parts(id: &str, data: &str) -> Result<Vec<Event>, FieldError> {
        let whole = event("license.bulk_revoked", id, data);
        Ok(Bulk::read(&whole)?.unwrap().parts().collect())
    }

    #[test]
    fn each_license_of_a_bulk_has_an_event_of_its_own() {
        let data = r#"{"z":1.0,"licenses":[{"id":"lic_1","key":"K"},{"id":"lic_2"}],"reason":"fraud","license":{"id":"lic_1"}}"#;
        let parts = parts("bulk-7", data).unwrap();
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
        let first = r#"{"z":1.0,"license":{"id":"lic_1","key":"K"},"reason":"fraud"}"#;
        let second = r#"{"z":1.0,"license":{"id":"lic_2"},"reason":"fraud"}"#;
        assert_eq!(
            shown,
            [
                ("bulk-7:1", revoked, "lic_1", first),
                ("bulk-7:2", revoked, "lic_2", second)
            ]
        );
        let one = event("license.revoked", "a", data);
        assert!(Bulk::read(&one).unwrap().is_none());
    }

    #[test]
    fn a_license_with_a_customer_brings_its_own() {
        let data = |whole: &str| {
            let licenses = r#"[{"id":"a","customer":{"id":"cus_a"}},{"id":"b"}]"#;
            let parts = parts("bulk", &format!(r#"{{{whole}"licenses":{licenses}}}"#)).unwrap();
            let [a, b] = parts.as_slice() else {
                panic!("{parts:?}");
            };
            (a.data.get().to_owned(), b.data.get().to_owned())
        };
        let license = r#""license":{"id":"a","customer":{"id":"cus_a"}}"#;
        let (a, b) = data("");
        assert_eq!(a, format!(r#"{{{license},"customer":{{"id":"cus_a"}}}}"#));
        assert_eq!(b, r#"{"license":{"id":"b"}}"#);
        let (a, b) = data(r#""customer":{"id":"cus"},"#);
        assert_eq!(a, format!(r#"{{"customer":{{"id":"cus_a"}},{license}}}"#));
        assert_eq!(b, r#"{"customer":{"id":"cus"},"license":{"id":"b"}}"#);
        let (a, _) = data(r#""customer":null,"#);
        assert_eq!(a, format!(r#"{{"customer":{{"id":"cus_a"}},{license}}}"#));
    }

    #[test]
    fn a_bulk_of_a_single_license_is_about_that_one() {
        let data = r#"{"license":{"id":"lic_1"},"licenses":null}"#;
        for data in [data, r#"{"license":{"id":"lic_1"}}"#] {
            let parts = parts("bulk", data).unwrap();
            assert_eq!(parts.len(), 1);
            assert_eq!(parts[0].data.get(), r#"{"license":{"id":"lic_1"}}"#);
        }
    }

    #[test]
    fn what_cannot_be_split_is_named() {
        let refused = |id: &str, data: &str| parts(id, data).unwrap_err().pointer;
        assert_eq!(refused("a", r#"{"licenses":{}}"#), "/data/licenses");
        assert_eq!(refused("a", r#"{"reason":"fraud"}"#), "/data/licenses");
        assert_eq!(refused("a", r#"{"license":{}}"#), "/data/license");
        for second in ["{}", r#"["l"]"#, r#""l""#, r#"{"id":7}"#] {
            let data = format!(r#"{{"licenses":[{{"id":"l"}},{second}]}}"#);
            assert_eq!(refused("a", &data), "/data/licenses/1", "{second}");
        }
        assert_eq!(
            refused(&"a".repeat(127), r#"{"licenses":[{"id":"l"}]}"#),
            "/id"
        );
    }

    fn many(licenses: usize, repeated: usize) -> Result<Vec<Event>, FieldError> {
        let licenses = vec![r#"{"id":"l"}"#; licenses].join(",");
        let pad = "x".repeat(repeated - r#"pad"""#.len());
        parts(
            "a",
            &format!(r#"{{"pad":"{pad}","licenses":[{licenses}]}}"#),
        )
    }

    #[test]
    fn licenses_are_bounded_at_1000() {
        assert_eq!(many(LICENSES_MAX, 10).unwrap().len(), LICENSES_MAX);
        let error = many(LICENSES_MAX + 1, 10).unwrap_err();
        assert_eq!(error.pointer, "/data/licenses");
    }

    #[test]
    fn what_is_repeated_for_each_license_is_bounded_at_4_mib() {
        let licenses = 512;
        let repeated = SPLIT_BYTES_MAX / licenses;
        assert_eq!(many(licenses, repeated).unwrap().len(), licenses);
        assert_eq!(many(licenses, repeated + 1).unwrap_err().pointer, "/data");
    }
}
