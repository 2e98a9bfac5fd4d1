//! How each licensing system puts an event on the wire: names, body, headers, signature, and the
//! habits of its senders (schedule, timeout, end state). Pure: the caller brings time and secrets.

use bytes::Bytes;
use model::{DeliveryId, Endpoint, Event, Timestamp};

/// Everything a dialect may put on the wire.
#[derive(Clone, Copy, Debug)]
pub struct Delivered<'a> {
    pub event: &'a Event,
    pub endpoint: &'a Endpoint,
    pub delivery: DeliveryId,
    /// The time of this attempt.
    pub now: Timestamp,
}

/// A request, ready to be sent: the bytes that were signed are the bytes to send.
#[derive(Clone, Debug)]
pub struct Rendered {
    /// Includes `content-type`. Names in lower case, values visible ASCII.
    pub headers: Vec<(&'static str, String)>,
    pub body: Bytes,
}
