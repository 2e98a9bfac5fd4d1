use dialect::{Delivered, Dialect, SigningKeys, webhook_api};
use model::{DeliveryId, Event, Timestamp};

use crate::fixture::{NOW, SECRET, endpoint, event};
use crate::vectors::{check, data_of, vector};

fn validated(data: &str) -> Event {
    let occurred_at: Timestamp = "2025-01-03T14:25:30.000Z".parse().unwrap();
    Event {
        occurred_at,
        ..event("license.validated", data)
    }
}

#[track_caller]
fn renders(name: &str, event: &Event, delivery: DeliveryId) {
    let mut endpoint = endpoint(Dialect::LicValidator, &[(SECRET, None)]);
    if name == "licvalidator-seed-example" {
        endpoint
            .dialect_options
            .insert("delivery_id".to_owned(), false.into());
    }
    let rendered = Dialect::LicValidator.render(&Delivered {
        event,
        endpoint: &endpoint,
        delivery,
        keys: &SigningKeys::default(),
        now: NOW,
    });
    check(name, &rendered.unwrap());
}

fn delivery() -> DeliveryId {
    "dlv_01JRX5K9Q8ZV3T7Y2M4N6P8R0S".parse().unwrap()
}

#[test]
fn the_vendors_example_comes_out_byte_for_byte_from_its_own_data_and_from_the_canonical() {
    let canonical = r#"{
        "license": {"id": "lic_xyz789", "key": "ABCD-1234-EFGH-5678", "name": "Production License",
                    "status": "active", "current_activations": 3, "max_activations": 5},
        "activation": {"fingerprint": "device-abc-123", "device_name": "MacBook Pro",
                       "device_type": "desktop", "ip_address": "192.168.1.100"}
    }"#;
    for name in ["licvalidator-seed-example", "licvalidator-with-deliveryId"] {
        let own = data_of(&vector(name).body_utf8);
        renders(name, &validated(&own), delivery());
        renders(name, &validated(canonical), delivery());
    }
}

#[test]
fn a_test_is_the_vendors_from_its_own_data_and_names_its_webhook_from_the_canonical() {
    let expected = vector("licvalidator-test-event");
    let canonical = r#"{"message":"Test event","endpoint":{"id":"ep_1"}}"#;
    let endpoint = endpoint(Dialect::LicValidator, &[(SECRET, None)]);
    let own = data_of(&expected.body_utf8);
    for (data, webhook) in [
        (own.as_str(), "webhook_abc123".to_owned()),
        (canonical, webhook_api::webhook_id(endpoint.id)),
        ("{}", webhook_api::webhook_id(endpoint.id)),
    ] {
        let event = event("webhook.test", data);
        let rendered = Dialect::LicValidator.render(&Delivered {
            event: &event,
            endpoint: &endpoint,
            delivery: delivery(),
            keys: &SigningKeys::default(),
            now: NOW,
        });
        let rendered = rendered.unwrap();
        let body = expected
            .body_utf8
            .replace("delivery_test_xyz789", &webhook_api::test_id(delivery()))
            .replace("webhook_abc123", &webhook);
        assert_eq!(crate::fixture::body(&rendered), body);
        assert!(crate::fixture::verify(Dialect::LicValidator, SECRET, &rendered, NOW).is_ok());
    }
}

#[test]
fn a_license_is_disabled_where_a_user_suspended_it() {
    let endpoint = endpoint(Dialect::LicValidator, &[(SECRET, None)]);
    let name = |data: &str| {
        let event = event("license.suspended", data);
        let name = Dialect::LicValidator.event_name(&endpoint, &event);
        name.map(|name| name.into_owned())
    };
    assert_eq!(
        name(r#"{"actor":{"type":"user"}}"#).as_deref(),
        Some("license.disabled")
    );
    assert_eq!(name(r#"{"actor":{"type":"system"}}"#), None);
    assert_eq!(name("{}"), None);
}
