//! The management API: endpoints, deliveries and their attempts, events, tenants and keys, over
//! HTTP, with the OpenAPI document made from the same declarations as the routes.
//!
//! It reads the store and the directory, changes the directory, and hands requeued deliveries to
//! the broker. It does not accept events and does not attempt deliveries, except for the test of an
//! endpoint, which is sent at once and recorded nowhere.
//!
//! [`router`] makes the routes; wrap the whole application in [`web::rim`].

#![expect(unused_qualifications, reason = "what utoipa's macros write")]

mod app;
mod catalog;
mod deliveries;
mod delivery_view;
mod document;
mod endpoints;
mod events;
mod keys;
mod merge_patch;
mod requeue;
mod schema;
mod set_aside;
mod signing_keys;
mod sources;
mod tenants;

pub use app::ApiState;
pub use document::{openapi, router};
