use dialect::Dialect;
use serde_json::{Value, json};

/// Where the options are wrong, and how.
fn mistakes(dialect: Dialect, options: &Value) -> Vec<(String, String)> {
    let errors = dialect.check_options(options.as_object().unwrap());
    errors
        .into_iter()
        .map(|error| (error.pointer, error.detail))
        .collect()
}

#[track_caller]
fn check(dialect: Dialect, options: &Value, pointers: &[&str]) {
    let found: Vec<_> = mistakes(dialect, options)
        .into_iter()
        .map(|(pointer, _)| pointer)
        .collect();
    let pointers: Vec<_> = pointers
        .iter()
        .map(|it| format!("/dialect_options/{it}"))
        .collect();
    assert_eq!(found, pointers, "{options}");
}

#[test]
fn every_wrong_option_is_named_where_it_stands() {
    let options = json!({
        "mode": "carrier pigeon", "handshake": 1, "user_agent": "é", "a/b~": 1,
        "batch": {"max_events": 101, "max_wait_ms": 0},
    });
    let pointers = [
        "a~1b~0",
        "handshake",
        "mode",
        "user_agent",
        "batch/max_events",
        "batch/max_wait_ms",
    ];
    check(Dialect::CloudEvents, &options, &pointers);
    let options = json!({"mode": "batch", "batch": {"max_events": "ten"}});
    check(Dialect::CloudEvents, &options, &["batch/max_events"]);
    let options = json!({"batch": {"events": 10}, "unmapped": "perhaps"});
    check(Dialect::Traffic, &options, &["batch/events", "unmapped"]);
    check(
        Dialect::Keygen,
        &json!({"api_version": "1.9"}),
        &["api_version"],
    );
    let options = json!({"handshake": true, "user_agent": "Acme/1"});
    check(Dialect::CloudEvents, &options, &["handshake"]);
}

#[test]
fn an_option_of_another_dialect_is_answered_with_those_there_are() {
    let found = mistakes(Dialect::Standard, &json!({"mode": "binary"}));
    let [(pointer, detail)] = found.as_slice() else {
        panic!("{found:?}")
    };
    assert_eq!(pointer, "/dialect_options/mode");
    assert_eq!(
        detail,
        "is no option of the dialect: it has unmapped, user_agent, svix_headers, ed25519"
    );
    for dialect in Dialect::ALL {
        let has = |name: &str| dialect.options().any(|option| option.name == name);
        for (name, value) in [("extras", json!(true)), ("batch", json!({}))] {
            let found = mistakes(*dialect, &json!({name: value}));
            let refused = found.iter().any(|(_, why)| why.starts_with("is no option"));
            assert_eq!(refused, !has(name), "{name} of {}", dialect.name());
        }
    }
    let with_extras = Dialect::ALL
        .iter()
        .filter(|it| it.options().any(|option| option.name == "extras"));
    assert_eq!(with_extras.collect::<Vec<_>>(), [&Dialect::GetKeyManager]);
}
