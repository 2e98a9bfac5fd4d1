use std::time::Duration;

/// How long a delivery may wait in the process for a place among its endpoint's requests; what
/// would wait longer is held in the store, where it occupies nothing.
pub const WAIT_MAX: Duration = Duration::from_millis(250);
/// An endpoint whose oldest request is unanswered for longer than this has stalled.
pub const STALLED_AFTER: Duration = Duration::from_secs(1);
/// How many requests a stalled endpoint may have in flight.
pub const STALLED_IN_FLIGHT_MAX: usize = 4;

/// What stands before an endpoint at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LineLoad {
    /// Deliveries that wait in the process already.
    pub waiting: usize,
    pub in_flight: usize,
    pub max_in_flight: usize,
    /// How long recent exchanges took, as a moving average.
    pub service_time: Duration,
    /// How long the oldest request in flight has been unanswered.
    pub oldest_in_flight: Duration,
}

/// Whether one more delivery may join the line: at once if there is a place and nobody waits, else
/// if its expected wait is at most [`WAIT_MAX`].
///
/// The average knows nothing yet of an endpoint that has just begun to hang; the oldest request
/// does.
pub fn line_admits(line: LineLoad) -> bool {
    if line.waiting == 0 && line.in_flight < line.max_in_flight {
        return true;
    }
    let places = line.max_in_flight.max(1) as u128;
    let turn = line.service_time.max(line.oldest_in_flight).as_nanos();
    let turns = line.waiting as u128 + 1;
    turn.saturating_mul(turns) <= WAIT_MAX.as_nanos() * places
}

/// How many requests an endpoint may have in flight, given how it answers at the moment.
pub fn in_flight_limit(configured: usize, oldest_in_flight: Duration) -> usize {
    if oldest_in_flight > STALLED_AFTER {
        configured.min(STALLED_IN_FLIGHT_MAX)
    } else {
        configured
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_delivery_waits_only_if_its_turn_comes_soon() {
        #[track_caller]
        fn check(waiting: usize, max_in_flight: usize, service: u64, oldest: u64, expected: bool) {
            let line = LineLoad {
                waiting,
                in_flight: max_in_flight,
                max_in_flight,
                service_time: ms(service),
                oldest_in_flight: ms(oldest),
            };
            assert_eq!(line_admits(line), expected, "{line:?}");
        }
        check(0, 10, 5, 0, true);
        check(499, 10, 5, 0, true);
        check(500, 10, 5, 0, false);
        check(0, 10, 2_500, 0, true);
        check(0, 10, 2_501, 0, false);
        check(0, 10, 5, 2_501, false);
        check(99, 10, 5, 25, true);
        check(100, 10, 5, 25, false);
        check(0, 1, 250, 250, true);
        check(0, 1, 251, 0, false);
    }

    #[test]
    fn a_free_place_admits_however_slow_the_endpoint_is() {
        let slow = LineLoad {
            waiting: 0,
            in_flight: 3,
            max_in_flight: 4,
            service_time: ms(30_000),
            oldest_in_flight: ms(30_000),
        };
        assert!(line_admits(slow));
        assert!(!line_admits(LineLoad {
            in_flight: 4,
            ..slow
        }));
        assert!(!line_admits(LineLoad { waiting: 1, ..slow }));
    }

    #[test]
    fn a_stalled_endpoint_gets_few_requests() {
        #[track_caller]
        fn check(configured: usize, oldest: u64, expected: usize) {
            assert_eq!(in_flight_limit(configured, ms(oldest)), expected);
        }
        check(50, 0, 50);
        check(50, 1_000, 50);
        check(50, 1_001, STALLED_IN_FLIGHT_MAX);
        check(2, 60_000, 2);
    }

    proptest! {
        #[test]
        fn whoever_is_admitted_behind_others_would_be_admitted_before_them(
            waiting in 1_usize..100,
            max_in_flight in 1_usize..100,
            service in 0_u64..400,
            oldest in 0_u64..400,
        ) {
            let line = LineLoad {
                waiting,
                in_flight: max_in_flight,
                max_in_flight,
                service_time: ms(service),
                oldest_in_flight: ms(oldest),
            };
            let shorter = LineLoad { waiting: waiting - 1, ..line };
            prop_assert!(line_admits(shorter) || !line_admits(line));
        }

        #[test]
        fn no_load_overflows(waiting: usize, in_flight: usize, max_in_flight: usize) {
            let line = LineLoad {
                waiting,
                in_flight,
                max_in_flight,
                service_time: Duration::MAX,
                oldest_in_flight: Duration::ZERO,
            };
            line_admits(line);
        }
    }
}
