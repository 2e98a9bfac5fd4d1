//! The adapter for many processes: Redis, one script call per batch.

mod arguments;
mod link;
mod scripts;

use std::time::Duration;

use async_trait::async_trait;
use delivery::{Circuit, CircuitChange, CircuitState};
use model::{EndpointId, Timestamp};
use redis::{Cmd, Value};

use self::link::{Link, LinkError};
use self::scripts::{Script, Scripts};
use crate::{Claim, ClaimRequest, Settlement, SharedState, SharedStateError};

/// Items in one script call at most: a script holds up everybody else's.
pub const CHUNK_MAX: usize = 256;

const CIRCUIT_PREFIX: &str = "fanfare:circuit:";
const RATE_PREFIX: &str = "fanfare:rate:";
const LOCK_PREFIX: &str = "fanfare:lock:";
const PING_KEY: &str = "fanfare:ping";
const PING_KEPT_S: u32 = 60;

/// Why the shared state could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The setting has to be corrected.
    #[error("the Redis URL cannot be used")]
    Url(#[source] redis::RedisError),
}

/// An answer that the scripts do not give.
#[derive(Debug, thiserror::Error)]
#[error("Redis gave an unexpected answer")]
struct UnexpectedAnswer;

/// The state in Redis, which all dispatchers share. It fails at once while Redis is away, connects
/// again by itself, and works with an empty Redis at any time.
#[derive(Debug)]
pub struct Redis {
    link: Link,
    scripts: Scripts,
}

impl Redis {
    /// Makes the first attempt to connect; if it fails, others follow in the background.
    pub async fn open(url: &str) -> Result<Self, OpenError> {
        if rustls::crypto::CryptoProvider::get_default().is_none() {
            // An error means that another thread was faster.
            let _already_installed = rustls::crypto::ring::default_provider().install_default();
        }
        let client = redis::Client::open(url).map_err(OpenError::Url)?;
        let scripts = Scripts::default();
        let link = Link::open(client, scripts.clone()).await;
        Ok(Self { link, scripts })
    }

    /// Calls a script, which Redis may have lost with everything else.
    async fn call(&self, script: &Script, command: &Cmd) -> Result<Value, SharedStateError> {
        self.link
            .run(async |connection| {
                match command.query_async(connection).await {
                    Err(error) if scripts::is_unknown(&error) => {}
                    answer => return answer,
                }
                script.load(connection).await?;
                command.query_async(connection).await
            })
            .await
            .map_err(SharedStateError::from)
    }

    async fn claim_chunk(
        &self,
        chunk: &[ClaimRequest],
        now: Timestamp,
        claims: &mut Vec<Claim>,
    ) -> Result<(), SharedStateError> {
        let script = &self.scripts.claim;
        let answer = self
            .call(script, &arguments::claim(script, chunk, now))
            .await?;
        let before = claims.len();
        read_claims(answer, claims).ok_or(UnexpectedAnswer)?;
        let complete = claims.len() - before == chunk.len();
        complete.then_some(()).ok_or(UnexpectedAnswer.into())
    }

    async fn settle_chunk(
        &self,
        chunk: &[Settlement],
        now: Timestamp,
        changes: &mut Vec<CircuitChange>,
    ) -> Result<(), SharedStateError> {
        let script = &self.scripts.settle;
        let answer = self
            .call(script, &arguments::settle(script, chunk, now))
            .await?;
        let Value::BulkString(letters) = answer else {
            return Err(UnexpectedAnswer.into());
        };
        if letters.is_empty() {
            changes.resize(changes.len() + chunk.len(), CircuitChange::None);
            return Ok(());
        }
        if letters.len() != chunk.len() {
            return Err(UnexpectedAnswer.into());
        }
        for letter in letters {
            changes.push(read_change(letter).ok_or(UnexpectedAnswer)?);
        }
        Ok(())
    }
}

impl From<LinkError> for SharedStateError {
    fn from(error: LinkError) -> Self {
        Self(Box::new(error))
    }
}

impl From<UnexpectedAnswer> for SharedStateError {
    fn from(error: UnexpectedAnswer) -> Self {
        Self(Box::new(error))
    }
}

#[async_trait]
impl SharedState for Redis {
    async fn claim(
        &self,
        batch: &[ClaimRequest],
        now: Timestamp,
    ) -> Result<Vec<Claim>, SharedStateError> {
        let mut claims = Vec::with_capacity(batch.len());
        for chunk in batch.chunks(CHUNK_MAX) {
            self.claim_chunk(chunk, now, &mut claims).await?;
        }
        Ok(claims)
    }

    async fn settle(
        &self,
        batch: &[Settlement],
        now: Timestamp,
    ) -> Result<Vec<CircuitChange>, SharedStateError> {
        let mut changes = Vec::with_capacity(batch.len());
        for chunk in batch.chunks(CHUNK_MAX) {
            self.settle_chunk(chunk, now, &mut changes).await?;
        }
        Ok(changes)
    }

    async fn circuits(&self, endpoints: &[EndpointId]) -> Result<Vec<Circuit>, SharedStateError> {
        let mut circuits = Vec::with_capacity(endpoints.len());
        for chunk in endpoints.chunks(CHUNK_MAX) {
            let mut command = redis::cmd("MGET");
            for endpoint in chunk {
                command.arg(format!("{CIRCUIT_PREFIX}{endpoint}"));
            }
            let texts: Vec<Option<String>> = self.link.query(&command).await?;
            for text in texts {
                let circuit = text.map_or(Some(Circuit::default()), |text| read_circuit(&text));
                circuits.push(circuit.ok_or(UnexpectedAnswer)?);
            }
        }
        Ok(circuits)
    }

    async fn reset_circuit(&self, endpoint: EndpointId) -> Result<(), SharedStateError> {
        let mut command = redis::cmd("DEL");
        command.arg(format!("{CIRCUIT_PREFIX}{endpoint}"));
        Ok(self.link.query(&command).await?)
    }

    async fn lock(
        &self,
        name: &str,
        holder: &str,
        ttl: Duration,
    ) -> Result<bool, SharedStateError> {
        let script = &self.scripts.lock;
        let mut command = script.command(1, 3);
        command
            .arg(format!("{LOCK_PREFIX}{name}"))
            .arg(holder)
            .arg(arguments::positive_ms(ttl));
        let answer = self.call(script, &command).await?;
        Ok(answer == Value::Int(1))
    }

    /// Writes: a Redis that is full, or a replica, is of no use.
    async fn ping(&self) -> Result<(), SharedStateError> {
        let mut command = redis::cmd("SET");
        command.arg(PING_KEY).arg(1).arg("EX").arg(PING_KEPT_S);
        Ok(self.link.query(&command).await?)
    }

    async fn used_bytes(&self) -> Result<Option<u64>, SharedStateError> {
        let mut command = redis::cmd("INFO");
        command.arg("memory");
        let info: String = self.link.query(&command).await?;
        let used = info
            .lines()
            .find_map(|line| line.strip_prefix("used_memory:"));
        let used = used.and_then(|used| used.trim().parse().ok());
        Ok(Some(used.ok_or(UnexpectedAnswer)?))
    }
}

fn read_claims(answer: Value, claims: &mut Vec<Claim>) -> Option<()> {
    let Value::Array(answer) = answer else {
        return None;
    };
    let mut answer = answer.into_iter();
    let Some(Value::BulkString(letters)) = answer.next() else {
        return None;
    };
    for letter in letters {
        let mut time = || match answer.next() {
            Some(Value::Int(millis)) => Some(Timestamp::from_millis(millis)),
            Some(_) | None => None,
        };
        claims.push(match letter {
            b'g' => Claim::Granted {
                probe: false,
                troubled: false,
            },
            b't' => Claim::Granted {
                probe: false,
                troubled: true,
            },
            b'p' => Claim::Granted {
                probe: true,
                troubled: true,
            },
            b'b' => Claim::Busy,
            b's' => Claim::Done { succeeded: true },
            b'f' => Claim::Done { succeeded: false },
            b'o' => Claim::CircuitOpen { probe_at: time()? },
            b'r' => Claim::RateLimited { free_at: time()? },
            _ => return None,
        });
    }
    Some(())
}

fn read_change(letter: u8) -> Option<CircuitChange> {
    match letter {
        b'-' => Some(CircuitChange::None),
        b'O' => Some(CircuitChange::Opened),
        b'R' => Some(CircuitChange::Reopened),
        b'C' => Some(CircuitChange::Closed),
        _ => None,
    }
}

/// Reads what `circuit.lua` writes.
fn read_circuit(text: &str) -> Option<Circuit> {
    let mut words = text.split(' ');
    let failures = words.next()?.parse().ok()?;
    let state = words.next()?;
    let at = Timestamp::from_millis(words.next()?.parse().ok()?);
    let open_for = Duration::from_millis(words.next()?.parse().ok()?);
    let state = match state {
        "closed" => CircuitState::Closed,
        "open" => CircuitState::Open {
            probe_at: at,
            open_for,
        },
        "half_open" => CircuitState::HalfOpen {
            lost_at: at,
            open_for,
        },
        _ => return None,
    };
    Some(Circuit { failures, state })
}
