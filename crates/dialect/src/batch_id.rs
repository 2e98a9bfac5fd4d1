use std::borrow::Cow;

use sha2::{Digest as _, Sha256};

use crate::Delivered;
use crate::hmac_sha256::hex;

/// Hexadecimal digits in the id of a batch.
const DIGITS: usize = 32;

/// The id of a request that carries several deliveries. It follows from all of them: a batch with
/// one more or one less is another to receivers that remember ids.
pub(crate) fn batch_id(batch: &[(Delivered<'_>, Cow<'_, str>)]) -> String {
    let deliveries = batch
        .iter()
        .map(|(delivered, _)| delivered.delivery.as_u128());
    let mut deliveries: Vec<_> = deliveries.collect();
    deliveries.sort_unstable();
    let mut hash = Sha256::new();
    for delivery in deliveries {
        hash.update(delivery.to_be_bytes());
    }
    format!("evt_batch_{}", &hex(&hash.finalize())[..DIGITS])
}
