use dialect::{Dialect, EVENT_TYPES_MAX};
use model::Environment;
use serde_json::Map;

use crate::fixture::{NOW, SECRET, endpoint, event, render, verify};

/// The pointers of the entries that are refused.
fn refused(dialect: Dialect, patterns: &[&str]) -> Vec<String> {
    let patterns: Vec<_> = patterns.iter().map(|&pattern| pattern.to_owned()).collect();
    let errors = dialect.check_event_types(&patterns, &Map::new(), &|name| name == "seat.assigned");
    errors.into_iter().map(|error| error.pointer).collect()
}

#[test]
fn subscriptions_are_written_in_the_dialects_own_names() {
    let good = [
        "*",
        "license.*",
        "license.created",
        "account.billing.*",
        "seat.assigned",
        "seat.*",
    ];
    assert!(refused(Dialect::Standard, &good).is_empty());
    let bad = [
        "license.creatd",
        "*.created",
        "license*",
        "",
        ".*",
        "lic.*.x",
        "License.*",
    ];
    assert_eq!(refused(Dialect::Standard, &bad).len(), bad.len());

    assert!(refused(Dialect::KeyPort, &["*", "license.*", "license.ip_blocked"]).is_empty());
    let bad = [
        "license.validated",
        "seat.assigned",
        "seat.*",
        "license.ip_*",
        "lic*",
    ];
    assert_eq!(refused(Dialect::KeyPort, &bad).len(), bad.len());
    assert_eq!(refused(Dialect::KeyPort, &["*", "x.y"]), ["/event_types/1"]);
}

#[test]
fn names_that_need_an_option_are_refused_without_it() {
    let dialect = Dialect::GetKeyManager;
    let check = |pattern: &str, extras: bool| {
        let options = Map::from_iter([("extras".to_owned(), extras.into())]);
        let errors = dialect.check_event_types(&[pattern.to_owned()], &options, &|_| false);
        errors.into_iter().next().map(|error| error.detail)
    };
    for extra in ["license.renewed", "validation.success", "validation.*"] {
        let detail = check(extra, false).unwrap();
        assert!(detail.contains(r#"{"extras": true}"#), "{detail}");
        assert_eq!(check(extra, true), None, "{extra}");
        assert!(!dialect.event_names().contains(&extra), "{extra}");
    }
    for extras in [false, true] {
        assert_eq!(check("activation.failed", extras), None);
        let detail = check("license.exploded", extras).unwrap();
        assert!(detail.starts_with("is neither"), "{detail}");
    }
}

#[test]
fn subscriptions_are_bounded_and_never_empty() {
    assert_eq!(refused(Dialect::Standard, &[]), ["/event_types"]);
    assert!(refused(Dialect::Standard, &["*"; EVENT_TYPES_MAX]).is_empty());
    assert_eq!(
        refused(Dialect::Standard, &["*"; EVENT_TYPES_MAX + 1]),
        ["/event_types"]
    );
}

#[test]
fn an_endpoint_gets_what_it_asked_for_and_its_dialect_can_say() {
    let wants = |dialect: Dialect, pattern: &str, event_type: &str| {
        let mut endpoint = endpoint(dialect, &[(SECRET, None)]);
        endpoint.event_types = vec!["payment.failed".to_owned(), pattern.to_owned()];
        dialect.wants(&endpoint, &event(event_type, r#"{"reason":"ip_limit"}"#))
    };
    assert!(wants(Dialect::Standard, "*", "seat.assigned"));
    assert!(wants(
        Dialect::Standard,
        "license.*",
        "license.users.attached"
    ));
    assert!(!wants(Dialect::Standard, "license.*", "licensee.created"));
    assert!(!wants(
        Dialect::Standard,
        "license.created",
        "license.created_twice"
    ));
    assert!(wants(
        Dialect::KeyPort,
        "license.ip_blocked",
        "license.validation_failed"
    ));
    assert!(!wants(
        Dialect::KeyPort,
        "license.created",
        "license.validation_failed"
    ));
    assert!(!wants(Dialect::KeyPort, "*", "license.validated"));
}

#[test]
fn an_endpoint_of_one_product_or_environment_gets_no_other() {
    let dialect = Dialect::Standard;
    let mut endpoint = endpoint(dialect, &[(SECRET, None)]);
    let mut event = event("license.created", "{}");
    endpoint.product = Some("prod_1".to_owned());
    assert!(!dialect.wants(&endpoint, &event));
    event.product = Some("prod_2".to_owned());
    assert!(!dialect.wants(&endpoint, &event));
    event.product = Some("prod_1".to_owned());
    assert!(dialect.wants(&endpoint, &event));
    endpoint.environment = Some(Environment::Staging);
    assert!(!dialect.wants(&endpoint, &event));
    event.environment = Environment::Staging;
    assert!(dialect.wants(&endpoint, &event));
}

#[test]
fn every_dialect_is_found_by_its_name_and_knows_its_names() {
    for dialect in Dialect::ALL {
        assert_eq!(Dialect::from_name(dialect.name()), Some(*dialect));
        let names = dialect.event_names();
        assert!(names.contains(&"webhook.test"), "{}", dialect.name());
        assert!(names.is_sorted());
    }
    assert_eq!(Dialect::from_name("morse"), None);
    assert_eq!(Dialect::KeyPort.event_names().len(), 10);
}

#[test]
fn secrets_are_made_and_checked() {
    use secrecy::ExposeSecret as _;
    for dialect in Dialect::ALL {
        let secret = Dialect::generate_secret([255; 32]);
        assert!(dialect.check_secret(secret.expose_secret()).is_ok());
        if dialect.profile().secret_verifies {
            let error = dialect.check_secret("short").unwrap_err();
            assert_eq!(error.pointer, "/secret");
        }
    }
    let of = |bytes: usize| {
        use base64::Engine as _;
        let base64 = base64::engine::general_purpose::STANDARD.encode(vec![1; bytes]);
        Dialect::Standard
            .check_secret(&format!("whsec_{base64}"))
            .is_ok()
    };
    assert_eq!([23, 24, 64, 65].map(of), [false, true, true, false]);
    assert!(Dialect::Standard.check_secret("It's a Secret").is_err());
    let of = |bytes: usize| Dialect::KeyPort.check_secret(&"x".repeat(bytes)).is_ok();
    assert_eq!([7, 8, 256, 257].map(of), [false, true, true, false]);
    for bad in [" a secret", "a secret ", "a\tsecret", "a secret\n"] {
        assert!(Dialect::KeyPort.check_secret(bad).is_err(), "{bad:?}");
    }
}

#[test]
fn secrets_that_receivers_have_already_are_taken_and_sign() {
    for (dialect, secret) in [
        (Dialect::GitHub, "It's a Secret to Everybody"),
        (Dialect::KeyPort, "devsecret"),
        (Dialect::Traffic, "geheimer Schlüssel"),
        (Dialect::Standard, "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
        (Dialect::CloudEvents, "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
    ] {
        assert_eq!(dialect.check_secret(secret), Ok(()), "{secret}");
        let endpoint = endpoint(dialect, &[(secret, None)]);
        let rendered = render(dialect, &event("license.created", "{}"), &endpoint).unwrap();
        verify(dialect, secret, &rendered, NOW).unwrap();
    }
}
