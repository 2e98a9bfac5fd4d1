use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use dialect::{
    Delivered, Dialect, Policy, Received, RenderError, Rendered, SigningKeys, Verified, VerifyError,
};
use model::{DeliveryId, Endpoint, Event, EventId, Jitter, KeyAlgorithm, Timestamp};
use rsa::pkcs8::DecodePublicKey as _;
use secrecy::SecretString;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::fixture::{NOW, SECRET, endpoint, event, header, keys, render, signing_key};
use crate::vectors::{check, vector};

pub(crate) const ACCOUNT: &str = "00000000-8dd3-4d8d-9b16-215cac0f9b52";
const HOST: &str = "receiver.example";

pub(crate) fn keygen(options: Value) -> Endpoint {
    let mut endpoint = endpoint(Dialect::Keygen, &[(SECRET, None)]);
    endpoint.dialect_options = options.as_object().unwrap().clone();
    assert_eq!(Dialect::Keygen.check_options(&endpoint.dialect_options), []);
    endpoint
}

fn public_key(algorithm: KeyAlgorithm) -> String {
    SigningKeys::publish(&signing_key(algorithm)).unwrap().pem
}

/// What a receiver at `target` makes of it.
fn verify(
    key: &str,
    target: &str,
    host: &str,
    rendered: &Rendered,
    now: Timestamp,
) -> Result<Verified, VerifyError> {
    let headers = |name: &str| match name {
        "host" => Some(host),
        name => header(rendered, name),
    };
    let received = Received {
        target,
        url: None,
        headers: &headers,
        body: &rendered.body,
        now,
    };
    Dialect::Keygen.verify(&SecretString::from(key), &received)
}

#[test]
fn behind_a_proxy_the_url_that_the_sender_was_told_counts() {
    let endpoint = keygen(json!({}));
    let rendered = render(Dialect::Keygen, &event("license.created", "{}"), &endpoint).unwrap();
    let verify = |url: Option<&str>| {
        let url = url.map(|url| url.parse().unwrap());
        let headers = |name: &str| match name {
            "host" => Some("10.0.0.7:8080"),
            name => header(&rendered, name),
        };
        let received = Received {
            target: "/in",
            url: url.as_ref(),
            headers: &headers,
            body: &rendered.body,
            now: NOW,
        };
        let key = public_key(KeyAlgorithm::Ed25519);
        Dialect::Keygen.verify(&SecretString::from(key), &received)
    };
    let told = endpoint.url.as_str();
    assert!(verify(Some(told)).is_ok());
    assert_eq!(verify(None), Err(VerifyError::SignatureMismatch));
    let another = Some("https://another.example/hooks");
    assert_eq!(verify(another), Err(VerifyError::SignatureMismatch));
}

/// The vector's event, with this data.
fn renders_the_vector(name: &str, data: &str, options: Value) {
    let mut endpoint = keygen(options);
    endpoint.url = vector(name).url.parse().unwrap();
    let token = "99b89d681aecdff9a0435c9f507d00c5345a7c2d6e773f1756e4a9d42e4b14v3";
    let event = Event {
        id: EventId::new(token).unwrap(),
        occurred_at: NOW.plus(Duration::from_millis(123)),
        ..event("license.created", data)
    };
    let rendered = Dialect::Keygen.render(&Delivered {
        event: &event,
        endpoint: &endpoint,
        delivery: DeliveryId::from_u128(0xdfd6_6777_8a60_411c_b61c_ad51_c671_c0bd),
        keys: keys(),
        now: NOW,
    });
    check(name, &rendered.unwrap());
}

fn payload_of(name: &str) -> String {
    let body: Value = serde_json::from_str(&vector(name).body_utf8).unwrap();
    let payload = &body["data"]["attributes"]["payload"];
    payload.as_str().unwrap().to_owned()
}

#[test]
fn ed25519_comes_out_byte_for_byte_from_a_document_and_from_the_canonical_event() {
    let canonical = r#"{"license": {
        "id": "1598f237-f82f-448a-91f7-18d2c7e6fd41", "key": "DEMO-DAD877-FCBF82-B83D5A-03E644-V3",
        "name": "Floating <Demo> & Co License", "status": "active", "uses": 0, "metadata": {},
        "expires_at": "2027-01-01T00:00:00.000Z", "created_at": "2026-04-15T12:00:00.000Z",
        "updated_at": "2026-04-15T12:00:00.000Z"
    }}"#;
    for (name, version) in [
        ("keygen-ed25519", "1.8"),
        ("keygen-ed25519-api1.5-example-handler", "1.5"),
    ] {
        let options = json!({"account_id": ACCOUNT, "api_version": version});
        renders_the_vector(name, &payload_of(name), options);
        let options =
            json!({"account_id": ACCOUNT, "api_version": version, "user_relationship": false});
        renders_the_vector(name, canonical, options);
    }
}

#[test]
fn the_other_algorithms_requests_verify() {
    for name in [
        "keygen-rsa-sha256+legacy",
        "keygen-rsa-pss-sha256",
        "keygen-ecdsa-p256",
    ] {
        let vector = vector(name);
        let find = |wanted: &str| {
            let mut headers = vector.headers.iter();
            match wanted {
                "host" => Some(HOST),
                _ => headers
                    .find(|(name, _)| name.eq_ignore_ascii_case(wanted))
                    .map(|(_, value)| value.as_str()),
            }
        };
        let received = Received {
            target: "/webhooks/keygen?tenant=acme",
            url: None,
            headers: &find,
            body: vector.body_utf8.as_bytes(),
            now: NOW,
        };
        let key = SecretString::from(vector.public_key_pem.as_str());
        let verified = Dialect::Keygen.verify(&key, &received).unwrap();
        assert_eq!(verified.event_type, "license.created", "{name}");
        if let Some(legacy) = find("x-signature") {
            verify_legacy(&vector.public_key_pem, received.body, legacy);
        }
    }
}

#[track_caller]
fn verify_legacy(pem: &str, body: &[u8], signature: &str) {
    let key = rsa::RsaPublicKey::from_public_key_pem(pem).unwrap();
    let scheme = rsa::Pkcs1v15Sign::new::<rsa::sha2::Sha256>();
    let signature = BASE64.decode(signature).unwrap();
    key.verify(scheme, &Sha256::digest(body), &signature)
        .unwrap();
}

#[test]
fn every_algorithm_signs_what_its_public_key_verifies() {
    let event = event("license.revoked", r#"{"license":{"id":"lic_1"}}"#);
    for (algorithm, key) in [
        ("ed25519", KeyAlgorithm::Ed25519),
        ("rsa-pss-sha256", KeyAlgorithm::Rsa),
        ("rsa-sha256", KeyAlgorithm::Rsa),
        ("ecdsa-p256", KeyAlgorithm::EcdsaP256),
    ] {
        let endpoint = keygen(json!({"algorithm": algorithm}));
        assert_eq!(Dialect::Keygen.signed_with(&endpoint), [key]);
        let rendered = render(Dialect::Keygen, &event, &endpoint).unwrap();
        let again = render(Dialect::Keygen, &event, &endpoint).unwrap();
        assert_eq!(rendered.headers, again.headers, "{algorithm}");
        let key_text = public_key(key);
        assert!(
            verify(&key_text, "/hooks", HOST, &rendered, NOW).is_ok(),
            "{algorithm}"
        );
        for other in KeyAlgorithm::ALL.iter().filter(|other| **other != key) {
            let error = verify(&public_key(*other), "/hooks", HOST, &rendered, NOW);
            assert_eq!(error, Err(VerifyError::SignatureMismatch));
        }
        let without = Delivered {
            event: &event,
            endpoint: &endpoint,
            delivery: DeliveryId::new(NOW, 2),
            keys: &SigningKeys::default(),
            now: NOW,
        };
        let error = Dialect::Keygen.render(&without).unwrap_err();
        assert_eq!(error, RenderError::NoSigningKey(key.as_str()));
    }
}

#[test]
fn whatever_is_signed_cannot_be_changed() {
    let event = event("license.revoked", r#"{"license":{"id":"lic_1"}}"#);
    let rendered = render(Dialect::Keygen, &event, &keygen(json!({}))).unwrap();
    let key = public_key(KeyAlgorithm::Ed25519);
    let refused = |target: &str, host: &str, rendered: &Rendered| {
        assert!(verify(&key, target, host, rendered, NOW).is_err());
    };
    refused("/hooks?a=1", HOST, &rendered);
    refused("/hook", HOST, &rendered);
    refused("/hooks", "another.example", &rendered);
    let changed = |name: &str, from: &str, to: &str| {
        let mut changed = rendered.clone();
        let header = changed.headers.iter_mut().find(|(it, _)| *it == name);
        let (_, value) = header.unwrap();
        assert!(value.contains(from), "{value}");
        *value = value.replacen(from, to, 1);
        refused("/hooks", HOST, &changed);
    };
    changed("keygen-date", "12:00:00", "12:00:01");
    changed("keygen-digest", "sha-256=", "SHA-256=");
    changed("keygen-signature", "keyid=\"", "keyid=\"0");
    changed("keygen-signature", "ed25519", "rsa-sha256");
    changed("keygen-signature", " digest", "");
    let mut body = rendered.body.to_vec();
    body.push(b' ');
    let longer = Rendered {
        body: body.into(),
        ..rendered.clone()
    };
    refused("/hooks", HOST, &longer);
}

#[test]
fn the_host_counts_with_its_port_and_without() {
    let event = event("license.revoked", r#"{"license":{"id":"lic_1"}}"#);
    let key = public_key(KeyAlgorithm::Ed25519);
    for (strip, accepted_by_exact_receivers) in [(false, true), (true, false)] {
        let mut endpoint = keygen(json!({"host_strip_port": strip}));
        endpoint.url = "https://receiver.example:8443/hooks?a=b".parse().unwrap();
        let rendered = render(Dialect::Keygen, &event, &endpoint).unwrap();
        let at = |host: &str| verify(&key, "/hooks?a=b", host, &rendered, NOW).is_ok();
        assert!(at("receiver.example:8443"));
        assert_eq!(at("receiver.example"), !accepted_by_exact_receivers);
    }
}

#[test]
fn dates_are_tolerated_for_five_minutes_and_copies_outlive_proxies() {
    let event = event("license.revoked", r#"{"license":{"id":"lic_1"}}"#);
    let mut rendered = render(Dialect::Keygen, &event, &keygen(json!({}))).unwrap();
    let key = public_key(KeyAlgorithm::Ed25519);
    let at = |rendered: &Rendered, now| verify(&key, "/hooks", HOST, rendered, now);
    let seconds = Duration::from_secs;
    assert!(at(&rendered, NOW.plus(seconds(300))).is_ok());
    assert_eq!(
        at(&rendered, NOW.plus(seconds(301))),
        Err(VerifyError::TooOld(1))
    );
    assert_eq!(
        at(&rendered, NOW.minus(seconds(301))),
        Err(VerifyError::TooNew(1))
    );

    let plain = ["date", "digest"];
    let own = ["keygen-date", "keygen-digest"];
    rendered.headers.retain(|(name, _)| !plain.contains(name));
    assert!(at(&rendered, NOW).is_ok());
    for (name, value) in &mut rendered.headers {
        if own.contains(name) {
            (*name, *value) = (name.trim_start_matches("keygen-"), value.clone());
        }
    }
    assert!(at(&rendered, NOW).is_ok());
    for name in ["date", "digest"] {
        let mut without = rendered.clone();
        without.headers.retain(|(it, _)| *it != name);
        assert_eq!(at(&without, NOW), Err(VerifyError::MissingHeader(name)));
    }
}

#[test]
fn the_legacy_signature_is_of_the_body() {
    let event = event("license.revoked", r#"{"license":{"id":"lic_1"}}"#);
    let endpoint = keygen(json!({"legacy_signature": true}));
    let needed = [KeyAlgorithm::Ed25519, KeyAlgorithm::Rsa];
    assert_eq!(Dialect::Keygen.signed_with(&endpoint), needed);
    let rendered = render(Dialect::Keygen, &event, &endpoint).unwrap();
    let legacy = header(&rendered, "x-signature").unwrap();
    verify_legacy(&public_key(KeyAlgorithm::Rsa), &rendered.body, legacy);
}

#[test]
fn a_delivery_keeps_its_ids_and_another_endpoints_are_others() {
    let event = event("license.revoked", r#"{"license":{"id":"lic_1"}}"#);
    let ids = |endpoint: &Endpoint| {
        let rendered = render(Dialect::Keygen, &event, endpoint).unwrap();
        let body: Value = serde_json::from_slice(&rendered.body).unwrap();
        let token = body["data"]["meta"]["idempotencyToken"].as_str().unwrap();
        assert_eq!((token.len(), &token[62..]), (64, "v3"));
        let account = &body["data"]["relationships"]["account"]["data"]["id"];
        assert_eq!(account, SigningKeys::id(&event.tenant).as_str());
        token.to_owned()
    };
    let one = keygen(json!({}));
    let mut other = keygen(json!({}));
    other.id = model::EndpointId::new(NOW, 99);
    assert_eq!(ids(&one), ids(&one));
    assert_ne!(ids(&one), ids(&other));
}

#[test]
fn fifteen_retries_grow_with_the_fourth_power() {
    let policy = Policy::of(&keygen(json!({})));
    let expected: Vec<_> = (0..15_u64)
        .map(|retry| Duration::from_secs(600 + retry.pow(4)))
        .collect();
    assert_eq!(policy.schedule_delays, expected);
    let steps = Jitter::Steps {
        step_s: 600,
        steps_max: 9,
    };
    assert_eq!(
        (policy.jitter, policy.timeout),
        (steps, Duration::from_secs(15))
    );
    assert_eq!(policy.gone_statuses, [410, 530]);
    let longest: Duration = expected
        .iter()
        .map(|delay| *delay + steps.longest(*delay))
        .sum();
    assert_eq!(longest.as_secs(), 217_687);
}

#[test]
fn keys_are_published_as_receivers_take_them() {
    let published = SigningKeys::publish(&signing_key(KeyAlgorithm::Ed25519)).unwrap();
    assert_eq!(
        published.public_key,
        "03a107bff3ce10be1d70dd18e74bc09967e4d6309ba50d5f1ddc8664125531b8"
    );
    assert_eq!(
        published.whpk.as_deref(),
        Some("whpk_A6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg=")
    );
    for algorithm in KeyAlgorithm::ALL {
        let pem = public_key(*algorithm);
        assert!(pem.starts_with("-----BEGIN PUBLIC KEY-----\n"), "{pem}");
        let check = Dialect::Keygen.profile().check_public_key.unwrap();
        assert_eq!(check(&pem), Ok(()));
    }
    let mut damaged = signing_key(KeyAlgorithm::Ed25519);
    damaged.private_key = vec![1, 2, 3].into();
    assert!(SigningKeys::read(&[damaged]).is_err());
}

#[test]
fn public_keys_are_read_in_every_form_they_are_published_in() {
    let check = Dialect::Keygen.profile().check_public_key.unwrap();
    for algorithm in KeyAlgorithm::ALL {
        let pem = public_key(*algorithm);
        let lines = pem.lines().filter(|line| !line.starts_with('-'));
        let der: String = lines.collect();
        for form in [
            pem.clone(),
            der.clone(),
            format!("\n {der} \n"),
            format!(" {pem}\n"),
        ] {
            assert_eq!(check(&form), Ok(()), "{form}");
        }
    }
    use rsa::pkcs1::EncodeRsaPublicKey as _;
    let rsa = rsa::RsaPublicKey::from_public_key_pem(&public_key(KeyAlgorithm::Rsa)).unwrap();
    assert_eq!(
        check(&rsa.to_pkcs1_pem(Default::default()).unwrap()),
        Ok(())
    );
    let hex = "03A107bff3ce10be1d70dd18e74bc09967e4d6309ba50d5f1ddc8664125531B8";
    assert_eq!(check(hex), Ok(()));
    for wrong in [&hex[2..], "", "AAAA", "a secret"] {
        assert!(check(wrong).is_err(), "{wrong}");
    }
    // A secret of Standard Webhooks may have 64 hexadecimal digits.
    let check = Dialect::Standard.profile().check_public_key.unwrap();
    assert!(check(hex).is_err());
}

#[test]
fn an_rsa_key_is_made_from_random_bytes() {
    let mut key = signing_key(KeyAlgorithm::Ed25519);
    key.algorithm = KeyAlgorithm::Rsa;
    key.private_key = SigningKeys::generate(KeyAlgorithm::Rsa, [9; 32]);
    let pem = SigningKeys::publish(&key).unwrap().pem;
    assert_eq!(rsa_bits(&pem), 2048);
}

fn rsa_bits(pem: &str) -> usize {
    use rsa::traits::PublicKeyParts as _;
    let key = rsa::RsaPublicKey::from_public_key_pem(pem).unwrap();
    key.n().bits()
}
