use model::Timestamp;

/// Rates above this are treated as this.
pub const RATE_PER_MINUTE_MAX: u32 = 60_000_000;

/// An endpoint's spending of its rate: the generic cell rate algorithm (ITU-T I.371, annex A) with
/// a burst of one second's worth, at least one.
///
/// `spent_until` is the theoretical arrival time: the moment by which what was admitted would have
/// left at an even pace. It lies at most a burst ahead.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RateMeter {
    /// In microseconds since 1970.
    pub spent_until_us: i64,
}

impl RateMeter {
    /// Spends one of `per_minute`, or answers when one will be free, rounded up to the millisecond.
    pub fn admit(&mut self, per_minute: u32, now: Timestamp) -> Result<(), Timestamp> {
        let per_minute = i64::from(per_minute.clamp(1, RATE_PER_MINUTE_MAX));
        let now_us = now.as_micros();
        let interval_us = (59_999_999 + per_minute) / per_minute;
        let burst = (per_minute / 60).max(1);
        // The upper bound matters when the limit was raised or another clock is ahead.
        let spent_until_us = self
            .spent_until_us
            .clamp(now_us, now_us + burst * interval_us);
        let free_at_us = spent_until_us - (burst - 1) * interval_us;
        if free_at_us > now_us {
            return Err(Timestamp::from_millis((free_at_us + 999).div_euclid(1_000)));
        }
        self.spent_until_us = spent_until_us + interval_us;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    const START: Timestamp = Timestamp::from_seconds(1_776_254_400);

    fn admitted(meter: &mut RateMeter, per_minute: u32, now: Timestamp, tries: u32) -> u32 {
        (0..tries)
            .map(|_| u32::from(meter.admit(per_minute, now).is_ok()))
            .sum()
    }

    #[test]
    fn admits_a_second_s_worth_at_once_and_then_at_the_rate() {
        #[track_caller]
        fn check(per_second: u32) {
            let mut meter = RateMeter::default();
            assert_eq!(
                admitted(&mut meter, 60 * per_second, START, per_second + 5),
                per_second
            );
            let free_at = meter.admit(60 * per_second, START).unwrap_err();
            assert!(free_at > START);
            assert!(meter.admit(60 * per_second, free_at).is_ok());
            let rested = START.plus(Duration::from_secs(3));
            assert_eq!(
                admitted(&mut meter, 60 * per_second, rested, per_second + 5),
                per_second
            );
        }
        for per_second in [1, 2, 3, 7, 10, 100, 999, 1_000] {
            check(per_second);
        }
    }

    #[test]
    fn less_than_one_a_second_is_one_at_a_time() {
        for (per_minute, interval) in [(1, 60_000), (30, 2_000), (59, 1_017), (100, 600)] {
            let mut meter = RateMeter::default();
            assert_eq!(admitted(&mut meter, per_minute, START, 5), 1);
            let free_at = meter.admit(per_minute, START).unwrap_err();
            assert_eq!(free_at.since(START), Duration::from_millis(interval));
        }
    }

    #[test]
    fn a_refusal_spends_nothing() {
        let mut meter = RateMeter::default();
        assert_eq!(admitted(&mut meter, 600, START, 1_000), 10);
        let later = START.plus(Duration::from_millis(100));
        assert_eq!(admitted(&mut meter, 600, later, 1_000), 1);
    }

    #[test]
    fn a_clock_that_was_ahead_costs_a_second_at_most() {
        let mut meter = RateMeter::default();
        let ahead = START.plus(Duration::from_secs(3_600));
        assert_eq!(admitted(&mut meter, 300, ahead, 10), 5);
        let free_at = meter.admit(300, START).unwrap_err();
        assert!(free_at.since(START) <= Duration::from_secs(1), "{free_at}");
    }

    #[test]
    fn rates_beyond_the_maximum_count_as_the_maximum() {
        let mut high = RateMeter::default();
        let mut maximal = RateMeter::default();
        for _ in 0..3 {
            assert!(high.admit(u32::MAX, START).is_ok());
            assert!(maximal.admit(RATE_PER_MINUTE_MAX, START).is_ok());
        }
        assert_eq!(high, maximal);
    }

    proptest! {
        #[test]
        fn no_span_of_time_holds_more_than_the_rate_and_the_burst(
            per_minute in 1_u32..12_000,
            steps in prop::collection::vec(0_u64..50, 1..400),
        ) {
            let per_second = f64::from(per_minute) / 60.0;
            let mut meter = RateMeter::default();
            let mut now = START;
            let mut count = 0_u32;
            for step in steps {
                now = now.plus(Duration::from_millis(step));
                count += u32::from(meter.admit(per_minute, now).is_ok());
                let allowed = per_second * now.since(START).as_secs_f64() + per_second.max(1.0);
                prop_assert!(f64::from(count) <= allowed + 1e-6, "{count} by {now}");
            }
        }
    }
}
