//! What the tests of Fanfare stand on: real services, the real binary, a receiver that misbehaves
//! to order, a proxy that loses the line. For tests only; nothing of the product depends on it.
//!
//! ```no_run
//! # async fn example() -> anyhow::Result<()> {
//! use std::time::Duration;
//! use testkit::{Behavior, Fanfare, Receiver, Role, Settings};
//!
//! let folder = testkit::scratch_folder()?;
//! let fanfare = Fanfare::start(Role::Serve, Settings::embedded(folder.path())?).await?;
//! let receiver = Receiver::start().await?;
//! receiver.behave("/hook", Behavior::status(503));
//! let client = fanfare.tenant_client("acme").await?;
//! client.create_endpoint(&receiver.url("/hook"), serde_json::json!({})).await?;
//! client.publish(&serde_json::json!({"type": "license.created", "data": {}})).await?;
//! receiver.wait_for("/hook", 1, Duration::from_secs(5)).await?;
//! # Ok(())
//! # }
//! ```

mod behavior;
mod client;
mod eventually;
mod fanfare;
mod load;
mod process;
mod proxy;
mod receiver;
mod services;
mod settings;
mod turn;

pub use behavior::Behavior;
pub use client::{Answer, Client};
pub use eventually::eventually;
pub use fanfare::{Fanfare, Role, binary};
pub use load::{Load, LoadReport};
pub use process::{Usage, bound_command, spawn_bound};
pub use proxy::{Fault, FaultProxy};
pub use receiver::{Received, Receiver, closed_port};
pub use services::{Service, Services};
pub use settings::{OPERATOR_KEY, Settings, free_port};
pub use turn::{alone, among_others};

/// A folder for one test's data, deleted with the value.
pub fn scratch_folder() -> std::io::Result<tempfile::TempDir> {
    let mut builder = tempfile::Builder::new();
    // Within the services' folder, if there is one: what a killed test leaves goes with it.
    match environment("FANFARE_TEST_SERVICES_DIR") {
        Some(services) => builder.prefix("scratch-").tempdir_in(services),
        None => builder.prefix("fanfare-test-").tempdir(),
    }
}

/// A name no other test uses: `prefix`, the process, a counter and the time.
pub fn unique(prefix: &str) -> String {
    use std::sync::atomic::{AtomicU64, Ordering};
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let process = std::process::id();
    format!("{prefix}_{process}_{count}")
}

#[expect(
    clippy::disallowed_methods,
    reason = "tests are told by environment where services are"
)]
fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
