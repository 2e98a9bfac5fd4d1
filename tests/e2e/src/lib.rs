//! Installations of the real binary to test from outside, in both ways it is run: everything in one
//! process, and apart on RabbitMQ, PostgreSQL and Redis.

mod installation;
mod other_system;
mod signature;
mod weather;

pub use installation::{Installation, Mode};
pub use other_system::{OtherSystem, Request};
pub use signature::{hex_code, signatures, signed, verifies};
pub use weather::{Weather, percentile};

use std::time::Duration;

use serde_json::{Value, json};

/// What takes no time to speak of, on a busy machine.
pub const SOON: Duration = Duration::from_secs(10);

/// Whether the long versions of the bad days were asked for.
#[expect(
    clippy::disallowed_methods,
    reason = "tests are told by environment how long to run"
)]
pub fn full_length() -> bool {
    std::env::var("FANFARE_CHAOS").is_ok_and(|value| value == "full")
}

/// An event of a type about a license.
pub fn event(event_type: &str, license: &str) -> Value {
    json!({"type": event_type, "data": {"license": {"id": license}}})
}

/// The id that an answer or an object has.
pub fn id_of(value: &Value) -> &str {
    value["id"].as_str().unwrap_or_default()
}

/// The attempts of a delivery, first to last.
pub fn attempts_of(delivery: &Value) -> &[Value] {
    delivery["attempts"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default()
}

/// The objects of a list.
pub fn items(list: &Value) -> &[Value] {
    list["items"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default()
}

/// Makes a test of each function, once embedded and once on services. The functions take a
/// [`Mode`], and run beside other tests.
#[macro_export]
macro_rules! in_both_modes {
    ($($name:ident),* $(,)?) => { $(
        mod $name {
            #[tokio::test]
            async fn embedded() -> anyhow::Result<()> {
                let _turn = testkit::among_others().await;
                super::$name($crate::Mode::Embedded).await
            }

            #[tokio::test]
            async fn on_services() -> anyhow::Result<()> {
                let _turn = testkit::among_others().await;
                super::$name($crate::Mode::Services).await
            }
        }
    )* };
}
