use std::time::Duration;

use dialect::{Delivered, Dialect, Rendered, SigningKeys, VerifyError};
use model::{DeliveryId, EndpointId, Environment, Event};
use serde_json::{Value, json};

use crate::fixture::{
    NOW, SECRET, body, endpoint, event, header, parse_one, received, render, verify,
};
use crate::vectors::{check, vector};

const DIALECT: Dialect = Dialect::GetKeyManager;

fn rendered(event: &Event, options: Value) -> Rendered {
    let mut endpoint = endpoint(DIALECT, &[(SECRET, None)]);
    endpoint.dialect_options = options.as_object().unwrap().clone();
    render(DIALECT, event, &endpoint).unwrap()
}

fn payload(event_type: &str, data: Value) -> Value {
    let rendered = rendered(&event(event_type, &data.to_string()), json!({}));
    let mut body: Value = serde_json::from_slice(&rendered.body).unwrap();
    body["payload"].take()
}

#[test]
fn the_known_answer_comes_out_from_its_own_data_and_from_the_canonical() {
    let own: Value = serde_json::from_str(&vector("getkeymanager").body_utf8).unwrap();
    let canonical = r#"{
        "license": {"key": "GKM-1111-2222"},
        "activation": {"id": "act_91", "fingerprint": "hwid-77"},
        "reason": "limit_exceeded"
    }"#;
    let mut endpoint = endpoint(DIALECT, &[(SECRET, None)]);
    endpoint.id = EndpointId::from_u128(0x7c1b_3a52_95a3_4b35_9a53_1f0c_6f1c_8f33);
    for data in [own["payload"].to_string().as_str(), canonical] {
        let rendered = DIALECT.render(&Delivered {
            event: &event("activation.failed", data),
            endpoint: &endpoint,
            delivery: "dlv_01JRX5K9Q8ZV3T7Y2M4N6P8R0S"
                .parse::<DeliveryId>()
                .unwrap(),
            keys: &SigningKeys::default(),
            now: NOW,
        });
        check("getkeymanager", &rendered.unwrap());
    }
}

#[test]
fn a_payload_is_about_the_events_subject() {
    let license = json!({
        "license": {"id": "lic_1", "key": "GKM-1", "status": "active", "secret": 1},
        "customer": {"name": "Acme", "email": "a@b.example"}, "reason": "chargeback",
    });
    let expected = json!({
        "id": "lic_1", "license_key": "GKM-1", "status": "active",
        "customer_name": "Acme", "customer_email": "a@b.example", "reason": "chargeback",
    });
    assert_eq!(payload("license.revoked", license), expected);

    let product = json!({"product": {"id": "prod_1", "name": "Tool"}, "actor": {"id": "usr_1"}});
    let expected = json!({"id": "prod_1", "name": "Tool", "actor": {"id": "usr_1"}});
    assert_eq!(payload("product.updated", product), expected);

    let contract = json!({"contract": {"id": "con_1", "seats": 5}});
    let expected = json!({"id": "con_1", "seats": 5});
    assert_eq!(payload("contract.suspended", contract), expected);

    let telemetry = json!({"telemetry": {"flag": "clock"}, "license": {"id": "lic_1"}});
    let expected = json!({"flag": "clock", "license": {"id": "lic_1"}});
    assert_eq!(payload("telemetry.flagged", telemetry), expected);

    let message = json!({"message": "A test.", "endpoint": {"id": "ep_1"}});
    assert_eq!(payload("webhook.test", message.clone()), message);
}

#[test]
fn what_was_flat_is_read_back_in_its_parts() {
    let data =
        r#"{"product":{"id":"prod_1","name":"Tool"},"actor":{"id":"usr_1"},"reason":"sold"}"#;
    let rendered = rendered(&event("product.updated", data), json!({}));
    let headers = |name: &str| header(&rendered, name);
    let read = parse_one(DIALECT, &received(&headers, &rendered.body, NOW));
    assert_eq!(read.data.get(), data);
}

#[test]
fn what_happens_again_hours_later_is_another_event_where_the_body_tells_nothing() {
    let id = |body: &str, at: u64| {
        let now = NOW.plus(Duration::from_secs(at));
        let request = received(&|_| None, body.as_bytes(), now);
        let read = parse_one(DIALECT, &request).id.unwrap();
        assert_eq!(read.as_str(), DIALECT.identify(&request).unwrap().id);
        read
    };
    let documented = r#"{"event":"license.created","payload":{"id":7},"webhook_id":"w"}"#;
    // The system's retries are over after 81 minutes.
    assert_eq!(id(documented, 0), id(documented, 81 * 60));
    assert_ne!(id(documented, 0), id(documented, 12 * 60 * 60));
    let dated = documented.replace(r#""webhook_id""#, r#""timestamp":"t","webhook_id""#);
    assert_eq!(id(&dated, 0), id(&dated, 12 * 60 * 60));
}

#[test]
fn what_no_document_of_the_system_states_is_read_in_any_form() {
    for (told, environment, occurred_at) in [
        (
            r#""environment":"Staging","timestamp":1776254400"#,
            Some(Environment::Staging),
            Some(NOW),
        ),
        (r#""environment":"eu-1","timestamp":"soon""#, None, None),
        (
            r#""environment":7,"timestamp":{},"delivery_id":7"#,
            None,
            None,
        ),
    ] {
        let body = format!(r#"{{"event":"license.created","payload":{{"id":7}},{told}}}"#);
        let read = parse_one(DIALECT, &received(&|_| None, body.as_bytes(), NOW));
        assert_eq!(
            (read.environment, read.occurred_at),
            (environment, occurred_at),
            "{told}"
        );
        assert_eq!(read.license.as_deref(), Some("7"));
    }
}

#[test]
fn a_signature_verifies_with_and_without_prefix_and_in_no_other_spelling() {
    let event = event("license.created", "{}");
    for options in [json!({}), json!({"signature_prefix": "sha256="})] {
        let rendered = rendered(&event, options);
        assert!(verify(DIALECT, SECRET, &rendered, NOW).is_ok());
        let genuine = header(&rendered, "x-webhook-signature").unwrap().to_owned();
        for other in [
            genuine.to_uppercase(),
            format!(" {genuine}"),
            format!("{genuine} "),
            format!("sha512={genuine}"),
            format!("{genuine},{genuine}"),
        ] {
            let mut wrong = rendered.clone();
            wrong.headers.last_mut().unwrap().1 = other;
            let error = verify(DIALECT, SECRET, &wrong, NOW).unwrap_err();
            assert_eq!(error, VerifyError::SignatureMismatch);
        }
    }
    let plain = body(&rendered(&event, json!({}))).to_owned();
    assert!(!plain.contains("signature"), "{plain}");
}

/// The names of a row that has another than the canonical, without the option and with it.
const RENAMED: &[(&str, Option<&str>, Option<&str>)] = &[
    ("license.validated", None, Some("validation.success")),
    ("license.validation_failed", None, Some("validation.failed")),
    ("license.renewed", None, Some("license.renewed")),
    ("license.reinstated", None, Some("license.unsuspended")),
    ("abuse.detected", None, Some("abuse.detected")),
    ("limit.exceeded", None, Some("limit.exceeded")),
    (
        "license.ip_blocked",
        Some("activation.failed"),
        Some("limit.exceeded"),
    ),
];

#[test]
fn events_have_the_names_of_the_page_and_with_extras_of_the_settings_too() {
    let name = |event_type: &str, extras: bool| {
        let mut endpoint = endpoint(DIALECT, &[(SECRET, None)]);
        let options = json!({"extras": extras});
        endpoint.dialect_options = options.as_object().unwrap().clone();
        let event = event(event_type, "{}");
        DIALECT
            .event_name(&endpoint, &event)
            .map(|name| name.into_owned())
    };
    for (event_type, without, with) in RENAMED {
        assert_eq!(name(event_type, false).as_deref(), *without, "{event_type}");
        assert_eq!(name(event_type, true).as_deref(), *with, "{event_type}");
    }
    let same = "license: created updated deleted assigned activated deactivated suspended expired \
                revoked; activation: created deleted failed; product: created updated deleted; \
                contract: created updated deleted suspended; telemetry: received flagged; \
                webhook: test";
    for group in same.split("; ") {
        let (subject, actions) = group.split_once(": ").unwrap();
        for action in actions.split(' ') {
            let event_type = format!("{subject}.{action}");
            assert_eq!(name(&event_type, false), Some(event_type));
        }
    }
    let updated = "upgraded check_in_required_soon check_in_overdue checked_in checked_out \
                   entitlements.attached entitlements.detached group.updated owner.updated \
                   policy.updated usage.incremented usage.decremented usage.reset user.updated \
                   users.attached users.detached";
    for action in updated.split(' ') {
        let name = name(&format!("license.{action}"), false);
        assert_eq!(name.as_deref(), Some("license.updated"), "{action}");
    }
    let transferred = name("license.transferred", false);
    assert_eq!(transferred.as_deref(), Some("license.assigned"));
    let known = |entry: &&model::CatalogEntry| name(entry.name, false).is_some();
    assert_eq!(model::CATALOG.iter().filter(known).count(), 22 + 16 + 2);
    assert_eq!(name("license.expiring_soon", true), None);
    assert_eq!(name("license.bulk_revoked", true), None);
    assert_eq!(name("machine.created", true), None);
}
