//! Events in. One way through for all of them: read and check a submission, find the endpoints
//! that want it, commit it with its deliveries, answer, and hand the deliveries to the broker.
//!
//! [`Acceptor`] is that way; [`router`] leads HTTP into it, other systems' webhooks among it, and
//! [`Intake`] what was published to the exchange `license.events`. While the store is away, HTTP events are published to that exchange
//! instead, and the broker's confirm is the acceptance.

mod acceptor;
mod batch;
mod committer;
mod http;
mod intake;
mod prepare;
mod sources;
mod split;

pub use acceptor::{AcceptError, Acceptor, Answer, Parts};
pub use batch::{BATCH_BYTES_MAX, BATCH_EVENTS_MAX};
pub use http::{IngestState, openapi, router};
pub use intake::Intake;
