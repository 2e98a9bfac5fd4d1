use dialect::{Dialect, ParseError, Taker, VerifyError};
use model::{Environment, Event};
use serde_json::{Value, json};

use crate::fixture::{NOW, endpoint, event, received, render, verify};

const KEY: &str = "KP-ABCD-EFGH-IJKL";
const DATA: &str = r#"{
    "license":  {"id": "lic_7f3a", "key": "KP-ABCD-EFGH-IJKL", "name": "Production License",
                 "plan": "professional", "expires_at": "2027-04-15T00:00:00.000Z",
                 "features": ["analytics"], "current_activations": 3, "max_activations": 10,
                 "metadata": {}},
    "customer": {"id": "cus_9", "name": "Acme", "email": "zoë@example.com"},
    "activation": {"id": "act_1", "fingerprint": "device-abc-123", "device_name": "MacBook Pro",
                   "ip_address": "203.0.113.9", "domain": "app.customer.com"},
    "reason": "chargeback", "actor": {"type": "user", "id": "usr_1"}
}"#;

fn message(dialect: Dialect, event: &Event) -> String {
    let rendered = render(dialect, event, &endpoint(dialect, &[])).unwrap();
    let mut body: Value = serde_json::from_slice(&rendered.body).unwrap();
    assert_eq!(body.as_object().unwrap().len(), 1, "{body}");
    let member = match dialect {
        Dialect::Discord => "content",
        _ => "text",
    };
    body[member].take().as_str().unwrap().to_owned()
}

fn slack(event_type: &str, data: &Value) -> String {
    message(Dialect::Slack, &event(event_type, &data.to_string()))
}

fn discord(event_type: &str, data: &Value) -> String {
    message(Dialect::Discord, &event(event_type, &data.to_string()))
}

#[test]
fn an_event_is_told_in_words() {
    let mut event = event("license.expiring_soon", DATA);
    event.product = Some("prod_42".to_owned());
    event.environment = Environment::Staging;
    let lines = "License: Production License (KP-****-****-IJKL)
Customer: Acme (zoë@example.com)
Product: prod_42
Plan: professional
Device: MacBook Pro (203.0.113.9)
Domain: app.customer.com
Activations: 3 of 10
Expires: 2027-04-15 00:00 UTC
Reason: chargeback
By: usr_1 (user)
Environment: staging";
    assert_eq!(
        message(Dialect::Slack, &event),
        format!("*License expiring soon*\n{lines}")
    );
    assert_eq!(
        message(Dialect::Discord, &event),
        format!("**License expiring soon**\n{lines}")
    );
}

#[test]
fn what_the_event_lacks_is_left_out() {
    for (event_type, data, expected) in [
        ("license.ips_reset", json!({}), "*License IPs reset*"),
        (
            "license.ip_blocked",
            json!({"license": {"id": "lic_1"}, "activation": {"fingerprint": "f-1"}, "reason": null}),
            "*License IP blocked*\nLicense: lic_1\nDevice: f-1",
        ),
        (
            "machine.heartbeat.dead",
            json!({"machine": {"id": "m-1", "name": "build-01"}, "license": {"key": KEY}}),
            "*Machine heartbeat dead*\nAbout: build-01\nLicense: KP-****-****-IJKL",
        ),
        (
            "license.transferred",
            json!({"previous_customer": {"email": "old@x.example"}, "customer": {"id": 7}}),
            "*License transferred*\nBefore: old@x.example",
        ),
        (
            "license.bulk_revoked",
            json!({"licenses": [{"id": "a", "key": KEY}, {"id": "b"}], "reason": {"code": 1}}),
            "*License bulk revoked*\nLicenses: 2",
        ),
        (
            "product.created",
            json!({"product": {"id": "prod_1", "name": "Tool"}}),
            "*Product created*\nProduct: Tool",
        ),
        (
            "release.published",
            json!({"release": {"id": "r", "name": "Tool", "version": "1.2.3"}}),
            "*Release published*\nAbout: Tool (1.2.3)",
        ),
        (
            "webhook.test",
            json!({"message": "Test event", "endpoint": {"id": "ep_1"}}),
            "*Webhook test*\nMessage: Test event",
        ),
        (
            "seat.assigned",
            json!({"seat": {"id": 5}}),
            "*Seat assigned*\nAbout: 5",
        ),
    ] {
        assert_eq!(slack(event_type, &data), expected);
    }
}

#[test]
fn every_event_is_a_readable_message_without_keys() {
    for entry in model::CATALOG {
        let subject = entry.name.split('.').next().unwrap();
        let mut data: Value = serde_json::from_str(DATA).unwrap();
        data["key"] = json!({"id": "k-1", "key": KEY});
        data["licenses"] = json!([{"key": KEY}]);
        data["reason"] = json!(format!("{KEY} was shared"));
        if data.get(subject).is_none() {
            data[subject] = json!({"id": "x-1", "license_key": KEY});
        }
        for data in [
            data,
            json!({}),
            json!({"licenseKey": KEY, "license_key": KEY}),
        ] {
            for text in [slack(entry.name, &data), discord(entry.name, &data)] {
                let title = text.lines().next().unwrap();
                let words = title.trim_matches('*').to_lowercase();
                assert_eq!(words, entry.name.replace(['.', '_'], " "));
                for bad in ["{", "}", "\"", "null", "ABCD"] {
                    assert!(!text.contains(bad), "{text}");
                }
            }
        }
    }
}

#[test]
fn a_key_is_hidden_in_other_values_unless_it_may_be_any_word() {
    let told = |key: &str| {
        let data = json!({"license": {"key": key}, "reason": format!("it was {key} again")});
        slack("license.created", &data)
    };
    let title = "*License created*\nLicense: ****\nReason: it was";
    assert_eq!(told("secret"), format!("{title} **** again"));
    assert_eq!(told("again"), format!("{title} again again"));
}

#[test]
fn nobody_is_called_by_what_a_customer_is_named() {
    let named = |name: &str| json!({"customer": {"name": name}});
    for (name, slack_shows, discord_shows) in [
        (
            "<!channel> & co",
            "&lt;!channel&gt; &amp; co",
            "<!channel> & co",
        ),
        ("@everyone", "@everyone", "@\u{200b}everyone"),
        ("@here", "@here", "@\u{200b}here"),
        (
            "<@&123> <@!5>",
            "&lt;@&amp;123&gt; &lt;@!5&gt;",
            "<\u{200b}@&123> <\u{200b}@!5>",
        ),
        ("<@everyone", "&lt;@everyone", "<\u{200b}@\u{200b}everyone"),
        ("[pay](http://x)", "[pay](http://x)", "\\[pay](http://x)"),
        (
            "\\[pay](http://x)",
            "\\[pay](http://x)",
            "\\\\\\[pay](http://x)",
        ),
        ("a\nLicense: b\u{7}", "a License: b", "a License: b"),
        (" ", "", ""),
    ] {
        let line = |shown: &str| match shown {
            "" => String::new(),
            shown => format!("\nCustomer: {shown}"),
        };
        let text = slack("license.created", &named(name));
        assert_eq!(text, format!("*License created*{}", line(slack_shows)));
        let text = discord("license.created", &named(name));
        assert_eq!(text, format!("**License created**{}", line(discord_shows)));
    }
}

#[test]
fn values_and_messages_are_bounded() {
    let value = |length: usize| json!({"reason": "é".repeat(length)});
    let shown = |length: usize| slack("license.created", &value(length)).chars().count();
    let around = "*License created*\nReason: ".chars().count();
    assert_eq!(shown(120), around + 120);
    assert_eq!(shown(121), around + 121);
    assert_eq!(shown(5_000), around + 121);

    let long = "😀[".repeat(100);
    let data = json!({
        "license": {"name": long, "plan": long, "key": KEY, "expires_at": long},
        "customer": {"name": long, "email": long},
        "previous_customer": {"name": long, "email": long},
        "product": {"name": long, "version": long},
        "activation": {"device_name": long, "ip_address": long, "domain": long},
        "reason": long, "actor": {"id": long, "type": long}, "message": long,
    });
    let text = discord("license.created", &data);
    let units = text.encode_utf16().count();
    assert!((1_999..=2_000).contains(&units), "{units}");
    assert!(text.ends_with('…'));
}

#[test]
fn messages_carry_no_signature_and_are_not_read_back() {
    for dialect in [Dialect::Slack, Dialect::Discord] {
        let rendered = render(
            dialect,
            &event("license.created", DATA),
            &endpoint(dialect, &[]),
        );
        let rendered = rendered.unwrap();
        assert_eq!(
            rendered.headers,
            [("content-type", "application/json".to_owned())]
        );
        assert_eq!(
            verify(dialect, "any", &rendered, NOW),
            Err(VerifyError::Unsigned)
        );
        let headers = |_: &str| None;
        let taker = Taker {
            knows: &|_| true,
            environment: None,
        };
        let read = dialect.parse(&received(&headers, &rendered.body, NOW), &taker);
        assert!(matches!(read, Err(ParseError::BadBody(_))));
        assert!(dialect.check_secret("").is_ok());
    }
}
