use dialect::Dialect;

use crate::fixture::{NOW, SECRET, body, endpoint, event, parse_one, received, render};

fn name(event_type: &str, data: &str) -> Option<String> {
    let endpoint = endpoint(Dialect::KeyPort, &[(SECRET, None)]);
    Dialect::KeyPort
        .event_name(&endpoint, &event(event_type, data))
        .map(|name| name.into_owned())
}

#[test]
fn an_event_has_a_keyport_name_only_where_keyport_knows_it() {
    let same = [
        "license.created",
        "license.expired",
        "license.ip_removed",
        "license.transferred",
    ];
    for event_type in same {
        assert_eq!(name(event_type, "{}").as_deref(), Some(event_type));
    }
    for unknown in [
        "license.updated",
        "license.validated",
        "machine.created",
        "seat.assigned",
    ] {
        assert_eq!(name(unknown, "{}"), None, "{unknown}");
    }
    for refused in ["license.validation_failed", "activation.failed"] {
        let blocked = name(refused, r#"{"reason":"ip_limit"}"#);
        assert_eq!(blocked.as_deref(), Some("license.ip_blocked"), "{refused}");
        assert_eq!(name(refused, r#"{"reason":"expired"}"#), None, "{refused}");
        assert_eq!(
            name(refused, r#"{"reason":{"code":"ip_limit"}}"#),
            None,
            "{refused}"
        );
        assert_eq!(name(refused, "{}"), None, "{refused}");
    }
    assert_eq!(
        name("license.revoked", "{}").as_deref(),
        Some("license.revoked")
    );
    assert!(name("license.revoked", r#"{"manual":true}"#).is_some());
    assert!(name("license.revoked", r#"{"manual":null}"#).is_some());
    assert_eq!(name("license.revoked", r#"{"manual":false}"#), None);
    assert_eq!(name("webhook.test", "{}").as_deref(), Some("webhook.test"));
}

fn check(event_type: &str, data: &str, expected: &str) {
    let mut event = event(event_type, data);
    event.product = Some("prod_42".to_owned());
    let rendered = render(
        Dialect::KeyPort,
        &event,
        &endpoint(Dialect::KeyPort, &[(SECRET, None)]),
    )
    .unwrap();
    let frame = format!(
        r#"{{"id":"evt_01JRX5K9Q8ZV3T7Y2M4N6P8R0S","type":"{}","created":"2026-04-15T12:00:00.000Z","data":{expected}}}"#,
        Dialect::KeyPort
            .event_name(&endpoint(Dialect::KeyPort, &[(SECRET, None)]), &event)
            .unwrap()
    );
    assert_eq!(body(&rendered), frame);
}

#[test]
fn what_is_absent_or_null_is_left_out() {
    check("license.created", "{}", "{}");
    check(
        "license.created",
        r#"{"license":{"id":"l","key":null,"expires_at":null},"customer":null,"reason":null}"#,
        r#"{"license":{"id":"l","product_id":"prod_42"}}"#,
    );
    check(
        "license.created",
        r#"{"license":null,"customer":"Acme"}"#,
        "{}",
    );
}

#[test]
fn a_revocation_carries_its_reason() {
    check(
        "license.revoked",
        r#"{"license":{"id":"l"},"customer":{"email":"a@b.example"},"reason":"charge \"back\""}"#,
        r#"{"license":{"id":"l","customer_email":"a@b.example","product_id":"prod_42"},"reason":"charge \"back\""}"#,
    );
}

#[test]
fn a_bulk_revocation_lists_its_licenses_and_repeats_the_first() {
    check(
        "license.bulk_revoked",
        r#"{"licenses":[{"id":"a","customer":{"email":"a@x.example"}},{"id":"b","product_id":"p"}]}"#,
        r#"{"license":{"id":"a","customer_email":"a@x.example","product_id":"prod_42"},"licenses":[{"id":"a","customer_email":"a@x.example","product_id":"prod_42"},{"id":"b","product_id":"p"}]}"#,
    );
    check(
        "license.bulk_revoked",
        r#"{"licenses":[]}"#,
        r#"{"licenses":[]}"#,
    );
}

#[test]
fn a_transfer_tells_whose_the_license_was() {
    check(
        "license.transferred",
        r#"{"license":{"id":"l"},"customer":{"email":"new@x.example"},"previous_customer":{"email":"old@x.example"}}"#,
        r#"{"license":{"id":"l","customer_email":"new@x.example","product_id":"prod_42"},"previous_customer_email":"old@x.example"}"#,
    );
}

#[test]
fn members_that_keyport_does_not_map_go_as_they_came() {
    check(
        "license.created",
        r#"{"note": [1, 2], "license": {"id": "l"}, "actor": {"type": "user"}, "order": null}"#,
        r#"{"license":{"id":"l","product_id":"prod_42"},"note":[1,2],"actor":{"type":"user"},"order":null}"#,
    );
}

#[test]
fn data_in_keyports_shape_and_test_data_keep_all_their_members() {
    check(
        "license.created",
        r#"{"license": {"id": "l", "customer_email": "a@x.example", "seats": 3}, "note": [1, 2]}"#,
        r#"{"license":{"id":"l","customer_email":"a@x.example","seats":3},"note":[1,2]}"#,
    );
    check(
        "webhook.test",
        r#"{"message": "Test event"}"#,
        r#"{"message":"Test event"}"#,
    );
}

#[test]
fn what_the_sender_adds_is_read_with_what_is_mapped() {
    for (created, license, occurred_at) in [
        (r#""2026-04-15T12:00:00Z""#, r#""lic_1""#, Some(NOW)),
        ("1776254400", "4711", Some(NOW)),
        (r#""yesterday""#, r#""lic_1""#, None),
        (r#"{"at":1}"#, r#""lic_1""#, None),
    ] {
        let body = format!(
            r#"{{"id":"e","type":"license.created","created":{created},"data":{{"license":{{"id":{license},"customer_email":"a@x.example","product_id":42}},"customer":{{"id":"c"}},"activation":"none"}}}}"#
        );
        let read = parse_one(Dialect::KeyPort, &received(&|_| None, body.as_bytes(), NOW));
        assert_eq!(read.occurred_at, occurred_at, "{created}");
        assert_eq!(read.license.as_deref(), Some(license.trim_matches('"')));
        assert_eq!(read.product.as_deref(), Some("42"));
        let id = read.license.unwrap();
        let expected = format!(
            r#"{{"license":{{"id":"{id}"}},"customer":{{"email":"a@x.example","id":"c"}},"activation":"none"}}"#
        );
        assert_eq!(read.data.get(), expected);
    }
}

#[test]
fn data_that_breaks_its_promise_cannot_be_rendered() {
    let endpoint = endpoint(Dialect::KeyPort, &[(SECRET, None)]);
    for data in [
        r#"{"licenses":7}"#,
        r#"{"licenses":["a"]}"#,
        r#"{"license":"a"}"#,
    ] {
        let event = event("license.bulk_revoked", data);
        assert!(
            render(Dialect::KeyPort, &event, &endpoint).is_err(),
            "{data}"
        );
    }
}
