//! The wall clock and the random numbers, read here and nowhere else: everything below the rim
//! takes `now` and `random` as arguments.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

use model::Timestamp;

/// The time.
#[expect(
    clippy::disallowed_methods,
    reason = "the one place that reads the clock"
)]
pub fn now() -> Timestamp {
    let since_epoch = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    Timestamp::EPOCH.plus(since_epoch)
}

/// Random bits for an id.
pub fn random_id() -> u128 {
    rand::random()
}

/// Random bits for an id that sorts behind those this process made before it within the same
/// millisecond: a counter in the upper bits of the 80 that a ULID has beside its time.
pub fn ordered_id() -> u128 {
    static MADE: AtomicU32 = AtomicU32::new(0);
    let made = MADE.fetch_add(1, Ordering::Relaxed);
    u128::from(made) << 48 | u128::from(rand::random::<u64>() >> 16)
}

/// Random bytes for a secret or a key, from the operating system's generator.
pub fn random_secret() -> [u8; 32] {
    let mut bytes = [0; 32];
    rand::TryRngCore::try_fill_bytes(&mut rand::rngs::OsRng, &mut bytes)
        .expect("the operating system has random numbers");
    bytes
}

/// A random duration below `limit`: jitter.
pub fn random_below(limit: Duration) -> Duration {
    limit.mul_f64(rand::random::<f64>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordered_ids_ascend_within_80_bits() {
        let ids: Vec<_> = (0..1_000).map(|_| ordered_id()).collect();
        assert!(ids.is_sorted_by(|a, b| a < b));
        assert!(ids.iter().all(|id| id >> 80 == 0));
    }
}
