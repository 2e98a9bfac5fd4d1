//! An endpoint's `dialect_options`: each dialect has a struct of its own, all dialects a few in
//! common.

use model::{Endpoint, FieldError};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde::de::value::MapDeserializer;
use serde_json::{Map, Value};

use crate::RenderError;

/// What every dialect takes.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Common {
    /// What happens to events that the dialect has no name for.
    pub(crate) unmapped: Unmapped,
    /// Names that only some of the system's documents list.
    pub(crate) extras: bool,
    /// Sent instead of Fanfare's own product token.
    pub(crate) user_agent: Option<String>,
    pub(crate) batch: Option<Batch>,
}

const COMMON: &[&str] = &["unmapped", "extras", "user_agent", "batch"];

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Unmapped {
    /// They are not sent.
    #[default]
    Skip,
    /// They are sent under their canonical names.
    Passthrough,
}

/// Events of one batch at most.
pub const BATCH_EVENTS_MAX: u32 = 100;
/// Bytes of `data` in one batch at most.
pub const BATCH_BYTES_MAX: u32 = 1024 * 1024;
/// How long an event may wait for others, milliseconds.
pub const BATCH_WAIT_MS_MAX: u32 = 10_000;

/// When rapid events of one endpoint leave together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Batch {
    /// Events in a request at most, 2 to [`BATCH_EVENTS_MAX`].
    pub max_events: u32,
    /// Bytes of `data` in a request at most; a larger event goes alone.
    pub max_bytes: u32,
    /// How long the first event waits for others.
    pub max_wait_ms: u32,
}

impl Default for Batch {
    fn default() -> Self {
        Self {
            max_events: 50,
            max_bytes: 256 * 1024,
            max_wait_ms: 500,
        }
    }
}

/// Characters of a user agent at most.
const USER_AGENT_MAX: usize = 128;

/// What all dialects have in common, of options that were checked when they were set.
pub(crate) fn common(endpoint: &Endpoint) -> Common {
    if endpoint.dialect_options.is_empty() {
        return Common::default();
    }
    Common::deserialize(&endpoint.dialect_options).unwrap_or_default()
}

/// The dialect's own options.
pub(crate) fn own<T: DeserializeOwned + Default>(endpoint: &Endpoint) -> Result<T, RenderError> {
    if endpoint.dialect_options.is_empty() {
        return Ok(T::default());
    }
    read(&endpoint.dialect_options).map_err(|_| RenderError::BadOptions)
}

fn read<T: DeserializeOwned>(options: &Map<String, Value>) -> Result<T, serde_json::Error> {
    let own = options
        .iter()
        .filter(|(name, _)| !COMMON.contains(&name.as_str()));
    T::deserialize(MapDeserializer::new(
        own.map(|(name, value)| (name.as_str(), value)),
    ))
}

/// Checks the options of a dialect whose own ones are `T`.
pub(crate) fn check<T: DeserializeOwned>(options: &Map<String, Value>) -> Result<(), String> {
    let common = Common::deserialize(options).map_err(|error| error.to_string())?;
    if let Some(agent) = &common.user_agent {
        let printable = agent
            .bytes()
            .all(|byte| byte.is_ascii_graphic() || byte == b' ');
        if !printable || agent.trim().is_empty() || agent.len() > USER_AGENT_MAX {
            return Err(format!(
                "user_agent must be 1 to {USER_AGENT_MAX} printable ASCII characters"
            ));
        }
    }
    if let Some(batch) = common.batch {
        check_batch(batch)?;
    }
    read::<T>(options)
        .map(drop)
        .map_err(|error| error.to_string())
}

fn check_batch(batch: Batch) -> Result<(), String> {
    for (name, value, min, max) in [
        ("max_events", batch.max_events, 2, BATCH_EVENTS_MAX),
        ("max_bytes", batch.max_bytes, 1, BATCH_BYTES_MAX),
        ("max_wait_ms", batch.max_wait_ms, 1, BATCH_WAIT_MS_MAX),
    ] {
        if !(min..=max).contains(&value) {
            return Err(format!("batch.{name} must be {min} to {max}"));
        }
    }
    Ok(())
}

/// A dialect without options of its own.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct None {}

pub(crate) fn error(detail: String) -> FieldError {
    FieldError::new("/dialect_options", detail)
}
