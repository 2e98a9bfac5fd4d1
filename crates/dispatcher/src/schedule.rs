//! From an endpoint's policy to what follows an attempt.

use std::time::Duration;

use delivery::{Next, RetrySchedule};
use dialect::Policy;
use model::{Jitter, Outcome, Timestamp};

pub(crate) fn of(policy: &Policy) -> RetrySchedule {
    RetrySchedule {
        delays: policy.schedule_delays.clone(),
        jitter: policy.jitter,
        gone_statuses: policy.gone_statuses,
    }
}

/// Draws the jitter and decides what follows the attempt at `position` that ended `now`.
pub(crate) fn decide(
    position: u32,
    outcome: Outcome,
    schedule: &RetrySchedule,
    now: Timestamp,
) -> Next {
    let delay = schedule.delay_after(position);
    let spread = delay.map_or(Duration::ZERO, |delay| draw(schedule.jitter, delay));
    delivery::decide(outcome, position, schedule, spread, now)
}

fn draw(jitter: Jitter, delay: Duration) -> Duration {
    match jitter {
        Jitter::None => Duration::ZERO,
        Jitter::Tenth => ambient::random_below(delay / 10),
        Jitter::Steps { step_s, steps_max } => {
            let steps = ambient::random_below(Duration::from_secs(u64::from(steps_max) + 1));
            Duration::from_secs(u64::from(step_s) * steps.as_secs())
        }
    }
}

#[cfg(test)]
mod tests {
    use dialect::Dialect;
    use model::{CircuitAction, Endpoint, OnExhausted};

    use super::*;
    use crate::lanes::tests::endpoint;

    const START: Timestamp = Timestamp::from_seconds(1_776_254_400);

    fn policy(dialect: &str) -> Policy {
        assert!(Dialect::from_name(dialect).is_some(), "{dialect}");
        Policy::of(&Endpoint {
            dialect: dialect.to_owned(),
            ..endpoint()
        })
    }

    /// When each attempt of a delivery begins that never succeeds, in seconds after the first.
    /// Attempts take `took`.
    fn attempts(policy: &Policy, took: Duration) -> Vec<u64> {
        let schedule = of(policy);
        let failed = Outcome::Answered {
            status: 500,
            retry_after: None,
        };
        let mut begun = vec![START];
        loop {
            let position = u32::try_from(begun.len()).unwrap();
            let ended = begun[begun.len() - 1].plus(took);
            match decide(position, failed, &schedule, ended) {
                Next::RetryAt(at) => begun.push(at),
                Next::Exhausted => break,
                next @ (Next::Delivered | Next::Gone | Next::Unsendable) => panic!("{next:?}"),
            }
        }
        begun.iter().map(|at| at.since(START).as_secs()).collect()
    }

    /// Delays in seconds, the timeout in seconds, and what the last failure does.
    #[track_caller]
    fn check(dialect: &str, delays_s: &[u64], timeout_s: u64, end: OnExhausted) {
        let policy = policy(dialect);
        assert_eq!(policy.timeout.as_secs(), timeout_s, "{dialect}");
        assert_eq!(policy.on_exhausted, end, "{dialect}");
        let took = 3;
        let times = attempts(&policy, Duration::from_secs(took));
        assert_eq!(times.len(), delays_s.len() + 1, "{dialect}");
        for (pair, delay_s) in times.windows(2).zip(delays_s) {
            let gap = pair[1] - pair[0] - took;
            let longest = match policy.jitter {
                Jitter::None => *delay_s,
                Jitter::Tenth => delay_s + delay_s / 10,
                Jitter::Steps { step_s, steps_max } => delay_s + u64::from(step_s * steps_max),
            };
            assert!(
                (*delay_s..=longest).contains(&gap),
                "{dialect}: {gap} after {delay_s}"
            );
        }
    }

    #[test]
    fn each_dialect_keeps_its_schedule_to_the_end() {
        let fail = OnExhausted::Fail;
        let three_days = [5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400];
        check("keyport", &[60, 300, 1_800], 10, fail);
        check("keyport-docs", &[60, 300, 1_800], 10, fail);
        check("licvalidator", &[60, 300, 1_800], 10, fail);
        check(
            "traffic",
            &[60, 300, 1_800, 7_200, 86_400],
            5,
            OnExhausted::Disable,
        );
        check("getkeymanager", &[60, 300, 900, 3_600], 10, fail);
        check("standard", &three_days, 15, fail);
        check("stripe", &three_days, 15, fail);
        check("cloudevents", &three_days, 15, fail);
        check("github", &[], 10, fail);
        check("slack", &three_days, 10, fail);
        check("discord", &three_days, 10, fail);
        let keygen: Vec<u64> = (0..15_u64).map(|count| count.pow(4) + 600).collect();
        check("keygen", &keygen, 15, fail);
    }

    #[test]
    fn dialects_whose_system_gives_no_jitter_are_exact() {
        for dialect in ["keyport", "licvalidator", "traffic", "getkeymanager"] {
            assert_eq!(policy(dialect).jitter, Jitter::None, "{dialect}");
        }
        let took = Duration::from_secs(5);
        let times = attempts(&policy("traffic"), took);
        assert_eq!(times, [0, 65, 370, 2_175, 9_380, 95_785]);
    }

    #[test]
    fn keygens_fifteen_retries_stay_within_its_bounds() {
        let policy = policy("keygen");
        for _ in 0..200 {
            let times = attempts(&policy, Duration::ZERO);
            assert_eq!(times.len(), 16);
            for (pair, count) in times.windows(2).zip(0_u64..) {
                let gap = pair[1] - pair[0];
                assert!(
                    gap >= count.pow(4) + 600 && gap <= count.pow(4) + 6_000,
                    "{gap}"
                );
                assert_eq!((gap - count.pow(4)) % 600, 0, "whole steps of ten minutes");
            }
            assert!((136_687..=217_687).contains(&times[15]), "{}", times[15]);
        }
    }

    #[test]
    fn what_disables_an_endpoint_is_the_dialects() {
        assert_eq!(policy("keygen").gone_statuses, [410, 530]);
        for dialect in Dialect::ALL.iter().filter(|it| it.name() != "keygen") {
            assert_eq!(
                policy(dialect.name()).gone_statuses,
                [410],
                "{}",
                dialect.name()
            );
        }
        let traffic = policy("traffic");
        assert_eq!(
            (traffic.open_after, traffic.circuit_action),
            (10, CircuitAction::Disable)
        );
    }
}
