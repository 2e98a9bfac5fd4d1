//! One exchange with every kind of receiver, over real sockets.

#![expect(
    clippy::unwrap_used,
    reason = "what a test needs and lacks fails the test"
)]

mod answers;
mod failures;
mod limits;
mod peer;
mod targets;
mod tls;
