//! Seeing Fanfare run: log set-up, and every metric, label, span and attribute in one place.

mod by_customer;
mod installation;
mod labels;
mod logs;
mod metrics;
mod page;
mod part;
mod register;
mod traces;

pub use by_customer::{ByCustomer, ENDPOINTS_MAX, EXPIRING_MAX, TENANTS_MAX};
pub use installation::Installation;
pub use labels::{AttemptLabel, OTHER};
pub use logs::{LogFormat, init_logs};
pub use metrics::{Metrics, render};
pub use page::page;
pub use part::Part;
pub use traces::{
    SPANS_PER_REQUEST_MAX, SPANS_WAITING_MAX, Span, Traces, TracesConfig, TracesError,
};
