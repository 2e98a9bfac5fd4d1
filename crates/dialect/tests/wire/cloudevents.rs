use dialect::{Delivered, Dialect, RenderError, Rendered, SigningKeys, Taker, VerifyError};
use model::{DeliveryId, Event, Submission};
use serde_json::{Value, json};

use crate::fixture::{NOW, SECRET, endpoint, event, parse, parse_one, received};
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
    check("cloudevents-batch", &rendered);
    assert_eq!(vector("cloudevents-batch").body_len, 639);
}

#[test]
fn a_batch_of_traffics_with_another_event_has_another_id() {
    let [first, second] = events();
    let id = |events: &[(&Event, u128)]| {
        let events: Vec<_> = events.iter().map(|(it, at)| ((*it).clone(), *at)).collect();
        let rendered = batch(Dialect::Traffic, &events).unwrap();
        let body: Value = serde_json::from_slice(&rendered.body).unwrap();
        body["id"].as_str().unwrap().to_owned()
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

const STRUCTURED: &str = "application/cloudevents+json";

/// Reads one event with this id and source.
fn read(id: &str, source: &str) -> Submission {
    let body = json!({"specversion": "1.0", "id": id, "source": source,
        "type": "license.created", "data": {"n": 1}});
    let headers = |name: &str| (name == "content-type").then_some(STRUCTURED);
    let body = body.to_string();
    let structured = parse_one(
        Dialect::CloudEvents,
        &received(&headers, body.as_bytes(), NOW),
    );
    let headers = |name: &str| match name {
        "ce-specversion" => Some("1.0"),
        "ce-id" => Some(id),
        "ce-source" => Some(source),
        "ce-type" => Some("license.created"),
        _ => None,
    };
    let binary = parse_one(
        Dialect::CloudEvents,
        &received(&headers, br#"{"n":1}"#, NOW),
    );
    assert_eq!(structured.id, binary.id);
    assert_eq!(structured.product, binary.product);
    assert_eq!(structured.data.get(), r#"{"n":1}"#);
    structured
}

#[test]
fn an_id_tells_events_apart_within_its_source_alone() {
    let id = |id: &str, source: &str| read(id, source).id.unwrap().to_string();
    assert_eq!(id("evt_1", "/tenants/acme/products/p"), "evt_1");
    assert_eq!(id("evt_1", "/licenses"), id("evt_1", "/licenses"));
    assert_ne!(id("evt_1", "/licenses"), id("evt_1", "/orders"));
    assert_ne!(id("evt_1", "/licenses"), id("evt_2", "/licenses"));
    for foreign in ["1234.5678", "ö", "a b"] {
        assert!(id(foreign, "/tenants/acme").starts_with("sha256:"));
    }
}

#[test]
fn a_product_is_read_from_a_source_of_ours_if_it_can_be_one() {
    let product = |source: &str| read("e", source).product;
    assert_eq!(product("/tenants/a/products/p%20q").as_deref(), Some("p q"));
    let long = "x".repeat(257);
    for none in [
        "/tenants/a/products/",
        "/tenants/a/products/%01",
        "/products/p",
    ] {
        assert_eq!(product(none), None, "{none}");
    }
    assert_eq!(product(&format!("/tenants/a/products/{long}")), None);
    let headers = |name: &str| match name {
        "ce-specversion" => Some("1.0"),
        "ce-id" | "ce-source" => Some("e"),
        "ce-type" => Some("license.created"),
        "ce-product" => Some("%01"),
        _ => None,
    };
    let [refused] = parse(Dialect::CloudEvents, &received(&headers, b"{}", NOW))
        .try_into()
        .unwrap();
    assert!(refused.unwrap_err().to_string().contains("/product"));
}

#[test]
fn a_type_is_known_behind_a_prefix_if_the_tenant_knows_it() {
    let body =
        br#"[{"specversion":"1.0","id":"e","source":"/s","type":"com.x.seat.assigned","data":{}},
        {"specversion":"1.0","id":"f","source":"/s","type":"com.x.license.created","data":[]},
        {"specversion":"1.0","id":"g","source":"/s","type":"com.x.license.created","data":{}}]"#;
    let media_type = "Application/CloudEvents-Batch+JSON; charset=utf-8";
    let headers = |name: &str| (name == "content-type").then_some(media_type);
    let taker = Taker {
        knows: &|name| name == "seat.assigned" || model::is_catalogued(name),
        environment: None,
    };
    let events = Dialect::CloudEvents.parse(&received(&headers, body, NOW), &taker);
    let types: Vec<_> = events
        .unwrap()
        .into_iter()
        .map(|event| event.ok().map(|event| event.event_type.to_string()))
        .collect();
    let expected = [Some("seat.assigned"), None, Some("license.created")];
    assert_eq!(types, expected.map(|name| name.map(str::to_owned)));
}

#[test]
fn the_secret_may_be_shown_where_nothing_is_signed() {
    let secret = "a token of theirs";
    let body =
        br#"{"specversion":"1.0","id":"e","source":"/s","type":"license.created","data":{}}"#;
    let verify = |authorization: Option<&str>, target: &str, signature: Option<&str>| {
        let headers = |name: &str| match name {
            "content-type" => Some(STRUCTURED),
            "authorization" => authorization,
            "webhook-signature" => signature,
            _ => None,
        };
        let mut request = received(&headers, body, NOW);
        request.target = target;
        let verified = Dialect::CloudEvents.verify(&secret.into(), &request);
        verified.map(|verified| verified.id)
    };
    let shown = format!("bearer {secret}");
    let query = "/in?a=b&access_token=a%20token+of%20theirs";
    assert_eq!(verify(Some(&shown), "/in", None), Ok("e".to_owned()));
    assert_eq!(verify(None, query, None), Ok("e".to_owned()));
    let mismatch = Err(VerifyError::SignatureMismatch);
    assert_eq!(verify(Some("Bearer other"), query, None), mismatch);
    assert_eq!(verify(None, "/in?access_token=", None), mismatch);
    let missing = Err(VerifyError::MissingHeader("webhook-id"));
    assert_eq!(verify(None, "/in", None), missing);
    assert_eq!(
        verify(Some(&format!("Basic {secret}")), "/in", None),
        missing
    );
    assert_eq!(verify(Some(&shown), query, Some("v1,AAAA")), missing);
}
