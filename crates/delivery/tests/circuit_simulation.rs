//! Several dispatchers share one circuit under everything that can happen to them, in virtual
//! time. A failing run prints its shortest sequence of operations and proptest's seed.

use std::time::Duration;

use delivery::{
    Admission, Circuit, CircuitChange, CircuitPolicy, CircuitState, PROBE_AFTER, PROBE_AFTER_MAX,
};
use model::Timestamp;
use proptest::prelude::*;

const LEASE: Duration = Duration::from_secs(40);

#[derive(Clone, Debug)]
enum Op {
    Advance(Duration),
    /// Asks to make an attempt.
    Begin,
    /// Ends the attempt at this place among those under way.
    Succeed(usize),
    Fail(usize),
    Release(usize),
    /// The dispatcher dies: nothing is ever heard of the attempt.
    Crash(usize),
}

#[derive(Clone, Copy, Debug)]
struct UnderWay {
    probe: bool,
    lost_at: Timestamp,
}

struct World {
    now: Timestamp,
    policy: CircuitPolicy,
    circuit: Circuit,
    under_way: Vec<UnderWay>,
}

impl World {
    fn new(open_after: u32) -> Self {
        Self {
            now: Timestamp::from_seconds(1_776_254_400),
            policy: CircuitPolicy { open_after },
            circuit: Circuit::default(),
            under_way: Vec::new(),
        }
    }

    fn apply(&mut self, op: &Op) {
        match *op {
            Op::Advance(by) => self.now = self.now.plus(by),
            Op::Begin => self.begin(),
            Op::Succeed(at) => {
                if self.end(at).is_some() {
                    let change = self.circuit.succeeded();
                    assert_eq!(self.circuit, Circuit::default(), "after {change:?}");
                }
            }
            Op::Fail(at) => self.fail(at),
            Op::Release(at) => {
                if self.end(at).is_some_and(|ended| ended.probe) {
                    self.circuit.released(self.now);
                }
            }
            Op::Crash(at) => {
                self.end(at);
            }
        }
        self.check();
    }

    fn begin(&mut self) {
        let before = self.circuit;
        let admission = self.circuit.admit(self.now, LEASE);
        match admission {
            Admission::Flows => assert_eq!(before.state, CircuitState::Closed),
            Admission::Probe => {
                let alive = self
                    .under_way
                    .iter()
                    .filter(|a| a.probe && self.now < a.lost_at);
                let settled_since = matches!(before.state, CircuitState::Open { .. });
                assert!(settled_since || alive.count() == 0, "two probes at once");
            }
            Admission::Refused { probe_at } => {
                assert_ne!(
                    before.state,
                    CircuitState::Closed,
                    "a closed circuit refuses nothing"
                );
                assert!(probe_at > self.now);
                assert_eq!(self.circuit, before);
                return;
            }
        }
        let lost_at = self.now.plus(LEASE);
        self.under_way.push(UnderWay {
            probe: admission == Admission::Probe,
            lost_at,
        });
    }

    fn fail(&mut self, at: usize) {
        let Some(ended) = self.end(at) else { return };
        let before = self.circuit;
        let change = if ended.probe {
            self.circuit.failed(self.policy, self.now)
        } else {
            self.circuit.straggler_failed(self.policy, self.now)
        };
        match (before.state, change) {
            (CircuitState::Closed, CircuitChange::Opened) => {
                assert!(self.circuit.failures >= self.policy.open_after);
            }
            (CircuitState::HalfOpen { open_for, .. }, CircuitChange::Reopened) => {
                assert!(ended.probe, "only a failed probe lengthens the time");
                assert_eq!(
                    open_for_of(&self.circuit),
                    Some((open_for * 2).min(PROBE_AFTER_MAX))
                );
            }
            (_, CircuitChange::None) => assert_eq!(self.circuit.state, before.state),
            (state, change) => panic!("{state:?} cannot answer {change:?}"),
        }
    }

    /// An attempt heard of after its lease is no probe any more: another may have taken its place.
    fn end(&mut self, at: usize) -> Option<UnderWay> {
        if self.under_way.is_empty() {
            return None;
        }
        let mut ended = self.under_way.remove(at % self.under_way.len());
        ended.probe &= self.now < ended.lost_at;
        Some(ended)
    }

    fn check(&self) {
        let circuit = &self.circuit;
        match circuit.state {
            CircuitState::Closed => assert!(circuit.failures < self.policy.open_after),
            CircuitState::Open { .. } | CircuitState::HalfOpen { .. } => {
                assert!(circuit.failures >= self.policy.open_after);
                assert!(circuit.is_troubled());
            }
        }
        if let Some(open_for) = open_for_of(circuit) {
            assert!((PROBE_AFTER..=PROBE_AFTER_MAX).contains(&open_for));
        }
    }
}

fn open_for_of(circuit: &Circuit) -> Option<Duration> {
    match circuit.state {
        CircuitState::Closed => None,
        CircuitState::Open { open_for, .. } | CircuitState::HalfOpen { open_for, .. } => {
            Some(open_for)
        }
    }
}

fn any_op() -> impl Strategy<Value = Op> {
    let at = 0_usize..8;
    prop_oneof![
        2 => (1_u64..5_000).prop_map(|ms| Op::Advance(Duration::from_millis(ms))),
        1 => (10_u64..700).prop_map(|s| Op::Advance(Duration::from_secs(s))),
        6 => Just(Op::Begin),
        1 => at.clone().prop_map(Op::Succeed),
        5 => at.clone().prop_map(Op::Fail),
        1 => at.clone().prop_map(Op::Release),
        1 => at.prop_map(Op::Crash),
    ]
}

proptest! {
    #[test]
    fn the_circuit_keeps_its_invariants(
        open_after in 1_u32..6,
        ops in prop::collection::vec(any_op(), 1..300),
    ) {
        let mut world = World::new(open_after);
        for op in &ops {
            world.apply(op);
        }
    }

    #[test]
    fn half_open_admits_exactly_one(waiting in 1_usize..50) {
        let now = Timestamp::from_seconds(1_776_254_400);
        let state = CircuitState::Open { probe_at: now, open_for: PROBE_AFTER };
        let mut circuit = Circuit { failures: 10, state };
        let probes = (0..waiting)
            .filter(|_| circuit.admit(now, LEASE) == Admission::Probe)
            .count();
        prop_assert_eq!(probes, 1);
    }

    #[test]
    fn a_closed_circuit_never_refuses(failures: u32, seconds in 0_i64..4_000_000_000) {
        let mut circuit = Circuit { failures, state: CircuitState::Closed };
        let admission = circuit.admit(Timestamp::from_seconds(seconds), LEASE);
        prop_assert_eq!(admission, Admission::Flows);
    }
}

#[test]
fn an_endpoint_that_stays_dead_is_probed_at_doubling_times() {
    let mut world = World::new(3);
    for _ in 0..3 {
        world.apply(&Op::Begin);
        world.apply(&Op::Fail(0));
    }
    let mut waits = Vec::new();
    for _ in 0..7 {
        let open_for = open_for_of(&world.circuit).expect("open");
        waits.push(open_for.as_secs());
        world.apply(&Op::Advance(open_for));
        world.apply(&Op::Begin);
        world.apply(&Op::Fail(0));
    }
    assert_eq!(waits, [30, 60, 120, 240, 480, 600, 600]);
}
