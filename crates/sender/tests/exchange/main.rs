//! One exchange with every kind of receiver, over real sockets.

mod answers;
mod failures;
mod limits;
mod peer;
mod targets;
mod tls;
