//! What each dialect puts on the wire, and what its receivers make of it.

mod fixture;
mod keyport;
mod policies;
mod properties;
mod subscriptions;
mod vectors;
