use dialect::{Dialect, Rendered};
use model::{CATALOG, EventId};
use proptest::prelude::*;
use secrecy::ExposeSecret as _;

use crate::fixture::{NOW, endpoint, event, render, verify};

/// A request of either dialect about any event it can express, with any texts in its data.
fn sent() -> impl Strategy<Value = (Dialect, String, Rendered, String, String)> {
    let dialect = prop::sample::select(Dialect::ALL);
    let id = "[A-Za-z0-9_:-]{1,128}";
    let text = prop_oneof![
        any::<String>(),
        Just("<>&\u{2028}\u{2029}\u{7f}é😀\\\"".to_owned())
    ];
    (
        dialect,
        any::<[u8; 32]>(),
        id,
        0..CATALOG.len(),
        prop::collection::vec(text, 3),
    )
        .prop_map(|(dialect, random, id, at, texts)| {
            let secret = Dialect::generate_secret(random).expose_secret().to_owned();
            let data = serde_json::json!({
                "license": { "id": texts[0], "key": texts[1] },
                "customer": { "email": texts[2] },
                "reason": "ip_limit",
            });
            let mut event = event(CATALOG[at].name, &data.to_string());
            event.id = EventId::new(&id).unwrap();
            if dialect.event_name(&event).is_none() {
                event.event_type = "license.created".parse().unwrap();
            }
            let name = dialect.event_name(&event).unwrap().into_owned();
            let rendered = render(dialect, &event, &endpoint(dialect, &[(&secret, None)])).unwrap();
            (dialect, secret, rendered, id, name)
        })
}

fn flip(text: &str, at: prop::sample::Index, bit: u8) -> Option<String> {
    let mut bytes = text.as_bytes().to_vec();
    let at = at.index(bytes.len());
    bytes[at] ^= 1 << bit;
    String::from_utf8(bytes).ok()
}

proptest! {
    #[test]
    fn what_is_rendered_verifies_and_reads_back((dialect, secret, rendered, id, name) in sent()) {
        let verified = verify(dialect, &secret, &rendered, NOW).unwrap();
        prop_assert_eq!(verified.id, id);
        prop_assert_eq!(verified.event_type, name);
        let names: Vec<_> = rendered.headers.iter().map(|(name, _)| *name).collect();
        prop_assert_eq!(names, dialect.profile().headers);
        for (_, value) in &rendered.headers {
            prop_assert!(value.bytes().all(|byte| byte.is_ascii_graphic()));
        }
    }

    #[test]
    fn one_flipped_bit_never_verifies(
        (dialect, secret, rendered, ..) in sent(),
        at in any::<prop::sample::Index>(),
        bit in 0..7_u8,
    ) {
        let mut body = rendered.body.to_vec();
        let index = at.index(body.len());
        body[index] ^= 1 << bit;
        let tampered = Rendered { body: body.into(), ..rendered.clone() };
        prop_assert!(verify(dialect, &secret, &tampered, NOW).is_err(), "body at {}", index);

        for (position, (name, value)) in rendered.headers.iter().enumerate() {
            let Some(flipped) = flip(value, at, bit).filter(|_| *name != "content-type") else {
                continue;
            };
            let mut tampered = rendered.clone();
            tampered.headers[position].1 = flipped;
            prop_assert!(verify(dialect, &secret, &tampered, NOW).is_err(), "{}", name);
        }
        if let Some(flipped) = flip(&secret, at, bit) {
            prop_assert!(verify(dialect, &flipped, &rendered, NOW).is_err(), "secret");
        }
    }

    #[test]
    fn a_missing_header_is_named((dialect, secret, rendered, ..) in sent()) {
        for (position, (name, _)) in rendered.headers.iter().enumerate() {
            if *name != "content-type" {
                let mut cut = rendered.clone();
                cut.headers.remove(position);
                let error = verify(dialect, &secret, &cut, NOW).unwrap_err();
                prop_assert_eq!(error.to_string(), format!("the header {name} is missing"));
            }
        }
    }

    #[test]
    fn verifying_anything_at_all_never_panics(
        values in prop::collection::vec(any::<String>(), 3),
        body in any::<Vec<u8>>(),
        secret in any::<String>(),
    ) {
        for dialect in Dialect::ALL {
            let names = dialect.profile().headers.iter().copied();
            let headers = names.filter(|name| *name != "content-type").zip(values.clone());
            let rendered = Rendered { headers: headers.collect(), body: body.clone().into() };
            prop_assert!(verify(*dialect, &secret, &rendered, NOW).is_err());
        }
    }
}
