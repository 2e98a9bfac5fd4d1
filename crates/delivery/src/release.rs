/// How many held deliveries one round may release at most.
pub const RELEASE_MAX: u32 = 1_024;

/// How fast what was held behind a circuit goes out once it has closed: one, then two, then four,
/// so that an endpoint which is just back is not knocked over by everything at once.
///
/// ```
/// use delivery::{Ramp, Round};
///
/// let ramp = Ramp::default();
/// assert_eq!(ramp.size(), 1);
/// let ramp = ramp.after(Round { succeeded: 1, failed: 0 });
/// assert_eq!(ramp.size(), 2);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ramp {
    size: u32,
}

/// What became of the deliveries of a round, or of those that are finished so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Round {
    pub succeeded: u32,
    pub failed: u32,
}

impl Default for Ramp {
    fn default() -> Self {
        Self { size: 1 }
    }
}

impl Ramp {
    /// How many may be released in the next round.
    pub const fn size(self) -> u32 {
        self.size
    }

    /// The ramp after a round: twice as many if all went well, half if some failed, one if most
    /// did. A round in which nothing finished says nothing.
    #[must_use]
    pub fn after(self, round: Round) -> Self {
        let size = match round {
            Round {
                succeeded: 0,
                failed: 0,
            } => self.size,
            Round {
                succeeded: _,
                failed: 0,
            } => (self.size * 2).min(RELEASE_MAX),
            Round { succeeded, failed } if failed < succeeded => (self.size / 2).max(1),
            Round { .. } => 1,
        };
        Self { size }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn doubles_halves_and_starts_over() {
        #[track_caller]
        fn check(size: u32, succeeded: u32, failed: u32, expected: u32) {
            assert_eq!(
                Ramp { size }.after(Round { succeeded, failed }).size(),
                expected
            );
        }
        check(1, 1, 0, 2);
        check(8, 8, 0, 16);
        check(8, 0, 0, 8);
        check(8, 7, 1, 4);
        check(1, 2, 1, 1);
        check(8, 4, 4, 1);
        check(8, 0, 1, 1);
        check(RELEASE_MAX / 2, 1, 0, RELEASE_MAX);
        check(RELEASE_MAX, 1, 0, RELEASE_MAX);
    }

    #[test]
    fn reaches_its_maximum_in_ten_good_rounds() {
        let good = Round {
            succeeded: 1,
            failed: 0,
        };
        let ramp = (0..10).fold(Ramp::default(), |ramp, _| ramp.after(good));
        assert_eq!(ramp.size(), RELEASE_MAX);
    }

    proptest! {
        #[test]
        fn a_round_always_releases_something_and_never_too_much(
            rounds in prop::collection::vec((0_u32..2_000, 0_u32..2_000), 0..50),
        ) {
            let mut ramp = Ramp::default();
            for (succeeded, failed) in rounds {
                ramp = ramp.after(Round { succeeded, failed });
                prop_assert!((1..=RELEASE_MAX).contains(&ramp.size()));
            }
        }
    }
}
