use std::time::Duration;

use async_trait::async_trait;
use delivery::{Circuit, CircuitChange, CircuitPolicy};
use model::{DeliveryId, EndpointId, Timestamp};

/// Asks for the right to make an attempt.
#[derive(Clone, Copy, Debug)]
pub struct ClaimRequest {
    pub delivery: DeliveryId,
    pub attempt: u32,
    pub endpoint: EndpointId,
    /// The endpoint's limit, if it has one; at least 1.
    pub rate_per_minute: Option<u32>,
    /// After this long without a settlement the claimant is taken for dead.
    pub lease: Duration,
}

/// The answer. Only `Granted` claims anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    Granted {
        /// The circuit is half-open and this attempt is its probe.
        probe: bool,
        /// The endpoint has failed since its last success: the settlement must tell the circuit.
        troubled: bool,
    },
    /// Somebody else is making this attempt.
    Busy,
    /// This attempt was made and settled, within the last [`DONE_KEPT`](crate::DONE_KEPT).
    Done {
        succeeded: bool,
    },
    CircuitOpen {
        probe_at: Timestamp,
    },
    RateLimited {
        free_at: Timestamp,
    },
}

/// Ends a granted claim.
#[derive(Clone, Copy, Debug)]
pub struct Settlement {
    pub delivery: DeliveryId,
    pub attempt: u32,
    pub endpoint: EndpointId,
    pub settled: Settled,
    /// From the claim; whether the circuit must hear of a success.
    pub troubled: bool,
    pub policy: CircuitPolicy,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settled {
    Succeeded,
    Failed,
    /// It failed, which says nothing of the endpoint: its circuit hears of no failure, and a probe
    /// may go to another.
    Uncounted,
    /// No attempt was made; the claim is free again and a probe may go to another.
    Released,
}

#[derive(Debug, thiserror::Error)]
#[error("the shared state is unavailable")]
pub struct SharedStateError(#[source] pub Box<dyn std::error::Error + Send + Sync>);

/// The port. Both adapters pass one contract suite (`tests/contract.rs`).
#[async_trait]
pub trait SharedState: Send + Sync + std::fmt::Debug + 'static {
    /// Answers each request in order; one round trip for the batch.
    async fn claim(
        &self,
        batch: &[ClaimRequest],
        now: Timestamp,
    ) -> Result<Vec<Claim>, SharedStateError>;

    /// Ends claims; one round trip for the batch. An attempt that was made answers
    /// [`Claim::Done`] for [`DONE_KEPT`](crate::DONE_KEPT) from then on.
    async fn settle(
        &self,
        batch: &[Settlement],
        now: Timestamp,
    ) -> Result<Vec<CircuitChange>, SharedStateError>;

    async fn circuits(&self, endpoints: &[EndpointId]) -> Result<Vec<Circuit>, SharedStateError>;

    /// Forgets the endpoint's failures: its circuit is closed.
    async fn reset_circuit(&self, endpoint: EndpointId) -> Result<(), SharedStateError>;

    /// Takes or renews the lock `name` for `ttl`; false if another holder has it. A lock saves
    /// double work, it does not prevent it: what it guards is idempotent.
    async fn lock(&self, name: &str, holder: &str, ttl: Duration)
    -> Result<bool, SharedStateError>;

    /// Whether it takes what is written to it.
    async fn ping(&self) -> Result<(), SharedStateError>;

    /// Bytes of memory that it uses; `None` if that is this process's own memory.
    async fn used_bytes(&self) -> Result<Option<u64>, SharedStateError> {
        Ok(None)
    }

    /// Whether answers come from this process alone although others should agree with it. While so,
    /// a claim says nothing of what other processes do: ask the store.
    fn is_degraded(&self) -> bool {
        false
    }
}
