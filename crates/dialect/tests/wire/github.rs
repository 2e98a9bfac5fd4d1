use dialect::{Delivered, Dialect, Rendered, SigningKeys, VerifyError};
use model::{DeliveryId, EndpointId, Event, Submission};
use secrecy::SecretString;
use serde_json::{Value, json};

use crate::fixture::{
    NOW, SECRET, body, endpoint, event, header, parse_one, received, render, verify,
};
use crate::vectors::{check, vector};

fn rendered(event: &Event) -> Rendered {
    render(
        Dialect::GitHub,
        event,
        &endpoint(Dialect::GitHub, &[(SECRET, None)]),
    )
    .unwrap()
}

fn parse(rendered: &Rendered) -> Submission {
    let headers = |name: &str| header(rendered, name);
    parse_one(Dialect::GitHub, &received(&headers, &rendered.body, NOW))
}

#[test]
fn the_known_answer_comes_out_from_its_own_data_and_from_the_canonical() {
    let own = vector("github")
        .body_utf8
        .replace(r#""action":"created","#, "");
    let canonical = r#"{
        "license": {"id": "lic_7f3a", "key": "****-IJKL"},
        "actor": {"type": "system", "id": "system"}
    }"#;
    let mut by_id = endpoint(Dialect::GitHub, &[(SECRET, None)]);
    by_id.id = EndpointId::from_u128(292_430_182);
    let mut by_option = endpoint(Dialect::GitHub, &[(SECRET, None)]);
    let options = json!({"hook_id": 292_430_182});
    by_option.dialect_options = options.as_object().unwrap().clone();
    for data in [own.as_str(), canonical] {
        for endpoint in [&by_id, &by_option] {
            let rendered = Dialect::GitHub.render(&Delivered {
                event: &event("license.created", data),
                endpoint,
                delivery: DeliveryId::from_u128(0x72d3_162e_cc78_11e3_81ab_4c93_67dc_0958),
                keys: &SigningKeys::default(),
                now: NOW,
            });
            check("github", &rendered.unwrap());
        }
    }
}

#[test]
fn the_documented_known_answer_verifies() {
    let signature = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
    fn verdict(signature: &str, body: &[u8]) -> VerifyError {
        let headers = |name: &str| (name == "x-hub-signature-256").then_some(signature);
        let secret = SecretString::from("It's a Secret to Everybody");
        let received = received(&headers, body, NOW);
        Dialect::GitHub.verify(&secret, &received).unwrap_err()
    }
    // Its body is no event; the signature is right all the same.
    assert!(matches!(
        verdict(signature, b"Hello, World!"),
        VerifyError::BadBody(_)
    ));
    for (signature, body) in [
        (signature, &b"Hello, World?"[..]),
        (
            &signature.to_uppercase().replace("SHA", "sha"),
            b"Hello, World!",
        ),
        (&format!("{signature} "), b"Hello, World!"),
    ] {
        assert_eq!(verdict(signature, body), VerifyError::SignatureMismatch);
    }
    assert!(matches!(
        verdict(&signature[7..], b"Hello, World!"),
        VerifyError::BadHeader { .. }
    ));
}

#[test]
fn a_hook_that_sends_forms_is_told_what_to_change() {
    for (content_type, says) in [
        ("application/x-www-form-urlencoded", "content type"),
        ("application/json", "a JSON object"),
    ] {
        let headers = |name: &str| (name == "content-type").then_some(content_type);
        let request = received(&headers, b"payload=%7B%7D", NOW);
        let error = Dialect::GitHub.identify(&request).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
}

#[test]
fn the_weaker_signature_alone_is_not_enough() {
    let mut rendered = rendered(&event("license.created", "{}"));
    assert!(header(&rendered, "x-hub-signature").is_some());
    rendered
        .headers
        .retain(|(name, _)| *name != "x-hub-signature-256");
    assert_eq!(
        verify(Dialect::GitHub, SECRET, &rendered, NOW),
        Err(VerifyError::MissingHeader("x-hub-signature-256"))
    );
}

#[test]
fn a_type_is_an_event_and_its_action() {
    for (event_type, name, action) in [
        ("license.created", "license", "created"),
        ("license.users.attached", "license", "users.attached"),
        ("second_factor.enabled", "second_factor", "enabled"),
        ("seat.assigned", "seat", "assigned"),
        ("ping.answered", "ping", "answered"),
    ] {
        let data = r#"{"action":"x","n":1}"#;
        let rendered = rendered(&event(event_type, data));
        assert_eq!(header(&rendered, "x-github-event"), Some(name));
        assert_eq!(
            body(&rendered),
            format!(r#"{{"action":"{action}","data_action":"x","n":1}}"#)
        );
        assert_eq!(parse(&rendered).data.get(), data);
        let verified = verify(Dialect::GitHub, SECRET, &rendered, NOW).unwrap();
        assert_eq!(verified.event_type, event_type);
        assert_eq!(parse(&rendered).event_type.as_str(), event_type);
    }
}

#[test]
fn an_action_of_the_data_says_the_same_or_gets_a_name_that_is_free() {
    for (data, expected) in [
        (r#"{"action":"created"}"#, r#"{"action":"created"}"#),
        (
            r#"{"action":{"n":1},"data_action":2}"#,
            r#"{"action":"created","data_data_action":{"n":1},"data_action":2}"#,
        ),
    ] {
        let event = event("license.created", data);
        let first = rendered(&event);
        assert_eq!(body(&first), expected);
        let again = rendered(&Event {
            data: parse(&first).data,
            ..event
        });
        assert_eq!(again.body, first.body);
    }
}

#[test]
fn the_actor_is_the_sender_and_is_read_back() {
    for (actor, sender) in [
        (
            r#"{"type":"api_key","id":"key_1","name":"CI"}"#,
            r#"{"login":"key_1","type":"Bot","actor_type":"api_key","name":"CI"}"#,
        ),
        (
            r#"{"type":"user","id":"usr_1","name":"Zoë","email":"z@example.com"}"#,
            r#"{"login":"usr_1","type":"User","name":"Zoë","email":"z@example.com"}"#,
        ),
        (
            r#"{"type":"user","id":"usr_1"}"#,
            r#"{"login":"usr_1","type":"User"}"#,
        ),
        (r#"{"type":"system"}"#, r#"{"type":"Bot"}"#),
    ] {
        let data = format!(r#"{{"license":{{"id":"l"}},"actor":{actor},"reason":"x"}}"#);
        let rendered = rendered(&event("license.created", &data));
        let expected = format!(
            r#"{{"action":"created","license":{{"id":"l"}},"sender":{sender},"reason":"x"}}"#
        );
        assert_eq!(body(&rendered), expected);
        assert_eq!(parse(&rendered).data.get(), data);
    }
    for kept in [
        r#"{"actor":"somebody"}"#,
        r#"{"actor":{"id":"usr_1"}}"#,
        r#"{"actor":{"type":"user"},"sender":{"type":"User"}}"#,
        r#"{"actor":{"type":"user","login":"octo"}}"#,
        r#"{"actor":{"type":"user","actor_type":"x"}}"#,
        r#"{"sender":{"login":null,"type":"User"}}"#,
        r#"{"sender":{"login":"octo","type":"User","id":1}}"#,
        r#"{"sender":{"login":"octo","type":"Bot","actor_type":"user"}}"#,
        r#"{"sender":{"login":"octo","type":"User","actor_type":"api_key"}}"#,
        r#"{"sender":{"login":"octo","id":1,"type":"User"}}"#,
        r#"{"sender":{"login":"octo","type":"Organization"}}"#,
    ] {
        let rendered = rendered(&event("license.created", kept));
        assert_eq!(body(&rendered).replace(r#""action":"created","#, ""), kept);
        assert_eq!(parse(&rendered).data.get(), kept);
    }
}

#[test]
fn a_test_is_a_ping() {
    let test = event(
        "webhook.test",
        r#"{"message":"A test.","action":"x","hook":1}"#,
    );
    let ping = rendered(&test);
    assert_eq!(header(&ping, "x-github-event"), Some("ping"));
    let json: Value = serde_json::from_slice(&ping.body).unwrap();
    assert!(!json["zen"].as_str().unwrap().is_empty());
    let hook_id = header(&ping, "x-github-hook-id").unwrap();
    assert_eq!(json["hook_id"].to_string(), hook_id);
    assert_eq!(json["hook"]["id"], json["hook_id"]);
    assert_eq!(
        json["hook"]["config"]["url"],
        "https://receiver.example/hooks"
    );
    assert_eq!(json["message"], "A test.");
    assert_eq!(json.get("action"), None);
    assert_eq!(json["data_action"], "x");
    assert_eq!(json["data_hook"], 1);

    let read = parse(&ping);
    assert_eq!(read.event_type.as_str(), "webhook.test");
    let again = rendered(&Event {
        data: read.data,
        ..test
    });
    assert_eq!(again.body, ping.body);
}

#[test]
fn a_deliverys_id_is_a_uuid_and_its_own() {
    let id = |delivery: DeliveryId| {
        let rendered = Dialect::GitHub.render(&Delivered {
            event: &event("license.created", "{}"),
            endpoint: &endpoint(Dialect::GitHub, &[(SECRET, None)]),
            delivery,
            keys: &SigningKeys::default(),
            now: NOW,
        });
        let rendered = rendered.unwrap();
        header(&rendered, "x-github-delivery").unwrap().to_owned()
    };
    let made = id(DeliveryId::new(NOW, 1));
    assert_eq!(&made[14..15], "7", "{made}");
    assert!(["8", "9", "a", "b"].contains(&&made[19..20]), "{made}");
    assert_eq!(id(DeliveryId::new(NOW, 1)), made);
    assert_ne!(id(DeliveryId::new(NOW, 2)), made);
}

#[test]
fn options_are_checked() {
    let check = |id: Value| {
        let options = json!({"hook_id": id});
        Dialect::GitHub.check_options(options.as_object().unwrap())
    };
    let max: u64 = (1 << 53) - 1;
    for good in [1, max] {
        assert!(check(json!(good)).is_empty());
    }
    for bad in [json!(0), json!(max + 1), json!("1"), json!(-1)] {
        assert!(!check(bad.clone()).is_empty(), "{bad}");
    }
}
