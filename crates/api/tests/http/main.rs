//! The management API over a real socket, on the embedded store and broker, with a real receiver.

mod authorization;
mod catalog;
mod deliveries;
mod document;
mod endpoint_actions;
mod endpoints;
mod harness;
mod rejected;
mod tenants_and_keys;
