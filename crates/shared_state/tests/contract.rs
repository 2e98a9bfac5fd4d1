//! What every shared state does, claimed of both adapters.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "contract/agreement.rs"]
mod agreement;
#[path = "contract/circuits.rs"]
mod circuits;
#[path = "contract/claims.rs"]
mod claims;
#[path = "contract/rates_and_locks.rs"]
mod rates_and_locks;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use delivery::{CircuitChange, CircuitPolicy};
use model::{DeliveryId, EndpointId, Timestamp};
use shared_state::{Claim, ClaimRequest, InProcess, Redis, Settled, Settlement, SharedState};

const POLICY: CircuitPolicy = CircuitPolicy { open_after: 3 };
const LEASE: Duration = Duration::from_secs(40);
const GRANTED: Claim = Claim::Granted {
    probe: false,
    troubled: false,
};
const TROUBLED: Claim = Claim::Granted {
    probe: false,
    troubled: true,
};
const PROBE: Claim = Claim::Granted {
    probe: true,
    troubled: true,
};

/// Makes a test of each claim for each adapter. Ids are random, so that tests share one Redis.
macro_rules! on_both_adapters {
    ($($name:ident,)*) => {
        mod in_process {
            $(#[tokio::test] async fn $name() {
                crate::on_in_process(super::$name).await;
            })*
        }
        mod redis {
            $(#[tokio::test] async fn $name() {
                crate::on_redis(super::$name).await;
            })*
        }
    };
}
pub(crate) use on_both_adapters;

async fn on_in_process<F: Future<Output = ()>>(claim: impl FnOnce(Arc<dyn SharedState>) -> F) {
    claim(Arc::new(InProcess::default())).await;
}

async fn on_redis<F: Future<Output = ()>>(claim: impl FnOnce(Arc<dyn SharedState>) -> F) {
    claim(Arc::new(
        Redis::open(&redis_url()).await.expect("a usable URL"),
    ))
    .await;
}

#[expect(
    clippy::disallowed_methods,
    reason = "the test script hands over the services this way"
)]
fn redis_url() -> String {
    std::env::var("FANFARE_TEST_REDIS_URL")
        .expect("FANFARE_TEST_REDIS_URL is not set: run make test, or tests/services.sh up")
}

/// One attempt to claim and to settle, of a delivery and an endpoint nobody else uses.
#[derive(Clone, Copy, Debug)]
struct Attempt {
    delivery: DeliveryId,
    number: u32,
    endpoint: EndpointId,
}

impl Attempt {
    fn new() -> Self {
        Self::to(new_endpoint())
    }

    fn to(endpoint: EndpointId) -> Self {
        let delivery = DeliveryId::new(ambient::now(), ambient::random_id());
        Self {
            delivery,
            number: 1,
            endpoint,
        }
    }

    fn next(self) -> Self {
        Self {
            number: self.number + 1,
            ..self
        }
    }

    fn request(self) -> ClaimRequest {
        ClaimRequest {
            delivery: self.delivery,
            attempt: self.number,
            endpoint: self.endpoint,
            rate_per_minute: None,
            lease: LEASE,
        }
    }

    fn settlement(self, settled: Settled) -> Settlement {
        Settlement {
            delivery: self.delivery,
            attempt: self.number,
            endpoint: self.endpoint,
            settled,
            troubled: true,
            policy: POLICY,
        }
    }

    async fn claim(self, state: &dyn SharedState, now: Timestamp) -> Claim {
        let claims = state
            .claim(&[self.request()], now)
            .await
            .expect("the state is there");
        let [claim] = claims.as_slice() else {
            panic!("{claims:?}")
        };
        *claim
    }

    async fn settle(
        self,
        state: &dyn SharedState,
        settled: Settled,
        now: Timestamp,
    ) -> CircuitChange {
        let changes = state.settle(&[self.settlement(settled)], now).await;
        let changes = changes.expect("the state is there");
        let [change] = changes.as_slice() else {
            panic!("{changes:?}")
        };
        *change
    }
}

fn new_endpoint() -> EndpointId {
    EndpointId::new(ambient::now(), ambient::random_id())
}

fn now() -> Timestamp {
    Timestamp::from_millis(ambient::now().as_millis())
}
