use std::sync::Arc;

use dialect::{Dialect, Rendered, Taker};
use model::{CATALOG, Endpoint, Event, EventId, Submission};
use proptest::prelude::*;
use secrecy::ExposeSecret as _;
use serde_json::value::RawValue;

use crate::fixture::{NOW, endpoint, event, header, key, parse_one, received, render, verify};

/// A request of any dialect about any event it can express, with any texts in its data.
#[derive(Clone, Debug)]
struct Sent {
    dialect: Dialect,
    endpoint: Endpoint,
    event: Event,
    /// What the receiver verifies with.
    key: String,
    rendered: Rendered,
}

/// Options of a dialect that change the wire, one of them.
fn options(dialect: Dialect, at: prop::sample::Index) -> serde_json::Value {
    let all: &[&str] = match dialect.name() {
        "standard" => &[r#"{}"#, r#"{"svix_headers":true}"#],
        "cloudevents" => &[
            r#"{}"#,
            r#"{"mode":"binary","type_prefix":"dev.example."}"#,
            r#"{"mode":"batch","source":"/tenants/somebody","origin":"hooks.example.net"}"#,
        ],
        "keygen" => &[
            r#"{}"#,
            r#"{"api_version":"1.5","host_strip_port":true}"#,
            r#"{"algorithm":"ecdsa-p256","api_version":"1.3"}"#,
        ],
        "traffic" => &[
            r#"{}"#,
            r#"{"timestamp":"restamp_created"}"#,
            r#"{"timestamp":"off"}"#,
        ],
        "getkeymanager" => &[r#"{}"#, r#"{"signature_prefix":"sha256=","extras":true}"#],
        "keyport-docs" => &[r#"{}"#, r#"{"include_data":true}"#],
        "licvalidator" => &[r#"{}"#, r#"{"delivery_id":false}"#],
        "stripe" => &[r#"{}"#, r#"{"api_version":"2020-08-27"}"#],
        "github" => &[r#"{}"#, r#"{"hook_id":292430182}"#],
        _ => &[r#"{}"#],
    };
    serde_json::from_str(all[at.index(all.len())]).unwrap()
}

fn sent() -> impl Strategy<Value = Sent> {
    sent_in(Dialect::ALL)
}

fn sent_in(dialects: &'static [Dialect]) -> impl Strategy<Value = Sent> {
    let id = "[A-Za-z0-9_:-]{1,128}";
    let text = prop_oneof!["\\PC{0,40}", Just("<>&\u{2028}\u{2029}é😀\\\"".to_owned())];
    (
        prop::sample::select(dialects),
        any::<[u8; 32]>(),
        id,
        0..CATALOG.len(),
        prop::collection::vec(text, 6),
        any::<prop::sample::Index>(),
    )
        .prop_map(|(dialect, random, id, at, texts, option)| {
            let secret = Dialect::generate_secret(random).expose_secret().to_owned();
            let data = serde_json::json!({
                "license": {
                    "id": format!("lic {}", texts[0]), "key": texts[1], "name": texts[2],
                    "expires_at": "2027-04-15T00:00:00.000Z",
                    "current_activations": 3, "max_activations": 10,
                },
                "customer": { "id": "cus_1", "email": texts[3] },
                "activation": { "id": "act_1", "fingerprint": texts[4], "domain": texts[5] },
                "reason": "ip_limit",
                "note": { "a": [1, null, { "b": texts[5] }] },
                "actor": { "type": "user", "id": "usr_1" },
            });
            let mut event = event(CATALOG[at].name, &data.to_string());
            event.id = EventId::new(&id).unwrap();
            event.license = Some(data["license"]["id"].as_str().unwrap().parse().unwrap());
            let mut endpoint = endpoint(dialect, &[(&secret, None)]);
            endpoint.dialect_options = options(dialect, option).as_object().unwrap().clone();
            if dialect.event_name(&endpoint, &event).is_none() {
                event.event_type = "license.expired".parse().unwrap();
            }
            let rendered = render(dialect, &event, &endpoint).unwrap();
            let key = key(&endpoint, &secret);
            Sent {
                dialect,
                endpoint,
                event,
                key,
                rendered,
            }
        })
}

fn flip(text: &str, at: prop::sample::Index, bit: u8) -> Option<String> {
    let mut bytes = text.as_bytes().to_vec();
    let at = at.index(bytes.len());
    bytes[at] ^= 1 << bit;
    String::from_utf8(bytes).ok()
}

fn parse(sent: &Sent) -> Submission {
    let headers = |name: &str| header(&sent.rendered, name);
    parse_one(sent.dialect, &received(&headers, &sent.rendered.body, NOW))
}

/// The event that a Fanfare would make of what another one sent.
fn read_back(sent: &Sent, read: Submission) -> Event {
    Event {
        id: read.id.unwrap_or_else(|| sent.event.id.clone()),
        event_type: read.event_type,
        occurred_at: read.occurred_at.unwrap_or(sent.event.occurred_at),
        product: read.product,
        license: read.license,
        data: read.data,
        ..sent.event.clone()
    }
}

/// Whether requests carry nothing that a receiver could verify.
fn is_unsigned(dialect: Dialect) -> bool {
    matches!(dialect.name(), "slack" | "discord")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn what_is_rendered_verifies_and_has_the_dialects_headers(sent in sent()) {
        let profile = sent.dialect.profile();
        for (name, value) in &sent.rendered.headers {
            let known = profile.headers.contains(name) || profile.optional_headers.contains(name);
            prop_assert!(known, "{}", name);
            prop_assert!(value.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' '));
        }
        let plain = sent.endpoint.dialect_options.is_empty();
        for name in profile.headers.iter().filter(|_| plain) {
            prop_assert!(header(&sent.rendered, name).is_some(), "{}", name);
        }
        if !is_unsigned(sent.dialect) {
            let verified = verify(sent.dialect, &sent.key, &sent.rendered, NOW).unwrap();
            let name = sent.dialect.event_name(&sent.endpoint, &sent.event).unwrap();
            // CloudEvents may put a prefix before it.
            prop_assert!(verified.event_type.ends_with(&*name), "{}", verified.event_type);
        }
    }

    #[test]
    fn what_is_read_back_renders_to_the_same_bytes(sent in sent()) {
        prop_assume!(!is_unsigned(sent.dialect));
        let read = parse(&sent);
        let again = render(sent.dialect, &read_back(&sent, read), &sent.endpoint).unwrap();
        prop_assert_eq!(
            std::str::from_utf8(&again.body).unwrap(),
            std::str::from_utf8(&sent.rendered.body).unwrap()
        );
        prop_assert_eq!(again.headers, sent.rendered.headers);
    }

    #[test]
    fn dialects_that_carry_data_whole_give_the_event_back(
        sent in sent_in(&[Dialect::Standard, Dialect::CloudEvents]),
    ) {
        let read = parse(&sent);
        prop_assert_eq!(read.data.get(), sent.event.data.get());
        prop_assert_eq!(read.id.unwrap(), sent.event.id);
        prop_assert_eq!(read.event_type, sent.event.event_type);
        prop_assert_eq!(read.occurred_at, Some(sent.event.occurred_at));
        prop_assert_eq!(read.license, sent.event.license);
    }

    #[test]
    fn one_flipped_bit_never_verifies(
        sent in sent(),
        at in any::<prop::sample::Index>(),
        bit in 0..7_u8,
    ) {
        let mut body = sent.rendered.body.to_vec();
        let index = at.index(body.len());
        body[index] ^= 1 << bit;
        let tampered = Rendered { body: body.into(), ..sent.rendered.clone() };
        prop_assert!(verify(sent.dialect, &sent.key, &tampered, NOW).is_err(), "body at {}", index);

        for (position, (name, value)) in sent.rendered.headers.iter().enumerate() {
            if !crate::fixture::is_signed_or_signature(sent.dialect, name) {
                continue;
            }
            let Some(flipped) = flip(value, at, bit) else { continue };
            let mut tampered = sent.rendered.clone();
            tampered.headers[position].1 = flipped;
            prop_assert!(verify(sent.dialect, &sent.key, &tampered, NOW).is_err(), "{}", name);
        }
        // Public keys may stand among spaces, and their hexadecimal digits be written in either case.
        let is_hex = sent.key.bytes().all(|byte| byte.is_ascii_hexdigit());
        let is_same = |key: &str| {
            key.trim() == sent.key.trim() || is_hex && key.eq_ignore_ascii_case(&sent.key)
        };
        if let Some(flipped) = flip(&sent.key, at, bit).filter(|key| !is_same(key)) {
            prop_assert!(verify(sent.dialect, &flipped, &sent.rendered, NOW).is_err(), "key");
        }
    }

    #[test]
    fn a_missing_signature_header_is_named(sent in sent()) {
        for (position, (name, _)) in sent.rendered.headers.iter().enumerate() {
            if crate::fixture::is_signed_or_signature(sent.dialect, name) {
                let mut cut = sent.rendered.clone();
                cut.headers.remove(position);
                let error = verify(sent.dialect, &sent.key, &cut, NOW).unwrap_err();
                prop_assert_eq!(error.to_string(), format!("the header {name} is missing"));
            }
        }
    }

    #[test]
    fn reading_anything_at_all_never_panics(
        values in prop::collection::vec(any::<String>(), 3),
        body in any::<Vec<u8>>(),
        text in any::<String>(),
        key in any::<String>(),
    ) {
        let json = serde_json::json!({"type": text, "event": text, "id": text, "data": {"a": [1]}});
        for dialect in Dialect::ALL {
            let profile = dialect.profile();
            let names = profile.headers.iter().chain(profile.optional_headers);
            let headers = names.copied().zip(values.iter().cycle().cloned());
            let mut rendered = Rendered { headers: headers.collect(), body: body.clone().into() };
            prop_assert!(verify(*dialect, &key, &rendered, NOW).is_err());
            rendered.body = json.to_string().into();
            let find = |name: &str| header(&rendered, name);
            let taker = Taker { knows: &model::is_catalogued, environment: None };
            let _whatever = dialect.parse(&received(&find, &rendered.body, NOW), &taker);
            let _whatever = dialect.parse(&received(&find, &body, NOW), &taker);
        }
    }
}

#[test]
fn deep_and_large_payloads_are_rendered_and_read_back() {
    let deep = format!("{}1{}", "[".repeat(50), "]".repeat(50));
    let large = "é<>&".repeat(40_000);
    let data = format!(
        r#"{{"license":{{"id":"lic_1","name":"{large}"}},"deep":{deep},"actor":{{"type":"user"}}}}"#
    );
    for dialect in Dialect::ALL
        .iter()
        .copied()
        .filter(|dialect| !is_unsigned(*dialect))
    {
        let secret = crate::fixture::SECRET;
        let endpoint = endpoint(dialect, &[(secret, None)]);
        let mut event = event("license.expired", "{}");
        event.data = Arc::from(RawValue::from_string(data.clone()).unwrap());
        let rendered = render(dialect, &event, &endpoint).unwrap();
        let key = key(&endpoint, secret);
        assert!(
            verify(dialect, &key, &rendered, NOW).is_ok(),
            "{}",
            dialect.name()
        );
        let sent = Sent {
            dialect,
            endpoint,
            event,
            key,
            rendered,
        };
        assert!(parse(&sent).id.is_some(), "{}", dialect.name());
    }
}
