use std::time::Duration;

use dialect::{Dialect, Rendered, VerifyError};
use model::{Event, TenantId, Timestamp};

use crate::fixture::{
    NOW, SECRET, body, endpoint, event, header, parse_one, received, render, verify,
};
use crate::vectors::{check, data_of, vector};

const DIALECT: Dialect = Dialect::KeyPortDocs;

fn rendered(event: &Event) -> Rendered {
    render(DIALECT, event, &endpoint(DIALECT, &[(SECRET, None)])).unwrap()
}

#[test]
fn the_vendors_example_comes_out_byte_for_byte_from_its_own_data_and_from_the_canonical() {
    let own = data_of(&vector("keyport-docs").body_utf8);
    check("keyport-docs", &rendered(&event("license.created", &own)));
    let canonical = Event {
        tenant: TenantId::new("0b7e6a52-95a3-4b35-9a53-1f0c6f1c8f11").unwrap(),
        product: Some("5a9e1f7c-2f0e-4f0b-8a53-7d7a2b9b7a22".to_owned()),
        ..event("license.created", "{}")
    };
    check("keyport-docs", &rendered(&canonical));
}

#[test]
fn what_the_event_tells_besides_goes_along_behind_whose_it_is_if_it_is_wanted() {
    let data = r#"{"license": {"id": "l"}, "product_id": "p", "reason": "x"}"#;
    let event = event("license.revoked", data);
    assert_eq!(
        data_of(body(&rendered(&event))),
        r#"{"organization_id":"acme","product_id":"p"}"#
    );
    let mut endpoint = endpoint(DIALECT, &[(SECRET, None)]);
    endpoint
        .dialect_options
        .insert("include_data".to_owned(), true.into());
    assert_eq!(
        data_of(body(&render(DIALECT, &event, &endpoint).unwrap())),
        r#"{"organization_id":"acme","product_id":"p","license":{"id":"l"},"reason":"x"}"#
    );
}

#[test]
fn an_event_is_known_by_its_body_on_every_attempt() {
    let event = event("license.created", "{}");
    let endpoint = endpoint(DIALECT, &[(SECRET, None)]);
    let first = render(DIALECT, &event, &endpoint).unwrap();
    let id = verify(DIALECT, SECRET, &first, NOW).unwrap().id;
    assert!(id.starts_with("sha256:"), "{id}");
    let headers = |name: &str| header(&first, name);
    let read = parse_one(DIALECT, &received(&headers, &first.body, NOW));
    assert_eq!(read.id.as_deref(), Some(id.as_str()));

    let later = NOW.plus(Duration::from_secs(60));
    let second = DIALECT.render(&dialect::Delivered {
        event: &event,
        endpoint: &endpoint,
        delivery: model::DeliveryId::new(NOW, 2),
        keys: &dialect::SigningKeys::default(),
        now: later,
    });
    let second = second.unwrap();
    assert_eq!(header(&second, "x-keyport-timestamp"), Some("1776254460"));
    assert_eq!(verify(DIALECT, SECRET, &second, later).unwrap().id, id);
}

#[test]
fn keyports_last_retry_is_tolerated_and_nothing_older() {
    let rendered = rendered(&event("license.created", "{}"));
    let at = |now: Timestamp| verify(DIALECT, SECRET, &rendered, now);
    let last = NOW.plus(Duration::from_secs(36 * 60));
    let (limit, beyond) = (Duration::from_secs(300), Duration::from_secs(301));
    assert!(at(NOW.plus(limit)).is_ok());
    assert!(at(last.plus(limit)).is_ok());
    assert_eq!(at(last.plus(beyond)), Err(VerifyError::TooOld(1)));
    assert!(at(NOW.minus(limit)).is_ok());
    assert_eq!(at(NOW.minus(beyond)), Err(VerifyError::TooNew(1)));
}

#[test]
fn a_signature_of_keyports_other_format_is_refused() {
    let event = event("license.created", "{}");
    let guide = endpoint(Dialect::KeyPort, &[(SECRET, None)]);
    let guide = render(Dialect::KeyPort, &event, &guide).unwrap();
    let mut mixed = rendered(&event);
    mixed
        .headers
        .retain(|(name, _)| *name != "x-keyport-signature");
    mixed.headers.extend(guide.headers);
    assert!(matches!(
        verify(DIALECT, SECRET, &mixed, NOW),
        Err(VerifyError::BadHeader { .. })
    ));
    let names = Dialect::KeyPort.event_names();
    assert_eq!(DIALECT.event_names(), names);
}
