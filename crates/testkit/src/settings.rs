use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::Path;
use std::sync::atomic::{AtomicU16, Ordering};

use anyhow::{Context, Result};

use crate::Services;

/// The operator key every instance under test knows from its start.
pub const OPERATOR_KEY: &str = "fk_test_operator_0123456789abcdefghijklmnopqrstuvwxyz";

/// 32 bytes in base64.
const MASTER_KEY: &str = "dGVzdCBtYXN0ZXIga2V5LCAzMiBieXRlcyBsb25nISE=";

/// Below the range from which the kernel gives ports to outgoing connections, so that a port stays
/// free while its process is down for a moment; and apart from those of `tests/services.sh`.
const PORTS: std::ops::Range<u16> = 10_000..19_000;

/// The environment of a Fanfare process.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    pub(crate) environment: BTreeMap<String, String>,
    /// Whether the database must be migrated and the topology applied first.
    pub(crate) needs_preparation: bool,
}

impl Settings {
    /// Everything in one process, its data under `folder`.
    pub fn embedded(folder: &Path) -> Result<Self> {
        let folder = folder.to_str().context("a folder with an UTF-8 name")?;
        Ok(Self::default()
            .common()
            .with(
                "FANFARE__STORE__URL",
                &format!("sqlite://{folder}/fanfare.db"),
            )
            .with("FANFARE__BROKER__URL", &format!("embedded://{folder}")))
    }

    /// On services, with a database, a virtual host and a Redis database of its own.
    pub async fn on_services(services: &Services) -> Result<Self> {
        Self::on_services_at(
            &services.fresh_database().await?,
            &services.fresh_vhost().await?,
            &services.fresh_redis(),
        )
    }

    /// On services at these URLs.
    pub fn on_services_at(store: &str, broker: &str, redis: &str) -> Result<Self> {
        let settings = Self::default()
            .common()
            .with("FANFARE__STORE__URL", store)
            .with("FANFARE__BROKER__URL", broker)
            .with("FANFARE__REDIS__URL", redis);
        Ok(Self {
            needs_preparation: true,
            ..settings
        })
    }

    fn common(self) -> Self {
        self.with("FANFARE__SECURITY__MASTER_KEY", MASTER_KEY)
            .with("FANFARE__SECURITY__ALLOW_PRIVATE_TARGETS", "true")
            .with("FANFARE__BOOTSTRAP__API_KEY", OPERATOR_KEY)
    }

    /// The same with one variable set.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.environment.insert(name.to_owned(), value.to_owned());
        self
    }

    /// The same without a variable.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.environment.remove(name);
        self
    }

    /// The value of a variable.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.environment.get(name).map(String::as_str)
    }
}

/// A port of 127.0.0.1 that nothing listens on.
pub fn free_port() -> u16 {
    static OFFSET: AtomicU16 = AtomicU16::new(0);
    // Processes that test side by side start at different places.
    let start = u16::try_from(std::process::id() * 37 % u32::from(PORTS.end - PORTS.start))
        .expect("less than the range");
    loop {
        let offset = OFFSET.fetch_add(1, Ordering::Relaxed);
        let port = PORTS.start + start.wrapping_add(offset) % (PORTS.end - PORTS.start);
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
