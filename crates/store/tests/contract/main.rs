//! One suite for the port, run against both adapters, each test in a database or file of its own.

#![expect(clippy::unwrap_used, reason = "what fails in a test fails the test")]

mod accepting;
mod directory;
mod due;
mod fixture;
mod holding;
mod listing;
mod observing;
mod outages;
mod recording;
mod resealing;
mod schema;
mod signing_keys;
mod sources;
