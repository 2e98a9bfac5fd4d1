//! The adapter for one process: sharded maps in memory.

mod endpoints;
mod locks;
mod marks;

use std::time::Duration;

use async_trait::async_trait;
use delivery::{Admission, Circuit, CircuitChange, CircuitState, PROBE_AFTER};
use model::{EndpointId, Timestamp};

use self::endpoints::Endpoints;
use self::locks::Locks;
use self::marks::{AttemptKey, Mark, Marks};
use crate::{Claim, ClaimRequest, DONE_KEPT, Settled, Settlement, SharedState, SharedStateError};

/// Claims, circuits, rates and locks of this process alone. Nothing of it outlives the process.
#[derive(Debug, Default)]
pub struct InProcess {
    marks: Marks,
    endpoints: Endpoints,
    locks: Locks,
}

impl InProcess {
    /// Takes over that an endpoint's circuit is open, as another shared state said.
    pub(crate) fn learn_open(&self, endpoint: EndpointId, probe_at: Timestamp, now: Timestamp) {
        self.endpoints.with(endpoint, now, |known| {
            let state = CircuitState::Open {
                probe_at,
                open_for: PROBE_AFTER,
            };
            known.circuit = Circuit {
                failures: known.circuit.failures.max(1),
                state,
            };
        });
    }

    /// Takes over that an endpoint's circuit is closed.
    pub(crate) fn learn_closed(&self, endpoint: EndpointId) {
        if !self.endpoints.is_untroubled(endpoint) {
            self.endpoints.forget_circuit(endpoint);
        }
    }

    fn claim_one(&self, request: &ClaimRequest, now: Timestamp) -> Claim {
        let key = AttemptKey::new(request.delivery, request.attempt);
        self.marks.with(key, now, |slot| {
            match slot.current() {
                Some(Mark::Busy | Mark::Probing) => return Claim::Busy,
                Some(Mark::Done { succeeded }) => return Claim::Done { succeeded },
                None => {}
            }
            if request.rate_per_minute.is_none() && self.endpoints.is_untroubled(request.endpoint) {
                slot.claim(Mark::Busy, now.plus(request.lease));
                return Claim::Granted {
                    probe: false,
                    troubled: false,
                };
            }
            let claim = self.endpoints.with(request.endpoint, now, |endpoint| {
                let circuit = endpoint.circuit;
                let admission = endpoint.circuit.admit(now, request.lease);
                if let Admission::Refused { probe_at } = admission {
                    return Claim::CircuitOpen { probe_at };
                }
                if let Some(per_minute) = request.rate_per_minute
                    && let Err(free_at) = endpoint.rate.admit(per_minute, now)
                {
                    endpoint.circuit = circuit;
                    return Claim::RateLimited { free_at };
                }
                let probe = admission == Admission::Probe;
                Claim::Granted {
                    probe,
                    troubled: circuit.is_troubled(),
                }
            });
            if let Claim::Granted { probe, .. } = claim {
                let mark = if probe { Mark::Probing } else { Mark::Busy };
                slot.claim(mark, now.plus(request.lease));
            }
            claim
        })
    }

    fn settle_one(&self, settlement: &Settlement, now: Timestamp) -> CircuitChange {
        let key = AttemptKey::new(settlement.delivery, settlement.attempt);
        let done_until = now.plus(DONE_KEPT);
        let probing = self.marks.with(key, now, |slot| {
            let probing = slot.current() == Some(Mark::Probing);
            match settlement.settled {
                Settled::Succeeded => slot.finish(true, done_until),
                Settled::Failed | Settled::Uncounted => slot.finish(false, done_until),
                Settled::Released => slot.release(),
            }
            probing
        });
        match settlement.settled {
            Settled::Succeeded if !settlement.troubled => CircuitChange::None,
            Settled::Succeeded => self.endpoints.forget_circuit(settlement.endpoint),
            Settled::Failed => self.endpoints.with(settlement.endpoint, now, |endpoint| {
                if probing {
                    endpoint.circuit.failed(settlement.policy, now)
                } else {
                    endpoint.circuit.straggler_failed(settlement.policy, now)
                }
            }),
            Settled::Uncounted | Settled::Released if probing => {
                self.endpoints.with(settlement.endpoint, now, |known| {
                    known.circuit.released(now)
                });
                CircuitChange::None
            }
            Settled::Uncounted | Settled::Released => CircuitChange::None,
        }
    }
}

#[async_trait]
impl SharedState for InProcess {
    async fn claim(
        &self,
        batch: &[ClaimRequest],
        now: Timestamp,
    ) -> Result<Vec<Claim>, SharedStateError> {
        let now = whole_millis(now);
        Ok(batch
            .iter()
            .map(|request| self.claim_one(request, now))
            .collect())
    }

    async fn settle(
        &self,
        batch: &[Settlement],
        now: Timestamp,
    ) -> Result<Vec<CircuitChange>, SharedStateError> {
        let now = whole_millis(now);
        Ok(batch
            .iter()
            .map(|settlement| self.settle_one(settlement, now))
            .collect())
    }

    async fn circuits(&self, endpoints: &[EndpointId]) -> Result<Vec<Circuit>, SharedStateError> {
        Ok(endpoints
            .iter()
            .map(|&endpoint| self.endpoints.circuit(endpoint))
            .collect())
    }

    async fn reset_circuit(&self, endpoint: EndpointId) -> Result<(), SharedStateError> {
        self.endpoints.forget_circuit(endpoint);
        Ok(())
    }

    async fn lock(
        &self,
        name: &str,
        holder: &str,
        ttl: Duration,
    ) -> Result<bool, SharedStateError> {
        Ok(self.locks.take(name, holder, ttl, ambient::now()))
    }

    async fn ping(&self) -> Result<(), SharedStateError> {
        Ok(())
    }
}

/// Both adapters count in whole milliseconds, so that they answer the same.
fn whole_millis(now: Timestamp) -> Timestamp {
    Timestamp::from_millis(now.as_millis())
}
