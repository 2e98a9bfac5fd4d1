//! From a queued delivery to a recorded outcome.
//!
//! [`Dispatcher`] consumes deliveries and makes one attempt each: claim, circuit, request, decide,
//! record, schedule, acknowledge. [`Releaser`] lets held deliveries go when there is room, and
//! [`Sweeper`] queues again whatever the store says is due and nobody has.
//!
//! Nothing here speaks to a customer but through `sender`, and no decision is taken here that
//! `delivery` could take.

mod arrival;
mod attempt;
mod batches;
mod circuits;
mod claims;
mod delivering;
mod disabling;
mod dispatcher;
mod in_hand;
mod lane;
mod lanes;
mod recorder;
mod releaser;
mod schedule;
mod signing;
mod sweeper;
mod watermark;

pub use dispatcher::{Dispatcher, Parts};
pub use releaser::Releaser;
pub use sweeper::Sweeper;
