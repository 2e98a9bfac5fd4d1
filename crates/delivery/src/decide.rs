use std::time::Duration;

use model::{ErrorClass, Outcome, Timestamp};

use crate::RetrySchedule;

/// How far `Retry-After` can postpone the next attempt.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// What follows an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    Delivered,
    RetryAt(Timestamp),
    /// That was the last attempt of the schedule.
    Exhausted,
    /// 410, or what else the schedule says: the endpoint wants nothing more, ever.
    Gone,
    /// Nothing could be sent, and no later attempt could. The endpoint is not to blame.
    Unsendable,
}

/// Decides what follows the attempt at `position` of its schedule (from 1), which ended `now`.
///
/// A `Retry-After` on 429 or 503 can only postpone, and by no more than [`RETRY_AFTER_MAX`].
/// `spread` is the jitter the caller drew; it lengthens the delay by no more than the schedule
/// says.
pub fn decide(
    outcome: Outcome,
    position: u32,
    schedule: &RetrySchedule,
    spread: Duration,
    now: Timestamp,
) -> Next {
    let hint = match outcome {
        Outcome::Answered {
            status: 200..=299, ..
        } => return Next::Delivered,
        Outcome::Answered { status, .. } if schedule.gone_statuses.contains(&status) => {
            return Next::Gone;
        }
        Outcome::Answered {
            status: 429 | 503,
            retry_after,
        } => retry_after,
        Outcome::Unanswered(ErrorClass::RenderFailed) => return Next::Unsendable,
        Outcome::Answered { .. } | Outcome::Unanswered(_) => None,
    };
    let Some(delay) = schedule.delay_after(position) else {
        return Next::Exhausted;
    };
    let delay = delay + spread.min(schedule.jitter.longest(delay));
    let hint = hint.unwrap_or_default().min(RETRY_AFTER_MAX);
    Next::RetryAt(now.plus(delay.max(hint)))
}

#[cfg(test)]
mod tests {
    use model::Jitter;
    use proptest::prelude::*;

    use super::*;

    const NOW: Timestamp = Timestamp::from_seconds(1_776_254_400);

    fn schedule(delays_s: &[u64]) -> RetrySchedule {
        RetrySchedule {
            delays: delays_s.iter().map(|&s| Duration::from_secs(s)).collect(),
            jitter: Jitter::Tenth,
            gone_statuses: &[410, 530],
        }
    }

    fn answered(status: u16) -> Outcome {
        Outcome::Answered {
            status,
            retry_after: None,
        }
    }

    fn hinted(status: u16, retry_after_s: u64) -> Outcome {
        Outcome::Answered {
            status,
            retry_after: Some(Duration::from_secs(retry_after_s)),
        }
    }

    #[test]
    fn what_follows_an_attempt() {
        #[track_caller]
        fn check(outcome: Outcome, position: u32, expected: Next) {
            let next = decide(
                outcome,
                position,
                &schedule(&[60, 300]),
                Duration::ZERO,
                NOW,
            );
            assert_eq!(next, expected, "{outcome:?} at {position}");
        }
        let retry_in = |seconds| Next::RetryAt(NOW.plus(Duration::from_secs(seconds)));
        check(answered(200), 1, Next::Delivered);
        check(answered(299), 3, Next::Delivered);
        check(answered(199), 1, retry_in(60));
        check(answered(301), 1, retry_in(60));
        check(answered(404), 1, retry_in(60));
        check(answered(500), 2, retry_in(300));
        check(answered(500), 3, Next::Exhausted);
        check(answered(410), 1, Next::Gone);
        check(answered(530), 1, Next::Gone);
        check(Outcome::Unanswered(ErrorClass::Timeout), 1, retry_in(60));
        check(Outcome::Unanswered(ErrorClass::Timeout), 3, Next::Exhausted);
        let unsendable = Outcome::Unanswered(ErrorClass::RenderFailed);
        check(unsendable, 1, Next::Unsendable);
        check(unsendable, 3, Next::Unsendable);
        check(hinted(429, 10), 1, retry_in(60));
        check(hinted(429, 61), 1, retry_in(61));
        check(hinted(503, 86_400), 1, retry_in(86_400));
        check(hinted(503, 86_401), 1, retry_in(86_400));
        check(hinted(503, 61), 3, Next::Exhausted);
        check(hinted(500, 4_000), 1, retry_in(60));
    }

    #[test]
    fn attempts_have_no_position_before_the_first() {
        assert_eq!(schedule(&[60]).delay_after(0), None);
    }

    fn any_failure() -> impl Strategy<Value = Outcome> {
        let hint = prop::option::of((0_u64..1_000_000).prop_map(Duration::from_secs));
        let status = (300_u16..600).prop_filter("final", |status| !matches!(status, 410 | 530));
        prop_oneof![
            (status, hint).prop_map(|(status, retry_after)| Outcome::Answered {
                status,
                retry_after
            }),
            prop::sample::select(ErrorClass::ALL)
                .prop_filter("final", |class| *class != ErrorClass::RenderFailed)
                .prop_map(Outcome::Unanswered),
        ]
    }

    fn any_schedule() -> impl Strategy<Value = RetrySchedule> {
        prop::collection::vec(0_u64..700_000, 0..20).prop_map(|delays| schedule(&delays))
    }

    fn retry_at(next: Next) -> Timestamp {
        match next {
            Next::RetryAt(at) => at,
            Next::Delivered | Next::Exhausted | Next::Gone | Next::Unsendable => {
                panic!("not a retry: {next:?}")
            }
        }
    }

    proptest! {
        #[test]
        fn retries_end(outcomes in prop::collection::vec(any_failure(), 25), schedule in any_schedule()) {
            let mut attempts = 0_u32;
            for outcome in outcomes {
                attempts += 1;
                match decide(outcome, attempts, &schedule, Duration::ZERO, NOW) {
                    Next::RetryAt(_) => {}
                    Next::Exhausted => break,
                    next @ (Next::Delivered | Next::Gone | Next::Unsendable) => {
                        prop_assert!(false, "{next:?}");
                    }
                }
            }
            prop_assert_eq!(attempts as usize, schedule.delays.len() + 1);
        }

        #[test]
        fn retry_after_only_postpones(
            status in prop::sample::select(vec![429_u16, 503]),
            hint_s in 0_u64..1_000_000,
            delay_s in 0_u64..700_000,
        ) {
            let schedule = schedule(&[delay_s]);
            let plain = retry_at(decide(answered(status), 1, &schedule, Duration::ZERO, NOW));
            let hinted = retry_at(decide(hinted(status, hint_s), 1, &schedule, Duration::ZERO, NOW));
            prop_assert!(hinted >= plain);
            prop_assert!(hinted <= plain.max(NOW.plus(RETRY_AFTER_MAX)));
        }

        #[test]
        fn jitter_only_lengthens_and_by_at_most_a_tenth(
            outcome in any_failure(),
            delay_s in 0_u64..700_000,
            spread_s in 0_u64..1_000_000,
        ) {
            let schedule = schedule(&[delay_s]);
            let plain = retry_at(decide(outcome, 1, &schedule, Duration::ZERO, NOW));
            let spread = Duration::from_secs(spread_s);
            let spread = retry_at(decide(outcome, 1, &schedule, spread, NOW));
            prop_assert!(spread >= plain);
            prop_assert!(spread.since(plain) <= Duration::from_secs(delay_s) / 10);
        }
    }
}
