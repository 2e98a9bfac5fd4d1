//! What each dialect puts on the wire, and what its receivers make of it.

#![expect(
    clippy::unwrap_used,
    reason = "what a test needs and lacks fails the test"
)]

mod cloudevents;
mod fixture;
mod getkeymanager;
mod github;
mod keygen;
mod keygen_documents;
mod keyport;
mod keyport_docs;
mod licvalidator;
mod messages;
mod options;
mod policies;
mod properties;
mod stripe;
mod subscriptions;
mod traffic;
mod vectors;
