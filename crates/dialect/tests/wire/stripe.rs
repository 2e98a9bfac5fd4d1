use std::time::Duration;

use dialect::{Dialect, Rendered, Taker, VerifyError};
use model::{Environment, Event, Submission, Timestamp};
use serde_json::{Value, json};

use crate::fixture::{
    NOW, OLD_SECRET, SECRET, body, endpoint, event, header, parse_one, received, render, verify,
};
use crate::vectors::{check, data_of, vector};

const CANONICAL: &str = r#"{"license":{"id":"lic_7f3a","key":"****-IJKL"}}"#;

fn rendered(event: &Event) -> Rendered {
    render(
        Dialect::Stripe,
        event,
        &endpoint(Dialect::Stripe, &[(SECRET, None)]),
    )
    .unwrap()
}

fn object(event_type: &str, data: &str) -> String {
    let rendered = rendered(&event(event_type, data));
    data_of(body(&rendered))
}

fn parse(rendered: &Rendered) -> Submission {
    let headers = |name: &str| header(rendered, name);
    parse_one(Dialect::Stripe, &received(&headers, &rendered.body, NOW))
}

#[test]
fn the_known_answers_come_out_from_their_own_data_and_from_the_canonical() {
    let own = data_of(&vector("stripe").body_utf8);
    let later = NOW.plus(Duration::from_secs(1));
    let both = [(SECRET, None), (OLD_SECRET, Some(later))];
    for data in [own.as_str(), CANONICAL] {
        let event = event("license.created", data);
        for (name, secrets) in [("stripe", &both[..1]), ("stripe-rotation", &both[..])] {
            let endpoint = endpoint(Dialect::Stripe, secrets);
            let rendered = render(Dialect::Stripe, &event, &endpoint).unwrap();
            check(name, &rendered);
            for (secret, _) in secrets {
                assert!(verify(Dialect::Stripe, secret, &rendered, NOW).is_ok());
            }
        }
    }
}

#[test]
fn the_object_is_the_subject_with_everything_else_behind_it() {
    assert_eq!(
        object(
            "activation.created",
            r#"{"license":{"id":"l"},"activation":{"domain":"d","id":"a"},"reason":"x"}"#
        ),
        r#"{"object":{"id":"a","object":"activation","domain":"d","license":{"id":"l"},"reason":"x"}}"#
    );
    assert_eq!(
        object("webhook.test", r#"{"message":"m"}"#),
        r#"{"object":{"object":"webhook","message":"m"}}"#
    );
}

#[test]
fn no_member_is_lost_to_another_of_its_name() {
    for (data, expected) in [
        (
            r#"{"license":{"id":"l","note":1},"note":2,"id":3,"object":"o"}"#,
            r#"{"id":"l","object":"license","note":1,"data_note":2,"data_id":3,"data_object":"o"}"#,
        ),
        (
            r#"{"license":{"id":"l","object":"x","data_object":"y"},"object":"z"}"#,
            r#"{"id":"l","object":"license","data_data_object":"x","data_object":"y","data_data_data_object":"z"}"#,
        ),
        // What says the same is said once.
        (
            r#"{"license":{"id":"l","object":"license","note":1},"note":1,"id":"l"}"#,
            r#"{"id":"l","object":"license","note":1}"#,
        ),
    ] {
        let event = event("license.created", data);
        let first = rendered(&event);
        assert_eq!(data_of(body(&first)), format!(r#"{{"object":{expected}}}"#));
        let again = rendered(&Event {
            data: parse(&first).data,
            ..event
        });
        assert_eq!(again.body, first.body);
    }
}

#[test]
fn what_was_flat_is_read_back_in_its_parts() {
    let data = r#"{"license":{"id":"l","status":"active"},"customer":{"id":"c"},"reason":"x"}"#;
    let read = parse(&rendered(&event("license.suspended", data)));
    assert_eq!(read.data.get(), data);
    assert_eq!(read.license.as_deref(), Some("l"));
    assert_eq!(read.occurred_at, Some(NOW));
}

#[test]
fn data_that_would_change_on_its_way_is_kept_as_it_came() {
    for data in [
        r#"{"object":{"id":"c","object":"customer"},"previous_attributes":{"name":"x"}}"#,
        r#"{"object":{"object":"license","id":"l"}}"#,
        r#"{"object":{"id":"l","object":"license","actor":{"id":"u"},"key":"k"}}"#,
        r#"{"object":{"id":"s","object":"subscription"}}"#,
    ] {
        let event = event("license.updated", data);
        let first = rendered(&event);
        assert_eq!(data_of(body(&first)), data);
        let read = parse(&first);
        let again = rendered(&Event {
            data: read.data,
            ..event
        });
        assert_eq!(again.body, first.body);
    }
}

#[test]
fn the_mode_is_live_in_production_alone() {
    for (environment, livemode) in [
        (Environment::Production, true),
        (Environment::Staging, false),
        (Environment::Development, false),
    ] {
        let rendered = rendered(&Event {
            environment,
            ..event("license.created", CANONICAL)
        });
        let json: Value = serde_json::from_slice(&rendered.body).unwrap();
        assert_eq!(json["livemode"], livemode);
        let is_production = parse(&rendered).environment == Some(Environment::Production);
        assert_eq!(is_production, livemode);
    }
}

#[test]
fn what_is_not_live_is_of_the_environment_that_its_taker_expects() {
    for (livemode, expected, read) in [
        (
            true,
            Some(Environment::Development),
            Environment::Production,
        ),
        (
            false,
            Some(Environment::Development),
            Environment::Development,
        ),
        (false, Some(Environment::Production), Environment::Staging),
        (false, None, Environment::Staging),
    ] {
        let body = json!({"id": "e", "type": "license.created", "livemode": livemode, "data": {}});
        let body = body.to_string();
        let taker = Taker {
            knows: &model::is_catalogued,
            environment: expected,
        };
        let request = received(&|_| None, body.as_bytes(), NOW);
        let events = Dialect::Stripe.parse(&request, &taker).unwrap();
        assert_eq!(events[0].as_ref().unwrap().environment, Some(read));
    }
}

#[test]
fn an_old_time_is_tolerated_for_five_minutes_and_one_ahead_always() {
    let rendered = rendered(&event("license.created", CANONICAL));
    let at = |now: Timestamp| verify(Dialect::Stripe, SECRET, &rendered, now);
    let (limit, beyond) = (Duration::from_secs(300), Duration::from_secs(301));
    assert!(at(NOW.plus(limit)).is_ok());
    assert_eq!(at(NOW.plus(beyond)), Err(VerifyError::TooOld(1)));
    assert!(at(NOW.minus(beyond)).is_ok());
}

#[test]
fn a_signature_verifies_in_its_own_spelling_alone() {
    let rendered = rendered(&event("license.created", CANONICAL));
    let genuine = header(&rendered, "stripe-signature").unwrap();
    let (time, signature) = genuine.split_once(",v1=").unwrap();
    let with = |header: String| {
        let mut other = rendered.clone();
        other.headers[1].1 = header;
        verify(Dialect::Stripe, SECRET, &other, NOW)
    };
    let zeros = "0".repeat(64);
    assert!(with(format!("{time},v1={zeros},v1={signature},v0={zeros}")).is_ok());
    for wrong in [
        format!("{time},v0={signature}"),
        format!("{time}, v1={signature}"),
        format!("{time},v1= {signature}"),
        format!("{time},v1={}", signature.to_uppercase()),
        format!("{time},v1={signature} "),
        format!("{time},{time},v1={signature}"),
        format!("t=soon,v1={signature}"),
        format!("t=1776254401,v1={signature}"),
        format!("v1={signature}"),
        String::new(),
    ] {
        assert!(with(wrong.clone()).is_err(), "{wrong}");
    }
}

#[test]
fn options_are_checked() {
    let check = |version: &str| {
        let options = json!({"api_version": version});
        Dialect::Stripe.check_options(options.as_object().unwrap())
    };
    assert!(check(&"x".repeat(64)).is_empty());
    for bad in ["", "a b", &"x".repeat(65)] {
        assert!(!check(bad).is_empty(), "{bad}");
    }
}
