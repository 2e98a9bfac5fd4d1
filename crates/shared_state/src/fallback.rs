use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use delivery::{Circuit, CircuitChange};
use model::{EndpointId, Timestamp};

use crate::{Claim, ClaimRequest, InProcess, Settlement, SharedState, SharedStateError};

/// A remote shared state, with the process's own to answer while the remote one is away.
///
/// Meanwhile two processes may make the same attempt or probe the same endpoint; nothing is lost.
/// What the remote state said of circuits is known here too. Locks are granted locally: jobs are
/// idempotent, and a lone dispatcher must go on sweeping.
#[derive(Debug)]
pub struct Resilient {
    remote: Arc<dyn SharedState>,
    local: InProcess,
    degraded: AtomicBool,
}

impl Resilient {
    /// Asks the remote state once, so that it is known from the start whether it is there.
    pub async fn new(remote: Arc<dyn SharedState>) -> Self {
        let local = InProcess::default();
        let resilient = Self {
            remote,
            local,
            degraded: AtomicBool::new(false),
        };
        let _known_from_now_on = resilient.ping().await;
        resilient
    }

    /// Notes whether the remote state answered; says so when that changes, not each time.
    fn note<T>(&self, answer: Result<T, SharedStateError>) -> Result<T, SharedStateError> {
        let is_away = answer.is_err();
        let changed = self.degraded.load(Ordering::Relaxed) != is_away
            && self.degraded.swap(is_away, Ordering::Relaxed) != is_away;
        match &answer {
            Ok(_) if changed => tracing::info!("the shared state is back"),
            Err(error) if changed => tracing::warn!(
                error = error as &dyn std::error::Error,
                "the shared state is away; going on with what this process knows"
            ),
            Ok(_) | Err(_) => {}
        }
        answer
    }

    fn learn_from_claims(&self, batch: &[ClaimRequest], claims: &[Claim], now: Timestamp) {
        for (request, claim) in batch.iter().zip(claims) {
            match *claim {
                Claim::Granted {
                    troubled: false, ..
                } => self.local.learn_closed(request.endpoint),
                Claim::CircuitOpen { probe_at } => {
                    self.local.learn_open(request.endpoint, probe_at, now);
                }
                Claim::Granted { troubled: true, .. }
                | Claim::Busy
                | Claim::Done { .. }
                | Claim::RateLimited { .. } => {}
            }
        }
    }

    fn learn_from_changes(&self, batch: &[Settlement], changes: &[CircuitChange], now: Timestamp) {
        for (settlement, change) in batch.iter().zip(changes) {
            match change {
                CircuitChange::Opened | CircuitChange::Reopened => {
                    let probe_at = now.plus(delivery::PROBE_AFTER);
                    self.local.learn_open(settlement.endpoint, probe_at, now);
                }
                CircuitChange::Closed => self.local.learn_closed(settlement.endpoint),
                CircuitChange::None => {}
            }
        }
    }
}

#[async_trait]
impl SharedState for Resilient {
    async fn claim(
        &self,
        batch: &[ClaimRequest],
        now: Timestamp,
    ) -> Result<Vec<Claim>, SharedStateError> {
        let Ok(claims) = self.note(self.remote.claim(batch, now).await) else {
            return self.local.claim(batch, now).await;
        };
        self.learn_from_claims(batch, &claims, now);
        Ok(claims)
    }

    async fn settle(
        &self,
        batch: &[Settlement],
        now: Timestamp,
    ) -> Result<Vec<CircuitChange>, SharedStateError> {
        let Ok(changes) = self.note(self.remote.settle(batch, now).await) else {
            return self.local.settle(batch, now).await;
        };
        self.learn_from_changes(batch, &changes, now);
        Ok(changes)
    }

    async fn circuits(&self, endpoints: &[EndpointId]) -> Result<Vec<Circuit>, SharedStateError> {
        match self.note(self.remote.circuits(endpoints).await) {
            Ok(circuits) => Ok(circuits),
            Err(_) => self.local.circuits(endpoints).await,
        }
    }

    async fn reset_circuit(&self, endpoint: EndpointId) -> Result<(), SharedStateError> {
        let _it_ends_by_itself = self.note(self.remote.reset_circuit(endpoint).await);
        self.local.reset_circuit(endpoint).await
    }

    async fn lock(
        &self,
        name: &str,
        holder: &str,
        ttl: Duration,
    ) -> Result<bool, SharedStateError> {
        match self.note(self.remote.lock(name, holder, ttl).await) {
            Ok(locked) => Ok(locked),
            Err(_) => self.local.lock(name, holder, ttl).await,
        }
    }

    /// Asks the remote state alone, for whoever wants to know how it is.
    async fn ping(&self) -> Result<(), SharedStateError> {
        self.note(self.remote.ping().await)
    }

    async fn used_bytes(&self) -> Result<Option<u64>, SharedStateError> {
        self.remote.used_bytes().await
    }

    fn is_degraded(&self) -> bool {
        self.degraded.load(Ordering::Relaxed)
    }
}
