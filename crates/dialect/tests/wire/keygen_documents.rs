use std::collections::HashSet;

use dialect::Dialect;
use model::{CATALOG, Event};
use serde_json::{Map, Value, json};

use crate::fixture::{NOW, body, event, header, parse, parse_one, received, render};
use crate::keygen::{ACCOUNT, keygen};
use crate::vectors::vector;

/// The document within the body.
fn payload(event: &Event, options: Value) -> Value {
    let rendered = render(Dialect::Keygen, event, &keygen(options)).unwrap();
    let body: Value = serde_json::from_str(body(&rendered)).unwrap();
    serde_json::from_str(body["data"]["attributes"]["payload"].as_str().unwrap()).unwrap()
}

#[test]
fn names_are_the_119_of_keygen() {
    let names = Dialect::Keygen.event_names();
    assert_eq!(names.len(), 119 + 1, "and webhook.test");
    let hyphens: Vec<_> = names.iter().filter(|name| name.contains('-')).collect();
    let expected = [
        "license.check-in-overdue",
        "license.check-in-required-soon",
        "license.checked-in",
        "license.checked-out",
        "license.expiring-soon",
        "machine.checked-out",
        "second-factor.created",
        "second-factor.deleted",
        "second-factor.disabled",
        "second-factor.enabled",
        "user.password-reset",
    ];
    assert!(hyphens.into_iter().eq(expected.iter()));

    let endpoint = keygen(json!({}));
    let name = |canonical: &str| {
        let event = event(canonical, "{}");
        let name = Dialect::Keygen.event_name(&endpoint, &event);
        name.map(|name| name.into_owned())
    };
    for (canonical, keygens) in [
        ("license.validated", "license.validation.succeeded"),
        ("license.validation_failed", "license.validation.failed"),
        ("license.ip_blocked", "license.validation.failed"),
        ("activation.failed", "license.validation.failed"),
        ("activation.created", "machine.created"),
        ("activation.deleted", "machine.deleted"),
        ("license.assigned", "license.owner.updated"),
        ("license.transferred", "license.owner.updated"),
        ("license.upgraded", "license.policy.updated"),
        ("second_factor.enabled", "second-factor.enabled"),
        ("license.usage.reset", "license.usage.reset"),
    ] {
        assert_eq!(name(canonical).as_deref(), Some(keygens));
    }
    let unsent = CATALOG.iter().map(|entry| entry.name);
    let unsent: Vec<_> = unsent
        .filter(|canonical| name(canonical).is_none())
        .collect();
    assert_eq!(
        unsent,
        [
            "abuse.detected",
            "contract.created",
            "contract.deleted",
            "contract.suspended",
            "contract.updated",
            "domain.added",
            "domain.removed",
            "license.activated",
            "license.bulk_revoked",
            "license.deactivated",
            "license.ip_removed",
            "license.ips_reset",
            "license.transfer_rejected",
            "limit.exceeded",
            "payment.failed",
            "telemetry.flagged",
            "telemetry.received",
        ]
    );
    let wanted = [
        "license.expiring-soon".to_owned(),
        "second-factor.*".to_owned(),
    ];
    assert_eq!(
        Dialect::Keygen.check_event_types(&wanted, &Map::new(), &|_| false),
        []
    );
    let wrong = ["license.expiring_soon".to_owned()];
    assert_eq!(
        Dialect::Keygen
            .check_event_types(&wrong, &Map::new(), &|_| false)
            .len(),
        1
    );
}

#[test]
fn a_license_has_its_relationships() {
    let data = r#"{
        "license": {"id": "lic 1", "policy_id": "pol_1", "max_activations": 3, "plan": "pro"},
        "customer": {"id": "cus_9", "email": "zoë@example.com"}, "reason": "chargeback"
    }"#;
    let mut event = event("license.revoked", data);
    event.product = Some("prod_42".to_owned());
    let document = payload(&event, json!({"account_id": ACCOUNT}));
    let license = &document["data"];
    assert_eq!(
        license["attributes"],
        json!({"name": null, "expiry": null, "maxMachines": 3, "plan": "pro", "metadata": {}})
    );
    let path = format!("/v1/accounts/{ACCOUNT}/licenses/lic%201");
    assert_eq!(license["links"]["self"], path);
    for (name, plural, id) in [
        ("product", "products", "prod_42"),
        ("policy", "policies", "pol_1"),
        ("owner", "users", "cus_9"),
        ("user", "users", "cus_9"),
    ] {
        let expected = json!({
            "links": {"related": format!("{path}/{name}")},
            "data": {"type": plural, "id": id},
        });
        assert_eq!(license["relationships"][name], expected);
    }
    assert_eq!(document["meta"], json!({"reason": "chargeback"}));

    let owners = |options| {
        let document = payload(&event, options);
        let relationships = document["data"]["relationships"]
            .as_object()
            .unwrap()
            .clone();
        ["owner", "user"].map(|name| relationships.contains_key(name))
    };
    assert_eq!(owners(json!({"api_version": "1.6"})), [true, true]);
    assert_eq!(owners(json!({"user_relationship": false})), [true, false]);
    for version in ["1.5", "1.4", "1.3"] {
        assert_eq!(owners(json!({"api_version": version})), [false, true]);
    }
}

#[test]
fn a_validation_tells_its_result() {
    let meta =
        |event_type, data, options| payload(&event(event_type, data), options)["meta"].clone();
    let ts = "2026-04-15T12:00:00.000Z";
    let failed = r#"{"license":{"id":"lic_1"},"reason":"too_many_machines","detail":"has too many",
                     "nonce":7}"#;
    assert_eq!(
        meta("license.validation_failed", failed, json!({})),
        json!({"ts": ts, "valid": false, "detail": "has too many", "code": "TOO_MANY_MACHINES", "nonce": 7})
    );
    let license = r#"{"license":{"id":"lic_1"}}"#;
    assert_eq!(
        meta("license.validated", license, json!({})),
        json!({"ts": ts, "valid": true, "detail": "is valid", "code": "VALID"})
    );
    assert_eq!(
        meta("license.ip_blocked", license, json!({})),
        json!({"ts": ts, "valid": false, "code": "IP_LIMIT"})
    );
    assert_eq!(meta("license.created", license, json!({})), Value::Null);
}

#[test]
fn other_resources_have_their_own_documents() {
    let document = |event_type: &str, data: &str| {
        let document = payload(&event(event_type, data), json!({"account_id": ACCOUNT}));
        let data = &document["data"];
        let related = data["relationships"]["license"]["data"]["id"].clone();
        json!([
            data["type"],
            data["id"],
            data["attributes"],
            related,
            document["meta"]
        ])
    };
    assert_eq!(
        document(
            "activation.created",
            r#"{"license":{"id":"lic_1"},"activation":{"id":"act_1","fingerprint":"f",
                "device_name":"MacBook","device_type":"desktop","ip_address":"203.0.113.9"}}"#
        ),
        json!(["machines", "act_1", {"fingerprint": "f", "name": "MacBook", "ip": "203.0.113.9",
            "hostname": null, "platform": null, "deviceType": "desktop", "metadata": {}},
            "lic_1", null])
    );
    assert_eq!(
        document(
            "user.password_reset",
            r#"{"customer":{"id":"cus_9","name":"Zoë","email":"z@example.com"},"password_reset_token":"t"}"#
        ),
        json!(["users", "cus_9", {"fullName": "Zoë", "email": "z@example.com", "metadata": {}},
            null, {"passwordResetToken": "t"}])
    );
    assert_eq!(
        document(
            "group.created",
            r#"{"group":{"id":"grp_1","name":"G","max_users":5}}"#
        ),
        json!(["groups", "grp_1", {"name": "G", "maxUsers": 5}, null, null])
    );
    // Data may be the resource itself.
    assert_eq!(
        document(
            "policy.updated",
            r#"{"id":7,"name":"P","created_at":"2026-04-15T12:00:00Z"}"#
        ),
        json!(["policies", "7", {"name": "P", "created": "2026-04-15T12:00:00Z"}, null, null])
    );
    assert_eq!(
        document(
            "webhook.test",
            r#"{"message":"A test.","endpoint":{"id":"ep_1"}}"#
        ),
        json!(["webhooks", null, {"message": "A test.", "endpoint": {"id": "ep_1"}}, null, null])
    );
}

#[test]
fn attached_resources_are_a_list() {
    let data =
        r#"{"license":{"id":"lic_1"},"entitlements":[{"id":"ent_1","code":"A"},{"id":"ent_2"}]}"#;
    let event = event("license.entitlements.attached", data);
    let document = payload(&event, json!({"account_id": ACCOUNT}));
    let list = document["data"].as_array().unwrap();
    let shown: Vec<_> = list
        .iter()
        .map(|item| {
            json!([
                item["type"],
                item["id"],
                item["attributes"],
                item["relationships"]["license"]["data"]["id"]
            ])
        })
        .collect();
    assert_eq!(
        shown,
        [
            json!(["entitlements", "ent_1", {"code": "A"}, "lic_1"]),
            json!(["entitlements", "ent_2", {}, "lic_1"])
        ]
    );
    let rendered = render(Dialect::Keygen, &event, &keygen(json!({}))).unwrap();
    let headers = |name: &str| header(&rendered, name);
    let request = received(&headers, &rendered.body, NOW);
    let read = parse_one(Dialect::Keygen, &request);
    assert_eq!(read.license.as_deref(), Some("lic_1"));
    let read: Value = serde_json::from_str(read.data.get()).unwrap();
    let expected: Value = serde_json::from_str(data).unwrap();
    assert_eq!(read, expected);
}

#[test]
fn keygens_documents_are_read_as_canonical_events() {
    let vector = vector("keygen-ed25519");
    let request = received(&|_| None, vector.body_utf8.as_bytes(), NOW);
    let read = parse_one(Dialect::Keygen, &request);
    assert_eq!(read.event_type.as_str(), "license.created");
    assert_eq!(
        read.occurred_at.unwrap().to_string(),
        "2026-04-15T12:00:00.123Z"
    );
    let data: Value = serde_json::from_str(read.data.get()).unwrap();
    assert_eq!(
        data,
        json!({"license": {
            "id": "1598f237-f82f-448a-91f7-18d2c7e6fd41", "name": "Floating <Demo> & Co License",
            "key": "DEMO-DAD877-FCBF82-B83D5A-03E644-V3", "expires_at": "2027-01-01T00:00:00.000Z",
            "status": "active", "uses": 0, "metadata": {},
            "created_at": "2026-04-15T12:00:00.000Z", "updated_at": "2026-04-15T12:00:00.000Z",
        }})
    );
}

/// The event that a Fanfare would make of what another one sent.
fn read_back(event: &Event, options: Value) -> Event {
    let rendered = render(Dialect::Keygen, event, &keygen(options)).unwrap();
    let headers = |name: &str| header(&rendered, name);
    let request = received(&headers, &rendered.body, NOW);
    let read = parse_one(Dialect::Keygen, &request);
    Event {
        data: read.data,
        ..event.clone()
    }
}

#[test]
fn older_versions_have_their_own_names_which_are_read_back() {
    let data = r#"{"policy":{"id":"pol_1","process_leasing_strategy":"PER_LICENSE",
        "machine_uniqueness_strategy":"UNIQUE_PER_LICENSE","machineMatchingStrategy":"MATCH_ANY",
        "metadata":{"ownKey":{"innerKey":[{"aB":1,"a_b":2}]},"list":[{"cD":1}]}}}"#;
    let policy = event("policy.updated", data);
    let now = [
        "processLeasingStrategy",
        "machineUniquenessStrategy",
        "machineMatchingStrategy",
    ];
    let then = [
        "leasingStrategy",
        "fingerprintUniquenessStrategy",
        "fingerprintMatchingStrategy",
    ];
    let camel = json!({"ownKey": {"innerKey": [{"aB": 1, "a_b": 2}]}, "list": [{"cD": 1}]});
    let snake = json!({"ownKey": {"inner_key": [{"a_b": 1}]}, "list": [{"c_d": 1}]});
    for (version, names, metadata) in [
        ("1.8", now, &camel),
        ("1.7", now, &camel),
        ("1.6", [then[0], now[1], now[2]], &camel),
        ("1.5", [then[0], now[1], now[2]], &camel),
        ("1.4", [then[0], now[1], now[2]], &snake),
        ("1.3", then, &snake),
    ] {
        let options = json!({"api_version": version});
        let document = payload(&policy, options.clone());
        let attributes = document["data"]["attributes"].as_object().unwrap();
        let names: HashSet<_> = names.into_iter().chain(["metadata"]).collect();
        let found: HashSet<_> = attributes.keys().map(String::as_str).collect();
        assert_eq!(found, names, "{version}");
        assert_eq!(&attributes["metadata"], metadata, "{version}");

        let again = read_back(&policy, options.clone());
        let read: Value = serde_json::from_str(again.data.get()).unwrap();
        assert_eq!(read["policy"]["process_leasing_strategy"], "PER_LICENSE");
        assert_eq!(payload(&again, options), document, "{version}");
        let newest = payload(&again, json!({}));
        assert!(
            now.iter()
                .all(|name| newest["data"]["attributes"][name].is_string())
        );
    }
    let license = event(
        "license.created",
        r#"{"license":{"id":"lic_1","metadata":{"a":{"bC":1}}}}"#,
    );
    let document = payload(&license, json!({"api_version": "1.4"}));
    assert_eq!(
        document["data"]["attributes"]["metadata"],
        json!({"a": {"b_c": 1}})
    );
}

/// Work that grows with the square of the attributes takes minutes here.
#[test]
fn documents_with_very_many_attributes_are_read_and_written_at_once() {
    let started = std::time::Instant::now();
    let attributes: Vec<_> = (0..60_000).map(|n| format!(r#""a{n}":0"#)).collect();
    let payload = format!(
        r#"{{"data":{{"type":"licenses","id":"l","attributes":{{{}}}}}}}"#,
        attributes.join(",")
    );
    let body = json!({"data": {
        "attributes": {"event": "license.created", "payload": payload},
        "relationships": {"account": {"data": {"id": ACCOUNT}}},
        "meta": {"idempotencyToken": "t"},
    }});
    let body = body.to_string();
    let [read] = parse(Dialect::Keygen, &received(&|_| None, body.as_bytes(), NOW))
        .try_into()
        .unwrap();
    assert!(read.unwrap_err().to_string().contains("256 KiB"));

    let members: Vec<_> = (0..60_000).map(|n| format!(r#""a_b{n}":0"#)).collect();
    let data = format!(r#"{{"license":{{{}}}}}"#, members.join(","));
    render(
        Dialect::Keygen,
        &event("license.created", &data),
        &keygen(json!({})),
    )
    .unwrap();
    assert!(started.elapsed() < std::time::Duration::from_secs(10));
}

#[test]
fn options_are_held_to_what_keygen_has() {
    for (options, good) in [
        (json!({"api_version": "1.2"}), false),
        (json!({"api_version": "1.3"}), true),
        (json!({"api_version": "1.8"}), true),
        (json!({"api_version": "1.9"}), false),
        (json!({"api_version": "1.08"}), false),
        (json!({"api_version": "2.3"}), false),
        (json!({"algorithm": "rsa-pss-sha256"}), true),
        (json!({"algorithm": "hmac"}), false),
        (json!({"account_id": ACCOUNT}), true),
        (json!({"account_id": "acme"}), false),
        (json!({"colour": "red"}), false),
    ] {
        let checked = Dialect::Keygen.check_options(options.as_object().unwrap());
        assert_eq!(checked.is_empty(), good, "{options}");
    }
}
