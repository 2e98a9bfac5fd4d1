//! The commands that do one thing and end.

mod health;
mod key;
mod receive;
mod schema;
mod trigger;
mod verify;

pub(crate) use health::health;
pub(crate) use key::key;
pub(crate) use receive::{receive, show};
pub(crate) use schema::{migrate, topology};
pub(crate) use trigger::trigger;
pub(crate) use verify::verify;
