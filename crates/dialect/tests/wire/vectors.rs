use std::collections::BTreeMap;
use std::time::Duration;

use dialect::{Dialect, RenderError, Rendered, Verified, VerifyError};
use model::{EventId, Timestamp};
use secrecy::SecretString;
use serde::Deserialize;

use crate::fixture::{
    NOW, OLD_SECRET, SECRET, body, endpoint, event, header, received, render, verify,
};

/// A request that independent receivers accepted, to the byte.
#[derive(Deserialize)]
pub(crate) struct Vector {
    #[serde(default)]
    pub(crate) secret: String,
    #[serde(default)]
    pub(crate) public_key_pem: String,
    pub(crate) url: String,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body_utf8: String,
    pub(crate) body_len: usize,
}

pub(crate) fn vector(name: &str) -> Vector {
    let mut all: BTreeMap<String, Vector> =
        serde_json::from_str(include_str!("vectors.json")).unwrap();
    all.remove(name).unwrap()
}

/// Whether a request is the vector's, to the byte. Product tokens are our own, and nobody verifies
/// them.
#[track_caller]
pub(crate) fn check(name: &str, rendered: &Rendered) {
    let vector = vector(name);
    assert_eq!(body(rendered), vector.body_utf8, "{name}");
    assert_eq!(rendered.body.len(), vector.body_len, "{name}");
    let expected: BTreeMap<_, _> = vector
        .headers
        .iter()
        .map(|(name, value)| (name.to_lowercase(), value.as_str()))
        .filter(|(name, _)| name != "user-agent")
        .collect();
    let headers: BTreeMap<_, _> = rendered
        .headers
        .iter()
        .map(|(name, value)| ((*name).to_owned(), value.as_str()))
        .collect();
    assert_eq!(headers, expected, "{name}");
}

/// The value of a body's member `data`, as it stands there.
pub(crate) fn data_of(body: &str) -> String {
    #[derive(Deserialize)]
    struct Body<'a> {
        #[serde(borrow)]
        data: &'a serde_json::value::RawValue,
    }
    serde_json::from_str::<Body<'_>>(body)
        .unwrap()
        .data
        .get()
        .to_owned()
}

#[test]
fn standard_comes_out_byte_for_byte() {
    let vector = vector("standard-webhooks");
    let mut event = event("license.created", &data_of(&vector.body_utf8));
    event.id = EventId::new("msg_2KWPBgLlAfxdpx2AI54pPJ85f4W").unwrap();
    let endpoint = endpoint(Dialect::Standard, &[(&vector.secret, None)]);
    let rendered = render(Dialect::Standard, &event, &endpoint).unwrap();
    assert_eq!(body(&rendered), vector.body_utf8);
    assert_eq!(rendered.body.len(), vector.body_len);
    assert_eq!(rendered.headers.len(), vector.headers.len());
    for (name, value) in &vector.headers {
        assert_eq!(header(&rendered, name), Some(value.as_str()), "{name}");
    }
}

#[test]
fn standard_signs_with_every_secret_newest_first() {
    let vector = vector("standard-webhooks-rotation+v1a");
    let mut event = event("license.created", &data_of(&vector.body_utf8));
    event.id = EventId::new("msg_2KWPBgLlAfxdpx2AI54pPJ85f4W").unwrap();
    let until = NOW.plus(Duration::from_secs(1));
    let secrets = [(SECRET, None), (OLD_SECRET, Some(until))];
    let rendered = render(
        Dialect::Standard,
        &event,
        &endpoint(Dialect::Standard, &secrets),
    );
    let rendered = rendered.unwrap();
    let (hmacs, _ed25519) = vector.headers["webhook-signature"]
        .rsplit_once(' ')
        .unwrap();
    assert_eq!(header(&rendered, "webhook-signature"), Some(hmacs));
    for secret in [SECRET, OLD_SECRET] {
        assert!(verify(Dialect::Standard, secret, &rendered, NOW).is_ok());
    }
    let over = [(SECRET, None), (OLD_SECRET, Some(NOW))];
    let rendered = render(
        Dialect::Standard,
        &event,
        &endpoint(Dialect::Standard, &over),
    )
    .unwrap();
    assert_eq!(
        header(&rendered, "webhook-signature"),
        hmacs.split(' ').next()
    );
}

#[test]
fn standard_signs_with_the_tenants_ed25519_key_too() {
    let vector = vector("standard-webhooks-rotation+v1a");
    let mut event = event("license.created", &data_of(&vector.body_utf8));
    event.id = EventId::new("msg_2KWPBgLlAfxdpx2AI54pPJ85f4W").unwrap();
    let secrets = [(SECRET, None), (OLD_SECRET, None)];
    let mut endpoint = endpoint(Dialect::Standard, &secrets);
    let option = ("ed25519".to_owned(), true.into());
    endpoint.dialect_options.extend([option]);
    let rendered = render(Dialect::Standard, &event, &endpoint).unwrap();
    check("standard-webhooks-rotation+v1a", &rendered);
    let verified = |key: &str| verify(Dialect::Standard, key, &rendered, NOW);
    let key = "whpk_A6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg=";
    for key in [SECRET, OLD_SECRET, key] {
        assert!(verified(key).is_ok(), "{key}");
    }
    let another = "whpk_11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";
    assert_eq!(verified(another), Err(VerifyError::SignatureMismatch));
    assert!(matches!(
        verified("whpk_AAAA"),
        Err(VerifyError::BadSecret(_))
    ));
}

#[test]
fn standard_reads_the_known_answer_of_the_reference_libraries() {
    let headers = |name: &str| match name {
        "webhook-id" => Some("msg_p5jXN8AQM9LWM0D4loKWxJek"),
        "webhook-timestamp" => Some("1614265330"),
        "webhook-signature" => Some("v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="),
        _ => None,
    };
    fn verify<'a>(
        headers: &'a dyn Fn(&str) -> Option<&'a str>,
        body: &'a [u8],
    ) -> Result<Verified, VerifyError> {
        let secret = SecretString::from("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
        let now = Timestamp::from_seconds(1_614_265_330);
        Dialect::Standard.verify(&secret, &received(headers, body, now))
    }
    // Its body is none of ours: it has no type. The signature is right all the same.
    assert!(matches!(
        verify(&headers, br#"{"test": 2432232314}"#),
        Err(VerifyError::BadBody(_))
    ));
    assert_eq!(
        verify(&headers, br#"{"test": 2432232315}"#),
        Err(VerifyError::SignatureMismatch)
    );
}

#[test]
fn standard_tells_the_sequence_last_and_passes_data_untouched() {
    let data = "{ \"n\": 1.0, \"t\": \"zo\\u00eb <>& \u{2028}\" }";
    let mut event = event("license.created", data);
    event.sequence = Some(7);
    let endpoint = endpoint(Dialect::Standard, &[(SECRET, None)]);
    let rendered = render(Dialect::Standard, &event, &endpoint).unwrap();
    let expected = format!(
        r#"{{"type":"license.created","timestamp":"2026-04-15T12:00:00.000000Z","data":{data},"sequence":7}}"#
    );
    assert_eq!(body(&rendered), expected);
}

#[test]
fn standard_tolerates_five_minutes_and_no_more() {
    let event = event("license.created", "{}");
    let endpoint = endpoint(Dialect::Standard, &[(SECRET, None)]);
    let rendered = render(Dialect::Standard, &event, &endpoint).unwrap();
    let at = |now: Timestamp| verify(Dialect::Standard, SECRET, &rendered, now);
    let (limit, beyond) = (Duration::from_secs(300), Duration::from_secs(301));
    assert!(at(NOW.plus(limit)).is_ok());
    assert!(at(NOW.minus(limit)).is_ok());
    assert_eq!(at(NOW.plus(beyond)), Err(VerifyError::TooOld(1)));
    assert_eq!(at(NOW.minus(beyond)), Err(VerifyError::TooNew(1)));
}

#[test]
fn keyport_comes_out_byte_for_byte_from_data_in_its_own_shape() {
    let vector = vector("keyport");
    let event = event("license.ip_blocked", &data_of(&vector.body_utf8));
    let endpoint = endpoint(Dialect::KeyPort, &[(&vector.secret, None)]);
    let rendered = render(Dialect::KeyPort, &event, &endpoint).unwrap();
    assert_eq!(body(&rendered), vector.body_utf8);
    assert_eq!(rendered.body.len(), vector.body_len);
    for (name, value) in &vector.headers {
        assert_eq!(
            header(&rendered, &name.to_lowercase()),
            Some(value.as_str()),
            "{name}"
        );
    }
}

#[test]
fn keyport_comes_out_byte_for_byte_from_the_canonical_event() {
    let data = r#"{
        "license":  {"id": "lic_7f3a", "key": "KP-ABCD-EFGH-IJKL", "name": "Production License",
                     "status": "active", "expires_at": "2027-04-15T00:00:00.000Z", "metadata": {}},
        "customer": {"id": "cus_9", "name": "Acme", "email": "zo\u00eb@example.com"},
        "activation": {"id": "act_1", "ip_address": "203.0.113.9"}
    }"#;
    let mut event = event("license.ip_blocked", data);
    event.product = Some("prod_42".to_owned());
    let endpoint = endpoint(Dialect::KeyPort, &[(SECRET, None)]);
    let rendered = render(Dialect::KeyPort, &event, &endpoint).unwrap();
    assert_eq!(body(&rendered), vector("keyport").body_utf8);
}

#[test]
fn keyport_signs_with_the_old_secret_until_the_cut_over() {
    let event = event("license.created", "{}");
    let secrets = |until| {
        endpoint(
            Dialect::KeyPort,
            &[(SECRET, None), (OLD_SECRET, Some(until))],
        )
    };
    let before = render(
        Dialect::KeyPort,
        &event,
        &secrets(NOW.plus(Duration::from_secs(1))),
    );
    assert!(verify(Dialect::KeyPort, OLD_SECRET, &before.unwrap(), NOW).is_ok());
    let after = render(Dialect::KeyPort, &event, &secrets(NOW)).unwrap();
    assert!(verify(Dialect::KeyPort, SECRET, &after, NOW).is_ok());
    assert_eq!(
        verify(Dialect::KeyPort, OLD_SECRET, &after, NOW),
        Err(VerifyError::SignatureMismatch)
    );
}

#[test]
fn what_cannot_be_signed_or_expressed_is_refused() {
    let created = event("license.expired", "{}");
    let by_secret = |dialect: &&Dialect| dialect.profile().secret_verifies;
    for dialect in Dialect::ALL.iter().filter(by_secret) {
        let none = endpoint(*dialect, &[]);
        assert_eq!(
            render(*dialect, &created, &none).unwrap_err(),
            RenderError::NoSecret
        );
    }
    let odd = endpoint(Dialect::Standard, &[("whsec_not base64", None)]);
    let error = render(Dialect::Standard, &created, &odd).unwrap_err();
    assert!(matches!(error, RenderError::BadSecret(_)));
    let endpoint = endpoint(Dialect::KeyPort, &[(SECRET, None)]);
    let error = render(Dialect::KeyPort, &event("machine.created", "{}"), &endpoint).unwrap_err();
    assert_eq!(error, RenderError::NotExpressible);
}

#[test]
fn dialects_with_one_signature_sign_with_the_old_secret_until_the_cut_over() {
    let event = event("license.expired", r#"{"actor":{"type":"user"}}"#);
    let single = |dialect: &&Dialect| {
        let profile = dialect.profile();
        profile.secret_verifies && !profile.several_signatures
    };
    for dialect in Dialect::ALL.iter().copied().filter(|it| single(&it)) {
        let with = |until| {
            let secrets = [(SECRET, None), (OLD_SECRET, Some(until))];
            render(dialect, &event, &endpoint(dialect, &secrets)).unwrap()
        };
        for (rendered, signs, does_not) in [
            (with(NOW.plus(Duration::from_secs(1))), OLD_SECRET, SECRET),
            (with(NOW), SECRET, OLD_SECRET),
        ] {
            assert!(verify(dialect, signs, &rendered, NOW).is_ok());
            assert_eq!(
                verify(dialect, does_not, &rendered, NOW),
                Err(VerifyError::SignatureMismatch),
                "{}",
                dialect.name()
            );
        }
    }
}
