use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use delivery::{PROBE_AFTER, PROBE_AFTER_MAX};
use redis::aio::MultiplexedConnection;
use redis::{Cmd, ErrorKind, RedisError, ServerErrorKind};

use super::{CIRCUIT_PREFIX, RATE_PREFIX};
use crate::{CIRCUIT_KEPT, DONE_KEPT};

/// For how long a rate's spending is kept; it says nothing any more after a minute.
const RATE_KEPT: Duration = Duration::from_secs(120);

/// About what one argument takes.
const ARGUMENT_BYTES: usize = 52;

/// A Lua script as Redis knows it, by its hash.
#[derive(Clone)]
pub(super) struct Script(Arc<redis::Script>);

/// All scripts of this adapter.
#[derive(Clone, Debug)]
pub(super) struct Scripts {
    pub(super) claim: Script,
    pub(super) settle: Script,
    pub(super) lock: Script,
}

impl Default for Scripts {
    fn default() -> Self {
        let circuit = include_str!("circuit.lua");
        Self {
            claim: Script::new(&[circuit, include_str!("claim.lua")]),
            settle: Script::new(&[circuit, include_str!("settle.lua")]),
            lock: Script::new(&[include_str!("lock.lua")]),
        }
    }
}

impl Scripts {
    pub(super) async fn load(
        &self,
        connection: &mut MultiplexedConnection,
    ) -> redis::RedisResult<()> {
        for script in [&self.claim, &self.settle, &self.lock] {
            script.load(connection).await?;
        }
        Ok(())
    }
}

impl Script {
    fn new(parts: &[&str]) -> Self {
        let code = std::iter::once(constants()).chain(parts.iter().map(|&part| part.to_owned()));
        Self(Arc::new(redis::Script::new(&code.collect::<String>())))
    }

    /// Begins a call with this many keys among its arguments.
    pub(super) fn command(&self, keys: usize, arguments: usize) -> Cmd {
        let mut command = Cmd::with_capacity(arguments + 3, arguments * ARGUMENT_BYTES);
        command.arg("EVALSHA").arg(self.0.get_hash()).arg(keys);
        command
    }

    pub(super) async fn load(
        &self,
        connection: &mut MultiplexedConnection,
    ) -> redis::RedisResult<()> {
        self.0.load_async(connection).await.map(|_hash| ())
    }
}

impl fmt::Debug for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Script").field(&self.0.get_hash()).finish()
    }
}

/// Whether Redis does not have the script: it is new, or empty.
pub(super) fn is_unknown(error: &RedisError) -> bool {
    error.kind() == ErrorKind::Server(ServerErrorKind::NoScript)
}

/// The constants of this workspace, for Lua. What is only handed on to Redis is text there already.
fn constants() -> String {
    format!(
        "local PROBE_AFTER, PROBE_AFTER_MAX = {}, {}\n\
         local CIRCUIT_KEPT, DONE_KEPT, RATE_KEPT = '{}', '{}', '{}'\n\
         local CIRCUIT_PREFIX, RATE_PREFIX = '{CIRCUIT_PREFIX}', '{RATE_PREFIX}'\n",
        PROBE_AFTER.as_millis(),
        PROBE_AFTER_MAX.as_millis(),
        CIRCUIT_KEPT.as_millis(),
        DONE_KEPT.as_millis(),
        RATE_KEPT.as_millis(),
    )
}
