use dialect::{Delivered, Dialect, SigningKeys};
use model::DeliveryId;

use crate::fixture::{NOW, SECRET, endpoint, event};
use crate::vectors::{check, vector};

const DATA: &str = r#"{"id":"lic_7f3a","key":"****-IJKL","customer":{"email":"zoë@example.com"}}"#;

fn options(mode: &str) -> serde_json::Map<String, serde_json::Value> {
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

#[test]
fn a_batch_comes_out_byte_for_byte() {
    let mut first = event("license.created", DATA);
    first.product = Some("prod_42".to_owned());
    first.license = Some("lic_7f3a".parse().unwrap());
    let second = model::Event {
        id: "evt_01JRX5K9Q8ZV3T7Y2M4N6P8R0T".parse().unwrap(),
        ..first.clone()
    };
    let mut endpoint = endpoint(Dialect::CloudEvents, &[(SECRET, None)]);
    endpoint.dialect_options = options("batch");
    let keys = SigningKeys::default();
    let delivered = |event| Delivered {
        event,
        endpoint: &endpoint,
        delivery: DeliveryId::new(NOW, 1),
        keys: &keys,
        now: NOW,
    };
    let batch = [delivered(&first), delivered(&second)];
    check(
        "cloudevents-batch",
        &Dialect::CloudEvents.render_batch(&batch).unwrap(),
    );
    assert_eq!(vector("cloudevents-batch").body_len, 639);
}
