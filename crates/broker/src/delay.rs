//! The ladder of delays: which rung a waiting message takes next.
//!
//! RabbitMQ delays by queues of one fixed time to live each. A rung that overshoots a little ends
//! the wait; otherwise a shorter one comes first and the rest is waited for on another.

use std::time::Duration;

use model::Timestamp;

/// The rungs in seconds: whole seconds at first, then steps of about a quarter, and exactly the
/// delays of the retry schedules.
pub(crate) const RUNGS_S: [u32; 50] = [
    1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 19, 24, 30, 38, 48, 60, 76, 95, 120, 151, 189, 238, 300, 374,
    466, 580, 722, 900, 1_130, 1_430, 1_800, 2_270, 2_860, 3_600, 4_540, 5_720, 7_200, 9_050,
    11_380, 14_320, 18_000, 22_680, 28_570, 36_000, 42_600, 50_400, 60_240, 72_000, 79_200, 86_400,
];

/// How late a message may come whatever its delay: below the second that is promised, because the
/// broker itself takes some of it.
const LATE_MAX: Duration = Duration::from_millis(800);

/// How late it may come for each second of its delay: below the 20 ms that are promised.
const LATE_PER_SECOND: Duration = Duration::from_millis(18);

/// What is left of a wait may be held by the consumer if it is no longer than this.
const HOLD_MAX: Duration = Duration::from_millis(200);

/// What to do with a message that is not due yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    /// Long enough for a timer in the process.
    Hold(Duration),
    /// Put it on the rung of this many seconds.
    Rung(u32),
}

/// The rung for a message that is due in `remaining`, out of a delay of `total`.
///
/// A rung that ends the wait may overshoot by the tolerance; else it is the longest one that is
/// over in time, and the message comes back for the rest.
pub(crate) fn hop(remaining: Duration, total: Duration) -> u32 {
    let tolerance = LATE_MAX.max(LATE_PER_SECOND.mul_f64(total.as_secs_f64()));
    let above = RUNGS_S.partition_point(|rung| seconds(*rung) < remaining);
    match RUNGS_S.get(above) {
        Some(rung) if above == 0 || seconds(*rung) - remaining <= tolerance => *rung,
        _ => RUNGS_S[above.saturating_sub(1)],
    }
}

/// What to do with a message that came out of a rung: `None` if it is due.
pub(crate) fn rest(due_at: Timestamp, total: Duration, now: Timestamp) -> Option<Wait> {
    let remaining = due_at.since(now);
    if remaining.is_zero() {
        None
    } else if remaining <= HOLD_MAX {
        Some(Wait::Hold(remaining))
    } else {
        Some(Wait::Rung(hop(remaining, total)))
    }
}

const fn seconds(rung: u32) -> Duration {
    Duration::from_secs(rung as u64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Rungs a message may climb on its way through seven days.
    const HOPS_MAX: usize = 11;

    /// The bound.
    fn late_max(total: Duration) -> Duration {
        Duration::from_secs(1).max(total.mul_f64(0.02))
    }

    /// Waits as the adapter does, with `transit` lost on each rung; answers lateness and rungs.
    fn climb(total: Duration, transit: Duration) -> (Duration, usize) {
        let due_at = Timestamp::EPOCH.plus(total);
        let mut now = Timestamp::EPOCH;
        let mut hops = 0;
        while let Some(wait) = rest(due_at, total, now) {
            now = match wait {
                Wait::Hold(hold) => now.plus(hold),
                Wait::Rung(rung) => {
                    hops += 1;
                    now.plus(seconds(rung)).plus(transit)
                }
            };
        }
        assert!(now >= due_at, "early");
        (now.since(due_at), hops)
    }

    #[test]
    fn the_ladder_rises_by_a_quarter_or_so_and_has_the_schedules_steps() {
        assert!(RUNGS_S.windows(2).all(|pair| pair[0] < pair[1]));
        assert!(
            RUNGS_S
                .windows(2)
                .skip(5)
                .all(|pair| pair[1] * 100 <= pair[0] * 134)
        );
        for step in [
            1, 2, 3, 4, 5, 60, 300, 900, 1_800, 3_600, 7_200, 18_000, 36_000, 50_400, 72_000,
            86_400,
        ] {
            assert!(RUNGS_S.contains(&step), "{step}");
        }
    }

    #[test]
    fn a_delay_that_is_a_rung_takes_one_hop() {
        let published_a_little_later = Duration::from_millis(5);
        for rung in RUNGS_S {
            let total = seconds(rung);
            assert_eq!(hop(total, total), rung);
            assert_eq!(hop(total - published_a_little_later, total), rung);
        }
    }

    proptest! {
        #[test]
        fn never_early_never_late_beyond_the_bound_and_few_hops(
            total_ms in 1_000_u64..=7 * 24 * 3_600 * 1_000,
            transit_ms in 0_u64..=20,
        ) {
            let total = Duration::from_millis(total_ms);
            let (late, hops) = climb(total, Duration::from_millis(transit_ms));
            prop_assert!(late <= late_max(total), "{late:?} late");
            prop_assert!(hops <= HOPS_MAX, "{hops} hops");
        }

        #[test]
        fn short_delays_keep_the_bound_too(total_ms in 1_u64..=120_000) {
            let total = Duration::from_millis(total_ms);
            let (late, hops) = climb(total, Duration::from_millis(20));
            prop_assert!(late <= late_max(total), "{late:?} late");
            prop_assert!(hops <= 4, "{hops} hops");
        }
    }
}
