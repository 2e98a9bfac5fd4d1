//! What each dialect puts on the wire, and what its receivers make of it.

#![expect(
    clippy::unwrap_used,
    reason = "what a test needs and lacks fails the test"
)]

mod fixture;
mod keyport;
mod policies;
mod properties;
mod subscriptions;
mod vectors;
