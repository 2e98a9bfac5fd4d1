use std::time::Duration;

use dialect::{
    DELAY_S_MAX, DELAY_S_MIN, DELAYS_MAX, Dialect, IN_FLIGHT_MAX, MAX_IN_FLIGHT_DEFAULT,
    OPEN_AFTER_MAX, Overrides, Policy, RATE_PER_SECOND_MAX, TIMEOUT_S_MAX, TIMEOUT_S_MIN,
    check_policy,
};
use model::{Circuit, CircuitAction, Jitter, OnExhausted, RateLimit, Retry};

use crate::fixture::{SECRET, endpoint};

#[test]
fn an_endpoint_follows_its_dialect_until_it_says_otherwise() {
    let mut endpoint = endpoint(Dialect::KeyPort, &[(SECRET, None)]);
    let minutes = |m: u64| Duration::from_secs(60 * m);
    let expected = Policy {
        schedule_delays: vec![minutes(1), minutes(5), minutes(30)],
        jitter: Jitter::None,
        gone_statuses: &[410],
        timeout: Duration::from_secs(10),
        open_after: 10,
        circuit_action: CircuitAction::Hold,
        on_exhausted: OnExhausted::Fail,
        max_in_flight: MAX_IN_FLIGHT_DEFAULT,
        requests_max: MAX_IN_FLIGHT_DEFAULT,
        batch: None,
        rate_per_minute: None,
    };
    assert_eq!(Policy::of(&endpoint), expected);

    endpoint.retry = Some(Retry { delays_s: vec![] });
    endpoint.timeout_s = Some(3);
    endpoint.circuit = Some(Circuit {
        open_after: Some(4),
        action: None,
    });
    endpoint.on_exhausted = Some(OnExhausted::Disable);
    endpoint.max_in_flight = Some(5);
    endpoint.rate_limit = Some(RateLimit { per_second: 6 });
    let expected = Policy {
        schedule_delays: vec![],
        timeout: Duration::from_secs(3),
        open_after: 4,
        on_exhausted: OnExhausted::Disable,
        max_in_flight: 5,
        requests_max: 5,
        rate_per_minute: Some(360),
        ..expected
    };
    assert_eq!(Policy::of(&endpoint), expected);
}

#[test]
fn no_more_deliveries_are_claimed_than_batches_can_take_in_time() {
    let mut endpoint = endpoint(Dialect::CloudEvents, &[(SECRET, None)]);
    let options = r#"{"mode": "batch", "batch": {"max_events": 10, "max_wait_ms": 2000}}"#;
    endpoint.dialect_options = serde_json::from_str(options).unwrap();
    endpoint.timeout_s = Some(5);
    for (requests, deliveries) in [(1, 20), (2, 30), (3, 40), (100, 40)] {
        endpoint.max_in_flight = Some(requests);
        assert_eq!(
            Policy::of(&endpoint).max_in_flight,
            deliveries,
            "{requests}"
        );
    }
    let policy = Policy::of(&endpoint);
    // Waiting for a request, gathering, the request itself.
    assert_eq!(policy.exchange_max(), Duration::from_secs(5 + 2 + 5));
}

#[test]
fn the_schedules_are_the_published_ones() {
    let profile = Dialect::Standard.profile();
    let delays_s = [5, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400];
    assert_eq!((profile.delays_s, profile.timeout_s), (&delays_s[..], 15));
    let profile = Dialect::KeyPort.profile();
    assert_eq!(
        (profile.delays_s, profile.timeout_s),
        (&[60, 300, 1800][..], 10)
    );
}

/// The pointers of what is refused when `value` is put into `overrides`.
fn check(min: u32, max: u32, pointer: &str, put: impl Fn(u32) -> Overrides<'static>) {
    for good in [min, max] {
        assert_eq!(check_policy(&put(good)), [], "{pointer} {good}");
    }
    for bad in [min - 1, max + 1] {
        let errors = check_policy(&put(bad));
        assert_eq!(errors.len(), 1, "{pointer} {bad}");
        assert_eq!(errors[0].pointer, pointer);
        assert_eq!(errors[0].detail, format!("must be {min} to {max}"));
    }
}

#[test]
fn overrides_are_held_to_their_bounds() {
    let none = Overrides::default();
    check(TIMEOUT_S_MIN, TIMEOUT_S_MAX, "/timeout_s", |s| Overrides {
        timeout_s: Some(s),
        ..none
    });
    check(1, IN_FLIGHT_MAX, "/max_in_flight", |n| Overrides {
        max_in_flight: Some(n),
        ..none
    });
    check(
        1,
        RATE_PER_SECOND_MAX,
        "/rate_limit/per_second",
        |per_second| Overrides {
            rate_limit: Some(RateLimit { per_second }),
            ..none
        },
    );
    check(1, OPEN_AFTER_MAX, "/circuit/open_after", |n| Overrides {
        circuit: Some(Circuit {
            open_after: Some(n),
            action: None,
        }),
        ..none
    });
}

#[test]
fn schedules_are_bounded_in_length_and_in_each_delay() {
    let errors = |delays_s: Vec<u32>| {
        let retry = Retry { delays_s };
        check_policy(&Overrides {
            retry: Some(&retry),
            ..Overrides::default()
        })
    };
    assert_eq!(errors(vec![DELAY_S_MIN; DELAYS_MAX]), []);
    assert_eq!(errors(vec![DELAY_S_MAX]), []);
    assert_eq!(
        errors(vec![1; DELAYS_MAX + 1])[0].pointer,
        "/retry/delays_s"
    );
    assert_eq!(errors(vec![1, 0])[0].pointer, "/retry/delays_s/1");
    assert_eq!(
        errors(vec![DELAY_S_MAX + 1])[0].pointer,
        "/retry/delays_s/0"
    );
}

#[test]
fn dialects_have_the_habits_of_their_systems() {
    let minutes = |delays: &[u32]| delays.iter().map(|m| m * 60).collect::<Vec<_>>();
    for (dialect, delays_s, timeout_s) in [
        (Dialect::KeyPortDocs, minutes(&[1, 5, 30]), 10),
        (Dialect::Traffic, minutes(&[1, 5, 30, 120, 1440]), 5),
        (Dialect::GetKeyManager, minutes(&[1, 5, 15, 60]), 10),
        (Dialect::GitHub, Vec::new(), 10),
    ] {
        let profile = dialect.profile();
        assert_eq!(profile.delays_s, delays_s, "{}", profile.name);
        assert_eq!(profile.timeout_s, timeout_s, "{}", profile.name);
    }
    let standard = Dialect::Standard.profile().delays_s;
    for (dialect, timeout_s) in [
        (Dialect::Stripe, 15),
        (Dialect::Slack, 10),
        (Dialect::Discord, 10),
    ] {
        let profile = dialect.profile();
        assert_eq!(profile.delays_s, standard, "{}", profile.name);
        assert_eq!(profile.timeout_s, timeout_s, "{}", profile.name);
    }
    for dialect in Dialect::ALL {
        let profile = dialect.profile();
        let (exhausted, open) = match dialect {
            Dialect::Traffic => (OnExhausted::Disable, CircuitAction::Disable),
            _ => (OnExhausted::Fail, CircuitAction::Hold),
        };
        assert_eq!(profile.on_exhausted, exhausted, "{}", profile.name);
        assert_eq!(profile.circuit_action, open, "{}", profile.name);
        assert_eq!(profile.open_after, 10, "{}", profile.name);
    }
}
