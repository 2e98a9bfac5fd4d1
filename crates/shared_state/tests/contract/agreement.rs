//! Both adapters give the same answers to whatever happens, in virtual time.
//!
//! Redis ends claims and done marks by its own clock. So leases here outlast a run, and deliveries
//! are used no longer than until [`EPOCH`] of virtual time is over.

use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use super::*;

/// Shorter than done marks are kept.
const EPOCH: Duration = Duration::from_secs(100);
const LONG_LEASE: Duration = Duration::from_secs(3_600);
const ENDPOINTS: usize = 3;
const DELIVERIES: usize = 6;

#[derive(Clone, Debug)]
enum Op {
    Claim(Vec<Item>),
    Settle(Vec<(Item, Settled, bool)>),
    Advance { ms: u64 },
    Reset { endpoint: usize },
}

/// A delivery belongs to one endpoint.
#[derive(Clone, Copy, Debug)]
struct Item {
    delivery: usize,
    attempt: u32,
    short_lease: bool,
}

struct World {
    remote: Arc<dyn SharedState>,
    local: InProcess,
    now: Timestamp,
    epoch_ends: Timestamp,
    deliveries: Vec<DeliveryId>,
    endpoints: Vec<EndpointId>,
}

impl World {
    fn new(remote: Arc<dyn SharedState>) -> Self {
        let start = now();
        let mut world = Self {
            remote,
            local: InProcess::default(),
            now: start,
            epoch_ends: start,
            deliveries: Vec::new(),
            endpoints: (0..ENDPOINTS).map(|_| new_endpoint()).collect(),
        };
        world.begin_epoch();
        world
    }

    fn begin_epoch(&mut self) {
        self.epoch_ends = self.now.plus(EPOCH);
        self.deliveries = (0..DELIVERIES).map(|_| Attempt::new().delivery).collect();
    }

    /// The first endpoint has no rate limit, the others have different ones.
    fn request(&self, item: Item) -> ClaimRequest {
        let endpoint = item.delivery % ENDPOINTS;
        let rate = u32::try_from(100 * endpoint).expect("a small number");
        ClaimRequest {
            delivery: self.deliveries[item.delivery],
            attempt: item.attempt,
            endpoint: self.endpoints[endpoint],
            rate_per_minute: (rate > 0).then_some(rate),
            lease: if item.short_lease {
                LONG_LEASE
            } else {
                LONG_LEASE * 2
            },
        }
    }

    fn settlement(&self, item: Item, settled: Settled, troubled: bool) -> Settlement {
        let endpoint = item.delivery % ENDPOINTS;
        Settlement {
            delivery: self.deliveries[item.delivery],
            attempt: item.attempt,
            endpoint: self.endpoints[endpoint],
            settled,
            troubled,
            policy: CircuitPolicy {
                open_after: u32::try_from(endpoint).expect("small") + 1,
            },
        }
    }

    async fn apply(&mut self, op: &Op) {
        match op {
            Op::Claim(items) => {
                let batch: Vec<_> = items.iter().map(|&item| self.request(item)).collect();
                let remote = self.remote.claim(&batch, self.now).await.unwrap();
                assert_eq!(remote, self.local.claim(&batch, self.now).await.unwrap());
            }
            Op::Settle(items) => {
                let settlement =
                    |&(item, settled, troubled)| self.settlement(item, settled, troubled);
                let batch: Vec<_> = items.iter().map(settlement).collect();
                let remote = self.remote.settle(&batch, self.now).await.unwrap();
                assert_eq!(remote, self.local.settle(&batch, self.now).await.unwrap());
            }
            Op::Advance { ms } => {
                self.now = self.now.plus(Duration::from_millis(*ms));
                if self.now >= self.epoch_ends {
                    self.begin_epoch();
                }
            }
            Op::Reset { endpoint } => {
                self.remote
                    .reset_circuit(self.endpoints[*endpoint])
                    .await
                    .unwrap();
                self.local
                    .reset_circuit(self.endpoints[*endpoint])
                    .await
                    .unwrap();
            }
        }
        let remote = self.remote.circuits(&self.endpoints).await.unwrap();
        assert_eq!(
            remote,
            self.local.circuits(&self.endpoints).await.unwrap(),
            "after {op:?}"
        );
    }
}

fn any_item() -> impl Strategy<Value = Item> {
    (0..DELIVERIES, 1_u32..6, any::<bool>()).prop_map(|(delivery, attempt, short_lease)| Item {
        delivery,
        attempt,
        short_lease,
    })
}

fn any_settled() -> impl Strategy<Value = Settled> {
    prop_oneof![
        4 => Just(Settled::Failed),
        1 => Just(Settled::Succeeded),
        1 => Just(Settled::Uncounted),
        1 => Just(Settled::Released),
    ]
}

fn any_op() -> impl Strategy<Value = Op> {
    let settlement = (any_item(), any_settled(), any::<bool>());
    prop_oneof![
        6 => prop::collection::vec(any_item(), 1..8).prop_map(Op::Claim),
        6 => prop::collection::vec(settlement, 1..4).prop_map(Op::Settle),
        4 => (0_u64..400).prop_map(|ms| Op::Advance { ms }),
        3 => (1_000_u64..700_000).prop_map(|ms| Op::Advance { ms }),
        // The very moment of a first probe.
        2 => Just(Op::Advance { ms: 30_000 }),
        1 => (0..ENDPOINTS).prop_map(|endpoint| Op::Reset { endpoint }),
    ]
}

#[test]
fn both_adapters_give_the_same_answers() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let remote: Arc<dyn SharedState> = Arc::new(
        runtime
            .block_on(Redis::open(&redis_url()))
            .expect("a usable URL"),
    );
    let config = ProptestConfig {
        cases: 60,
        failure_persistence: None,
        ..Default::default()
    };
    let ops = prop::collection::vec(any_op(), 1..120);
    let outcome = TestRunner::new(config).run(&ops, |ops| {
        runtime.block_on(async {
            let mut world = World::new(Arc::clone(&remote));
            for op in &ops {
                world.apply(op).await;
            }
        });
        Ok(())
    });
    outcome.unwrap();
}
