//! Seeing Fanfare run: log set-up, and every metric name and label in one place.

mod logs;
mod metrics;

pub use logs::{LogFormat, init_logs};
pub use metrics::{AttemptLabel, Metrics, render};
