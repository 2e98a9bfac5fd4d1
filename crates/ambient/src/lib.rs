//! The wall clock and the random numbers, read here and nowhere else: everything below the rim
//! takes `now` and `random` as arguments.

use std::time::{Duration, SystemTime};

use model::Timestamp;

/// The time.
#[expect(clippy::disallowed_methods, reason = "the one place that reads the clock")]
pub fn now() -> Timestamp {
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp::EPOCH.plus(since_epoch)
}

/// Random bits for an id.
pub fn random_id() -> u128 {
    rand::random()
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
