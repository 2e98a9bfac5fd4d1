//! An endpoint's `dialect_options`: each dialect has a struct of its own, all dialects a few in
//! common.

use model::{Endpoint, FieldError};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde::de::value::MapDeserializer;
use serde_json::{Map, Value};
use serde_path_to_error::Segment;

use crate::RenderError;

/// What every dialect takes.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Common {
    /// What happens to events that the dialect has no name for.
    pub(crate) unmapped: Unmapped,
    /// Names that only some of the system's documents list, where the dialect has such.
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

/// Whether the options, which may not have been checked, ask for the names of [`Common::extras`].
pub(crate) fn asks_for_extras(options: &Map<String, Value>) -> bool {
    options.get("extras") == Some(&Value::Bool(true))
}

/// The dialect's own options.
pub(crate) fn own<T: DeserializeOwned + Default>(endpoint: &Endpoint) -> Result<T, RenderError> {
    if endpoint.dialect_options.is_empty() {
        return Ok(T::default());
    }
    read(&endpoint.dialect_options).map_err(|_| RenderError::BadOptions)
}

/// The dialect's own ones of these options.
pub(crate) fn read<T: DeserializeOwned>(
    options: &Map<String, Value>,
) -> Result<T, serde_json::Error> {
    let own = options
        .iter()
        .filter(|(name, _)| !COMMON.contains(&name.as_str()));
    T::deserialize(MapDeserializer::new(
        own.map(|(name, value)| (name.as_str(), value)),
    ))
}

/// Checks the options of a dialect whose own ones are `T`, each alone, so that all that are wrong
/// are named.
pub(crate) fn check<T: DeserializeOwned>(options: &Map<String, Value>) -> Vec<FieldError> {
    let wrong = options.iter().filter_map(|(name, value)| {
        if COMMON.contains(&name.as_str()) {
            check_alone::<Common>(name, value)
        } else {
            check_alone::<T>(name, value)
        }
    });
    let mut errors: Vec<_> = wrong.collect();
    errors.extend(options.get("user_agent").and_then(check_user_agent));
    let batch = options.get("batch").map(Batch::deserialize);
    errors.extend(batch.and_then(Result::ok).into_iter().flat_map(check_batch));
    errors
}

fn check_alone<T: DeserializeOwned>(name: &str, value: &Value) -> Option<FieldError> {
    let alone = std::iter::once((name, value));
    let alone = MapDeserializer::<_, serde_json::Error>::new(alone);
    let error = serde_path_to_error::deserialize::<_, T>(alone).err()?;
    let mut pointer = POINTER.to_owned();
    for segment in error.path() {
        if let Segment::Map { key } = segment {
            pointer.push_str(&format!("/{}", escaped(key)));
        }
    }
    Some(FieldError::new(pointer, error.inner().to_string()))
}

fn check_user_agent(agent: &Value) -> Option<FieldError> {
    let agent = agent.as_str()?;
    let printable = |byte: u8| byte.is_ascii_graphic() || byte == b' ';
    let good =
        agent.bytes().all(printable) && !agent.trim().is_empty() && agent.len() <= USER_AGENT_MAX;
    let detail = format!("must be 1 to {USER_AGENT_MAX} printable ASCII characters");
    (!good).then(|| error("user_agent", detail))
}

fn check_batch(batch: Batch) -> impl Iterator<Item = FieldError> {
    let members = [
        ("batch/max_events", batch.max_events, 2, BATCH_EVENTS_MAX),
        ("batch/max_bytes", batch.max_bytes, 1, BATCH_BYTES_MAX),
        ("batch/max_wait_ms", batch.max_wait_ms, 1, BATCH_WAIT_MS_MAX),
    ];
    let outside = members
        .into_iter()
        .filter(|(_, value, min, max)| !(*min..=*max).contains(value));
    outside.map(|(name, _, min, max)| error(name, format!("must be {min} to {max}")))
}

/// A dialect without options of its own.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct None {}

const POINTER: &str = "/dialect_options";

/// What is wrong with the option at `path`.
pub(crate) fn error(path: &str, detail: impl Into<String>) -> FieldError {
    FieldError::new(format!("{POINTER}/{path}"), detail)
}

/// An option that the dialect does not have; `known` are those it has.
pub(crate) fn unknown(name: &str, known: &[&str]) -> FieldError {
    let detail = format!("is no option of the dialect: it has {}", known.join(", "));
    error(&escaped(name), detail)
}

/// Within a JSON pointer (RFC 6901).
fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}
