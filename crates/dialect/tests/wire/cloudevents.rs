use dialect::{Delivered, Dialect, RenderError, Rendered, SigningKeys};
use model::{DeliveryId, Event};
use serde_json::{Value, json};

use crate::fixture::{NOW, SECRET, body, endpoint, event, header, verify};
use crate::vectors::{check, vector};

const DATA: &str = r#"{"id":"lic_7f3a","key":"****-IJKL","customer":{"email":"zoë@example.com"}}"#;

fn options(mode: &str) -> serde_json::Map<String, Value> {
    let options = serde_json::json!({
        "mode": mode, "type_prefix": "dev.licensehooks.", "origin": "hooks.example.net",
    });
    options.as_object().unwrap().clone()
}

#[test]
fn each_mode_comes_out_byte_for_byte() {
    for (name, mode, license) in [
        ("cloudevents-structured", "structured", "lic_7f3a"),
        ("cloudevents-binary", "binary", "lic_7f3a"),
        ("cloudevents-binary-percent", "binary", "Zoë \"pro\" 100%"),
    ] {
        let mut event = event("license.created", DATA);
        event.product = Some("prod_42".to_owned());
        event.license = Some(license.parse().unwrap());
        let mut endpoint = endpoint(Dialect::CloudEvents, &[(SECRET, None)]);
        endpoint.dialect_options = options(mode);
        check(
            name,
            &crate::fixture::render(Dialect::CloudEvents, &event, &endpoint).unwrap(),
        );
    }
}

/// The vector's two events.
fn events() -> [Event; 2] {
    let mut first = event("license.created", DATA);
    first.product = Some("prod_42".to_owned());
    first.license = Some("lic_7f3a".parse().unwrap());
    let second = Event {
        id: "evt_01JRX5K9Q8ZV3T7Y2M4N6P8R0T".parse().unwrap(),
        ..first.clone()
    };
    [first, second]
}

/// A request with these events, each of a delivery of this number.
fn batch(dialect: Dialect, events: &[(Event, u128)]) -> Result<Rendered, RenderError> {
    let mut endpoint = endpoint(dialect, &[(SECRET, None)]);
    if dialect == Dialect::CloudEvents {
        endpoint.dialect_options = options("batch");
    }
    let keys = SigningKeys::default();
    let delivered = events.iter().map(|(event, number)| Delivered {
        event,
        endpoint: &endpoint,
        delivery: DeliveryId::new(NOW, *number),
        keys: &keys,
        now: NOW,
    });
    let batch: Vec<_> = delivered.collect();
    dialect.render_batch(&batch)
}

#[test]
fn a_batch_comes_out_byte_for_byte() {
    let [first, second] = events();
    let rendered = batch(Dialect::CloudEvents, &[(first, 1), (second, 2)]).unwrap();
    let vector = vector("cloudevents-batch");
    assert_eq!(body(&rendered), vector.body_utf8);
    assert_eq!(rendered.body.len(), vector.body_len);
    for name in ["Content-Type", "WebHook-Request-Origin"] {
        let found = header(&rendered, &name.to_lowercase());
        assert_eq!(found, Some(vector.headers[name].as_str()));
    }
    assert!(verify(Dialect::CloudEvents, SECRET, &rendered, NOW).is_ok());
}

#[test]
fn a_batch_with_another_event_has_another_id() {
    let [first, second] = events();
    let id = |events: &[(&Event, u128)]| {
        let events: Vec<_> = events.iter().map(|(it, at)| ((*it).clone(), *at)).collect();
        let rendered = batch(Dialect::CloudEvents, &events).unwrap();
        header(&rendered, "webhook-id").unwrap().to_owned()
    };
    let both = id(&[(&first, 1), (&second, 2)]);
    assert!(both.starts_with("evt_batch_"), "{both}");
    assert_eq!(id(&[(&second, 2), (&first, 1)]), both);
    for other in [
        id(&[(&first, 1), (&second, 3)]),
        id(&[(&first, 1), (&second, 2), (&second, 3)]),
    ] {
        assert_ne!(other, both);
    }
    assert_eq!(id(&[(&first, 1)]), first.id.as_str());
}

#[test]
fn a_dialect_without_batches_renders_none() {
    let [first, second] = events();
    let refused = batch(Dialect::Standard, &[(first, 1), (second, 2)]);
    assert_eq!(refused.unwrap_err(), RenderError::NoBatches);
}

#[test]
fn options_are_checked_whatever_stands_beside_them() {
    let check = |options: &Value| Dialect::CloudEvents.check_options(options.as_object().unwrap());
    let origin = "hooks.example.net";
    let common = [
        json!({}),
        json!({"unmapped": "skip", "user_agent": "Hooks/1"}),
    ];
    for (options, good) in [
        (json!({"handshake": true, "origin": origin}), true),
        (json!({"handshake": true}), false),
        (json!({"origin": "zoë bad\nx"}), false),
        (json!({"origin": ""}), false),
        (json!({"rate_per_minute": 1}), true),
        (json!({"rate_per_minute": 0}), false),
        (json!({"source": "/somewhere/%C3%AB?a=b#c"}), true),
        (json!({"source": "urn:example:licenses"}), true),
        (json!({"source": "x".repeat(1024)}), true),
        (json!({"source": "x".repeat(1025)}), false),
        (json!({"source": ""}), false),
        (json!({"source": "/zoë"}), false),
        (json!({"source": "/a b"}), false),
        (json!({"source": "/a\nb"}), false),
        (json!({"source": "/100%"}), false),
        (json!({"source": "/<a>"}), false),
        (json!({"type_prefix": ""}), true),
        (json!({"type_prefix": "dev.license-hooks.v2."}), true),
        (json!({"type_prefix": "com.example"}), false),
        (json!({"type_prefix": "com..example."}), false),
        (json!({"type_prefix": ".com."}), false),
        (json!({"type_prefix": "."}), false),
        (json!({"type_prefix": "Com."}), false),
        (json!({"type_prefix": "com.ex ample."}), false),
        (json!({"type_prefix": "zoë."}), false),
        (json!({"mode": "batch", "batch": {}}), true),
        (json!({"mode": "structured", "batch": {}}), false),
        (json!({"mode": "binary", "batch": {}}), false),
        (json!({"batch": {}}), false),
        (json!({"batch": null}), true),
    ] {
        for beside in &common {
            let mut options = options.clone();
            let more = beside.as_object().unwrap().clone();
            options.as_object_mut().unwrap().extend(more);
            assert_eq!(check(&options).is_empty(), good, "{options}");
        }
    }
}
