//! The management API over a real socket, on the embedded store and broker, with a real receiver.
#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod authorization;
mod catalog;
mod deliveries;
mod document;
mod endpoints;
mod harness;
mod holding;
mod receiving;
mod rejected;
mod signing_keys;
mod sources;
mod tenants_and_keys;
mod webhooks;
