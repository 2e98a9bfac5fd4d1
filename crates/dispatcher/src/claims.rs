//! Claims, settlements and standings, each asked for in groups.

use std::sync::Arc;
use std::time::Duration;

use delivery::{CircuitChange, CircuitPolicy};
use dialect::Policy;
use group_commit::{Group, Limits};
use model::{DeliveryId, Work};
use shared_state::{Claim, ClaimRequest, Settled, Settlement, SharedState};
use store::{Standing, Store, StoreWatch};
use telemetry::Metrics;

/// Requests in one round trip at most.
const BATCH_MAX: usize = 256;
/// Round trips under way side by side.
const BATCHES_IN_FLIGHT: usize = 4;
/// How long settlements wait for one another; the deliveries they end have arrived already.
const SETTLE_LINGER: Duration = Duration::from_millis(1);
/// A claim outlives its attempt by this much, for what stands around the request.
const LEASE_MARGIN: Duration = Duration::from_secs(5);

/// What the store says of a delivery.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Known {
    Standing(Standing),
    NoSuchDelivery,
    /// The store does not answer.
    Unknown,
}

#[derive(Debug)]
pub(crate) struct Claims {
    shared_state: Arc<dyn SharedState>,
    claims: Group<ClaimRequest, Claim>,
    settlements: Group<Settlement, CircuitChange>,
    standings: Group<DeliveryId, Known>,
}

impl Claims {
    pub(crate) fn new(
        shared_state: Arc<dyn SharedState>,
        store: Arc<dyn Store>,
        watch: Arc<StoreWatch>,
        metrics: &Metrics,
    ) -> Self {
        let limits = Limits {
            group_max: BATCH_MAX,
            groups_in_flight: BATCHES_IN_FLIGHT,
            ..Limits::default()
        };
        let state = Arc::clone(&shared_state);
        let claims = Group::spawn(limits, metrics.group_sizes("claim"), move |batch| {
            claim(Arc::clone(&state), batch)
        });
        let state = Arc::clone(&shared_state);
        let lingering = Limits {
            linger: SETTLE_LINGER,
            ..limits
        };
        let settlements = Group::spawn(lingering, metrics.group_sizes("settle"), move |batch| {
            settle(Arc::clone(&state), batch)
        });
        let standings = Group::spawn(limits, metrics.group_sizes("standing"), move |batch| {
            standings(Arc::clone(&store), Arc::clone(&watch), batch)
        });
        Self {
            shared_state,
            claims,
            settlements,
            standings,
        }
    }

    /// Asks for the right to make `work`'s attempt; `None` when the process is ending.
    pub(crate) async fn claim(&self, work: &Work, policy: &Policy) -> Option<Claim> {
        let request = ClaimRequest {
            delivery: work.delivery,
            attempt: work.attempt,
            endpoint: work.endpoint,
            rate_per_minute: policy.rate_per_minute,
            lease: policy.exchange_max() + LEASE_MARGIN,
        };
        self.claims.submit(request).await.ok()
    }

    /// Ends a claim and tells what that did to the endpoint's circuit.
    pub(crate) async fn settle(
        &self,
        work: &Work,
        policy: &Policy,
        settled: Settled,
        troubled: bool,
    ) -> CircuitChange {
        let settlement = Settlement {
            delivery: work.delivery,
            attempt: work.attempt,
            endpoint: work.endpoint,
            settled,
            troubled,
            policy: CircuitPolicy {
                open_after: policy.open_after,
            },
        };
        self.settlements
            .submit(settlement)
            .await
            .unwrap_or(CircuitChange::None)
    }

    pub(crate) async fn standing(&self, delivery: DeliveryId) -> Known {
        self.standings
            .submit(delivery)
            .await
            .unwrap_or(Known::Unknown)
    }

    /// Whether claims hold in this process only.
    pub(crate) fn is_degraded(&self) -> bool {
        self.shared_state.is_degraded()
    }
}

async fn claim(shared_state: Arc<dyn SharedState>, batch: Vec<ClaimRequest>) -> Vec<Claim> {
    match shared_state.claim(&batch, ambient::now()).await {
        Ok(claims) => claims,
        Err(_) => vec![
            Claim::Granted {
                probe: false,
                troubled: true
            };
            batch.len()
        ],
    }
}

async fn settle(shared_state: Arc<dyn SharedState>, batch: Vec<Settlement>) -> Vec<CircuitChange> {
    match shared_state.settle(&batch, ambient::now()).await {
        Ok(changes) => changes,
        Err(_) => vec![CircuitChange::None; batch.len()],
    }
}

async fn standings(
    store: Arc<dyn Store>,
    watch: Arc<StoreWatch>,
    batch: Vec<DeliveryId>,
) -> Vec<Known> {
    if watch.is_away() {
        return vec![Known::Unknown; batch.len()];
    }
    match store.standings(&batch).await {
        Ok(standings) => standings
            .into_iter()
            .map(|standing| standing.map_or(Known::NoSuchDelivery, Known::Standing))
            .collect(),
        Err(error) => {
            watch.failed(&error);
            vec![Known::Unknown; batch.len()]
        }
    }
}
