//! One guarded, bounded HTTP exchange: a rendered delivery goes to its endpoint, and whatever
//! happens becomes a [`model::Outcome`], within one deadline and within bounded memory.
//!
//! The guard sits where connections are made: every address a name resolves to is judged at that
//! moment, so that a changed DNS answer does not help. Redirects, proxies, cookies and compression
//! do not exist here. Whether to try again is for others to decide.
//!
//! ```no_run
//! # async fn example(rendered: dialect::Rendered) -> Result<(), Box<dyn std::error::Error>> {
//! use sender::{Request, Sender, SenderConfig};
//!
//! let sender = Sender::new(&SenderConfig::default())?;
//! let url = "https://receiver.example/hooks".parse()?;
//! let headers = Default::default();
//! let timeout = std::time::Duration::from_secs(15);
//! let reply = sender.send(Request { url: &url, rendered, headers: &headers, timeout }).await;
//! println!("{:?} after {:?}", reply.outcome, reply.duration);
//! # Ok(()) }
//! ```

mod address;
mod certificates;
mod classify;
mod exchange;
mod guard;
mod headers;
mod retry_after;
mod target;
mod tls;

pub use address::is_forbidden;
pub use certificates::{EXPIRES_SOON, EXPIRING_HOSTS_MAX};
pub use exchange::{
    BODY_READ_MAX, RESPONSE_HEADER_BYTES_MAX, RESPONSE_HEADERS_MAX, Reply, Request, Sender,
    SenderConfig, SenderError,
};
pub use headers::{HEADER_NAME_BYTES_MAX, HEADER_VALUE_BYTES_MAX, HEADERS_MAX, check_headers};
pub use target::URL_BYTES_MAX;
