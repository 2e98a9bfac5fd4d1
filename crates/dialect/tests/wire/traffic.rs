use std::time::Duration;

use dialect::{Delivered, Dialect, Rendered, SigningKeys, VerifyError};
use model::{DeliveryId, Event, EventId, Timestamp};
use serde_json::{Value, json};

use crate::fixture::{
    NOW, SECRET, body, endpoint, event, header, hex_code, parse, parse_one, received, render,
    verify,
};
use crate::vectors::{check, data_of, vector};

const CANONICAL: &str = r#"{
    "license": {"id": "lic_7f3a", "key": "TO-AB12-CD34-EF56-F6A8", "plan": "professional",
                "expires_at": "2027-03-15T00:00:00.000Z", "current_activations": 3,
                "max_activations": 10, "features": ["analytics", "api-access", "custom-domains"]},
    "customer": {"email": "a@b.example"},
    "activation": {"domain": "app.customer.com"}
}"#;

fn activated(data: &str) -> Event {
    Event {
        id: EventId::new("evt_a1b2c3d4e5f6").unwrap(),
        occurred_at: "2026-03-15T14:30:00.000Z".parse().unwrap(),
        ..event("license.activated", data)
    }
}

fn rendered(event: &Event, options: Value) -> Rendered {
    let mut endpoint = endpoint(Dialect::Traffic, &[(SECRET, None)]);
    endpoint.dialect_options = options.as_object().unwrap().clone();
    render(Dialect::Traffic, event, &endpoint).unwrap()
}

fn json_of(rendered: &Rendered) -> Value {
    serde_json::from_slice(&rendered.body).unwrap()
}

#[test]
fn the_vendors_example_comes_out_byte_for_byte_from_its_own_data_and_from_the_canonical() {
    let own = data_of(&vector("traffic-seed-example").body_utf8);
    for data in [own.as_str(), CANONICAL] {
        let event = activated(data);
        let off = rendered(&event, json!({"timestamp": "off"}));
        check("traffic-seed-example", &off);
        check(
            "traffic-with-attempt-timestamp",
            &rendered(&event, json!({})),
        );
    }
}

#[test]
fn the_attempts_time_stands_where_the_receiver_looks_for_it() {
    let event = activated(CANONICAL);
    let restamped = json_of(&rendered(&event, json!({"timestamp": "restamp_created"})));
    assert_eq!(restamped["created"], "2026-04-15T12:00:00Z");
    assert_eq!(restamped["occurredAt"], "2026-03-15T14:30:00Z");
    assert_eq!(restamped.get("timestamp"), None);
    let off = json_of(&rendered(&event, json!({"timestamp": "off"})));
    assert_eq!(off["created"], "2026-03-15T14:30:00Z");
    assert_eq!(off.get("timestamp"), None);
}

#[test]
fn an_attempts_time_is_tolerated_for_five_minutes_and_no_more() {
    let event = activated(CANONICAL);
    let (limit, beyond) = (Duration::from_secs(300), Duration::from_secs(301));
    for options in [json!({}), json!({"timestamp": "restamp_created"})] {
        let rendered = rendered(&event, options);
        let at = |now: Timestamp| verify(Dialect::Traffic, SECRET, &rendered, now);
        assert!(at(NOW.plus(limit)).is_ok());
        assert!(at(NOW.minus(limit)).is_ok());
        assert_eq!(at(NOW.plus(beyond)), Err(VerifyError::TooOld(1)));
        assert_eq!(at(NOW.minus(beyond)), Err(VerifyError::TooNew(1)));
    }
    let off = rendered(&event, json!({"timestamp": "off"}));
    let much_later = NOW.plus(Duration::from_secs(1_000_000));
    assert!(verify(Dialect::Traffic, SECRET, &off, much_later).is_ok());
}

#[test]
fn no_license_key_is_ever_in_clear() {
    let keys = ["TO-AB12-CD34-EF56-F6A8", "0123456789abcdef0123"];
    for key in keys {
        let all = json!({
            "license": {"key": key}, "licenses": [{"id": "l", "key": key}], "key": key,
            "licenseKey": key, "license_key": key, "previous_license": {"key": key, "deep": {"license": {"key": key}}},
        });
        let pooled = json!({"key": {"id": "k", "key": key}, "license_keys": [key, [key]]});
        for (event_type, data) in [
            ("license.created", &all),
            ("license.bulk_revoked", &all),
            ("key.created", &pooled),
        ] {
            let event = event(event_type, &data.to_string());
            let rendered = rendered(&event, json!({"unmapped": "passthrough"}));
            let text = body(&rendered);
            assert!(!text.contains(&key[..10]), "{text}");
            assert!(text.contains(&key[key.len() - 4..]), "{text}");
        }
    }
    let number = event("license.created", r#"{"license":{"key":123456789012}}"#);
    let number = rendered(&number, json!({}));
    assert_eq!(json_of(&number)["data"], json!({"licenseKey": "****"}));
    let other = event("license.created", r#"{"metadata":{"key":"theme"}}"#);
    let other = rendered(&other, json!({}));
    assert_eq!(json_of(&other)["data"]["metadata"]["key"], "theme");
}

#[test]
fn events_have_the_names_of_the_guide() {
    let endpoint = endpoint(Dialect::Traffic, &[(SECRET, None)]);
    let same = [
        "license.created",
        "license.activated",
        "license.expired",
        "license.renewed",
        "license.revoked",
        "license.upgraded",
        "domain.added",
        "domain.removed",
        "payment.failed",
        "webhook.test",
    ];
    for entry in model::CATALOG {
        let event = event(entry.name, "{}");
        let expected = match entry.name {
            "license.expiring_soon" => Some("license.expiring"),
            name => same.contains(&name).then_some(name),
        };
        let name = Dialect::Traffic.event_name(&endpoint, &event);
        assert_eq!(name.as_deref(), expected, "{}", entry.name);
    }
}

fn batch(options: Value) -> Rendered {
    let events = [
        activated(CANONICAL),
        Event {
            id: EventId::new("evt_2").unwrap(),
            ..event("license.expiring_soon", "{}")
        },
    ];
    let mut endpoint = endpoint(Dialect::Traffic, &[(SECRET, None)]);
    endpoint.dialect_options = options.as_object().unwrap().clone();
    let keys = SigningKeys::default();
    let delivered = |event| Delivered {
        event,
        endpoint: &endpoint,
        delivery: "dlv_01JRX5K9Q8ZV3T7Y2M4N6P8R0S"
            .parse::<DeliveryId>()
            .unwrap(),
        keys: &keys,
        now: NOW,
    };
    let batch: Vec<_> = events.iter().map(delivered).collect();
    Dialect::Traffic.render_batch(&batch).unwrap()
}

/// Made of both deliveries' ids.
const BATCH_ID: &str = "evt_batch_badaeca5e1a2d414b9317ebdf966b605";

#[test]
fn a_batch_is_an_event_of_events() {
    let rendered = batch(json!({"batch": {}}));
    let own = data_of(&vector("traffic-seed-example").body_utf8);
    let expected = format!(
        r#"{{"id":"{BATCH_ID}","type":"events.batch","created":"2026-04-15T12:00:00Z","timestamp":1776254400,"data":{{"events":[{{"id":"evt_a1b2c3d4e5f6","type":"license.activated","created":"2026-03-15T14:30:00Z","data":{own}}},{{"id":"evt_2","type":"license.expiring","created":"2026-04-15T12:00:00Z","data":{{}}}}]}}}}"#
    );
    assert_eq!(body(&rendered), expected);
    let off = json_of(&batch(json!({"timestamp": "off"})));
    assert_eq!(off.get("timestamp"), None);
}

#[test]
fn a_batch_is_read_back_as_its_events() {
    let rendered = batch(json!({}));
    let verified = verify(Dialect::Traffic, SECRET, &rendered, NOW).unwrap();
    assert_eq!(verified.id, BATCH_ID);
    assert_eq!(verified.event_type, "events.batch");
    let headers = |name: &str| header(&rendered, name);
    let read = parse(Dialect::Traffic, &received(&headers, &rendered.body, NOW));
    let read: Vec<_> = read
        .into_iter()
        .map(|event| {
            let event = event.unwrap();
            let id = event.id.unwrap().to_string();
            (id, event.event_type.to_string(), event.occurred_at.unwrap())
        })
        .collect();
    let expected = [
        (
            "evt_a1b2c3d4e5f6",
            "license.activated",
            "2026-03-15T14:30:00Z",
        ),
        ("evt_2", "license.expiring_soon", "2026-04-15T12:00:00Z"),
    ];
    let expected = expected.map(|(id, name, at)| (id.into(), name.into(), at.parse().unwrap()));
    assert_eq!(read, expected);
}

fn signed(body: &str) -> Result<String, VerifyError> {
    let signature = hex_code(SECRET, body);
    let headers = |name: &str| (name == "x-signature-sha256").then_some(&*signature);
    let request = received(&headers, body.as_bytes(), NOW);
    Dialect::Traffic.authenticate(&SECRET.into(), &request)?;
    let identified = Dialect::Traffic.identify(&request);
    Ok(identified.map_or_else(|error| error.to_string(), |it| it.event_type))
}

#[test]
fn a_signature_is_right_whatever_it_signs() {
    let named = |told: &str| {
        let body = format!(r#"{{"id":"e","type":"license.created","data":{{}}{told}}}"#);
        signed(&body)
    };
    assert_eq!(named(""), Ok("license.created".to_owned()));
    assert_eq!(
        named(r#","timestamp":"soon""#),
        Ok("license.created".to_owned())
    );
    assert_eq!(
        named(r#","timestamp":1776250000"#),
        Err(VerifyError::TooOld(4_100))
    );
    for unread in ["", "{", "[]", r#"{"id":7}"#] {
        let told = signed(unread).unwrap();
        assert!(told.starts_with("the signature is right"), "{told}");
    }
}

#[test]
fn a_bad_event_in_a_batch_spoils_no_other() {
    let body = r#"{"id":"b","type":"events.batch","data":{"events":[
        {"id":"e1","type":"license.created","data":{}}, 7, {"id":"e3","type":"x.y","data":{}},
        {"id":"e4","type":"license.expired","data":{}}]}}"#;
    let read = parse(Dialect::Traffic, &received(&|_| None, body.as_bytes(), NOW));
    let good: Vec<_> = read.iter().map(Result::is_ok).collect();
    assert_eq!(good, [true, false, false, true]);
}

#[test]
fn members_under_the_names_of_canonical_parts_are_kept() {
    for (own, expected) in [
        (
            json!({"licenseKey": "TO-1", "license": {"id": 7, "key": "other", "seats": 3}}),
            json!({"license": {"key": "TO-1", "id": "7", "seats": 3}}),
        ),
        (
            json!({"customer": {"id": "c"}, "actor": "me", "activation": null}),
            json!({"customer": {"id": "c"}, "actor": "me"}),
        ),
        (
            json!({"plan": "pro", "license": "TO-1", "domain": "d", "activation": 3}),
            json!({"license": {"plan": "pro", "license": "TO-1"},
                   "activation": {"domain": "d", "activation": 3}}),
        ),
        (
            json!({"license": "TO-1"}),
            json!({"license": {"license": "TO-1"}}),
        ),
    ] {
        let body = json!({"id": "e", "type": "license.created", "data": own}).to_string();
        let request = received(&|_| None, body.as_bytes(), NOW);
        let read = parse_one(Dialect::Traffic, &request);
        let data: Value = serde_json::from_str(read.data.get()).unwrap();
        assert_eq!(data, expected);
    }
}

#[test]
fn an_empty_id_is_not_the_same_for_all_events() {
    let id = |data: &str| {
        let body = format!(r#"{{"id":"","type":"license.created","data":{data}}}"#);
        let read = parse_one(Dialect::Traffic, &received(&|_| None, body.as_bytes(), NOW));
        read.id.unwrap()
    };
    assert_eq!(id(r#"{"n":1}"#), id(r#"{"n":1}"#));
    assert_ne!(id(r#"{"n":1}"#), id(r#"{"n":2}"#));
}

#[test]
fn options_are_checked() {
    let check = |options: Value| Dialect::Traffic.check_options(options.as_object().unwrap());
    for good in ["attempt_field", "restamp_created", "off"] {
        assert!(check(json!({"timestamp": good, "batch": {}})).is_empty());
    }
    assert!(!check(json!({"timestamp": "never"})).is_empty());
    assert!(!check(json!({"timestamps": "off"})).is_empty());
}
