use delivery::{Circuit, CircuitState, PROBE_AFTER, PROBE_AFTER_MAX};

use super::*;

on_both_adapters! {
    the_circuit_opens_after_so_many_failures_in_a_row_and_refuses,
    a_success_in_between_starts_the_count_again,
    an_open_circuit_lets_one_probe_go_when_it_is_time,
    one_batch_holds_one_probe,
    failed_probes_double_the_time_up_to_the_maximum,
    a_lost_probe_makes_room_for_another,
    a_released_probe_makes_room_for_another_at_once,
    a_successful_probe_closes_the_circuit,
    a_failure_that_does_not_count_leaves_the_circuit_alone,
    a_probe_that_does_not_count_makes_room_for_another_at_once,
    a_straggler_neither_ends_the_probing_nor_lengthens_the_time,
    a_refused_attempt_claims_nothing,
    a_reset_closes_the_circuit,
    circuits_of_endpoints_are_apart,
}

/// Fails the endpoint until its circuit opens.
async fn open(state: &dyn SharedState, endpoint: EndpointId, now: Timestamp) {
    for failure in 1..=POLICY.open_after {
        let attempt = Attempt::to(endpoint);
        let expected = if failure == 1 { GRANTED } else { TROUBLED };
        assert_eq!(attempt.claim(state, now).await, expected);
        let opens = failure == POLICY.open_after;
        let expected = if opens {
            CircuitChange::Opened
        } else {
            CircuitChange::None
        };
        assert_eq!(attempt.settle(state, Settled::Failed, now).await, expected);
    }
}

async fn circuit(state: &dyn SharedState, endpoint: EndpointId) -> Circuit {
    state.circuits(&[endpoint]).await.unwrap()[0]
}

async fn the_circuit_opens_after_so_many_failures_in_a_row_and_refuses(
    state: Arc<dyn SharedState>,
) {
    let (endpoint, start) = (new_endpoint(), now());
    assert_eq!(circuit(&*state, endpoint).await, Circuit::default());
    open(&*state, endpoint, start).await;
    let probe_at = start.plus(PROBE_AFTER);
    let expected = CircuitState::Open {
        probe_at,
        open_for: PROBE_AFTER,
    };
    assert_eq!(
        circuit(&*state, endpoint).await,
        Circuit {
            failures: 3,
            state: expected
        }
    );
    let almost = probe_at.minus(Duration::from_millis(1));
    let claim = Attempt::to(endpoint).claim(&*state, almost).await;
    assert_eq!(claim, Claim::CircuitOpen { probe_at });
}

async fn a_success_in_between_starts_the_count_again(state: Arc<dyn SharedState>) {
    let endpoint = new_endpoint();
    for _ in 0..3 {
        for settled in [Settled::Failed, Settled::Failed, Settled::Succeeded] {
            let attempt = Attempt::to(endpoint);
            attempt.claim(&*state, now()).await;
            assert_eq!(
                attempt.settle(&*state, settled, now()).await,
                CircuitChange::None
            );
        }
    }
    assert_eq!(circuit(&*state, endpoint).await, Circuit::default());
}

async fn an_open_circuit_lets_one_probe_go_when_it_is_time(state: Arc<dyn SharedState>) {
    let (endpoint, start) = (new_endpoint(), now());
    open(&*state, endpoint, start).await;
    let probe_at = start.plus(PROBE_AFTER);
    assert_eq!(Attempt::to(endpoint).claim(&*state, probe_at).await, PROBE);
    let lost_at = probe_at.plus(LEASE);
    let claim = Attempt::to(endpoint).claim(&*state, probe_at).await;
    assert_eq!(claim, Claim::CircuitOpen { probe_at: lost_at });
}

async fn one_batch_holds_one_probe(state: Arc<dyn SharedState>) {
    let (endpoint, start) = (new_endpoint(), now());
    open(&*state, endpoint, start).await;
    let batch: Vec<_> = (0..20).map(|_| Attempt::to(endpoint).request()).collect();
    let claims = state.claim(&batch, start.plus(PROBE_AFTER)).await.unwrap();
    assert_eq!(claims[0], PROBE);
    assert_eq!(claims.iter().filter(|&&claim| claim == PROBE).count(), 1);
}

async fn failed_probes_double_the_time_up_to_the_maximum(state: Arc<dyn SharedState>) {
    let (endpoint, start) = (new_endpoint(), now());
    open(&*state, endpoint, start).await;
    let (mut probe_at, mut open_for) = (start.plus(PROBE_AFTER), PROBE_AFTER);
    for _ in 0..7 {
        let probe = Attempt::to(endpoint);
        assert_eq!(probe.claim(&*state, probe_at).await, PROBE);
        let failed_at = probe_at.plus(Duration::from_secs(3));
        let change = probe.settle(&*state, Settled::Failed, failed_at).await;
        assert_eq!(change, CircuitChange::Reopened);
        open_for = (open_for * 2).min(PROBE_AFTER_MAX);
        probe_at = failed_at.plus(open_for);
        let state = circuit(&*state, endpoint).await.state;
        assert_eq!(state, CircuitState::Open { probe_at, open_for });
    }
    assert_eq!(open_for, PROBE_AFTER_MAX);
}

async fn a_lost_probe_makes_room_for_another(state: Arc<dyn SharedState>) {
    let (endpoint, start) = (new_endpoint(), now());
    open(&*state, endpoint, start).await;
    let probe_at = start.plus(PROBE_AFTER);
    assert_eq!(Attempt::to(endpoint).claim(&*state, probe_at).await, PROBE);
    assert_eq!(
        Attempt::to(endpoint)
            .claim(&*state, probe_at.plus(LEASE))
            .await,
        PROBE
    );
}

async fn a_released_probe_makes_room_for_another_at_once(state: Arc<dyn SharedState>) {
    let (endpoint, start) = (new_endpoint(), now());
    open(&*state, endpoint, start).await;
    let probe_at = start.plus(PROBE_AFTER);
    let probe = Attempt::to(endpoint);
    assert_eq!(probe.claim(&*state, probe_at).await, PROBE);
    assert_eq!(
        probe.settle(&*state, Settled::Released, probe_at).await,
        CircuitChange::None
    );
    assert_eq!(probe.claim(&*state, probe_at).await, PROBE);
}

async fn a_successful_probe_closes_the_circuit(state: Arc<dyn SharedState>) {
    let (endpoint, start) = (new_endpoint(), now());
    open(&*state, endpoint, start).await;
    let probe_at = start.plus(PROBE_AFTER);
    let probe = Attempt::to(endpoint);
    assert_eq!(probe.claim(&*state, probe_at).await, PROBE);
    let change = probe.settle(&*state, Settled::Succeeded, probe_at).await;
    assert_eq!(change, CircuitChange::Closed);
    assert_eq!(circuit(&*state, endpoint).await, Circuit::default());
    assert_eq!(
        Attempt::to(endpoint).claim(&*state, probe_at).await,
        GRANTED
    );
}

async fn a_failure_that_does_not_count_leaves_the_circuit_alone(state: Arc<dyn SharedState>) {
    let endpoint = new_endpoint();
    for _ in 0..2 * POLICY.open_after {
        let attempt = Attempt::to(endpoint);
        assert_eq!(attempt.claim(&*state, now()).await, GRANTED);
        let change = attempt.settle(&*state, Settled::Uncounted, now()).await;
        assert_eq!(change, CircuitChange::None);
        let again = attempt.claim(&*state, now()).await;
        assert_eq!(again, Claim::Done { succeeded: false });
    }
    assert_eq!(circuit(&*state, endpoint).await, Circuit::default());
}

async fn a_probe_that_does_not_count_makes_room_for_another_at_once(state: Arc<dyn SharedState>) {
    let (endpoint, start) = (new_endpoint(), now());
    open(&*state, endpoint, start).await;
    let probe_at = start.plus(PROBE_AFTER);
    let probe = Attempt::to(endpoint);
    assert_eq!(probe.claim(&*state, probe_at).await, PROBE);
    let change = probe.settle(&*state, Settled::Uncounted, probe_at).await;
    assert_eq!(change, CircuitChange::None);
    let state_now = circuit(&*state, endpoint).await.state;
    let open_again = CircuitState::Open {
        probe_at,
        open_for: PROBE_AFTER,
    };
    assert_eq!(state_now, open_again);
    let next = Attempt::to(endpoint).claim(&*state, probe_at).await;
    assert_eq!(next, PROBE);
}

async fn a_straggler_neither_ends_the_probing_nor_lengthens_the_time(state: Arc<dyn SharedState>) {
    let (endpoint, start) = (new_endpoint(), now());
    let stragglers = [
        Attempt::to(endpoint),
        Attempt::to(endpoint),
        Attempt::to(endpoint),
    ];
    for straggler in stragglers {
        assert_eq!(straggler.claim(&*state, start).await, GRANTED);
    }
    open(&*state, endpoint, start).await;
    let change = stragglers[0].settle(&*state, Settled::Failed, start).await;
    assert_eq!(change, CircuitChange::None);
    let probe_at = start.plus(PROBE_AFTER);
    let probe = Attempt::to(endpoint);
    assert_eq!(probe.claim(&*state, probe_at).await, PROBE);
    let half_open = circuit(&*state, endpoint).await.state;
    assert!(matches!(
        half_open,
        CircuitState::HalfOpen {
            open_for: PROBE_AFTER,
            ..
        }
    ));
    let change = stragglers[1]
        .settle(&*state, Settled::Failed, probe_at)
        .await;
    assert_eq!(change, CircuitChange::None);
    stragglers[2]
        .settle(&*state, Settled::Released, probe_at)
        .await;
    assert_eq!(
        circuit(&*state, endpoint).await,
        Circuit {
            failures: 5,
            state: half_open
        }
    );
    let change = probe.settle(&*state, Settled::Failed, probe_at).await;
    assert_eq!(change, CircuitChange::Reopened);
}

async fn a_refused_attempt_claims_nothing(state: Arc<dyn SharedState>) {
    let (endpoint, start) = (new_endpoint(), now());
    open(&*state, endpoint, start).await;
    let attempt = Attempt::to(endpoint);
    let probe_at = start.plus(PROBE_AFTER);
    assert_eq!(
        attempt.claim(&*state, start).await,
        Claim::CircuitOpen { probe_at }
    );
    state.reset_circuit(endpoint).await.unwrap();
    assert_eq!(attempt.claim(&*state, start).await, GRANTED);
    open(&*state, Attempt::new().endpoint, start).await;
    assert_eq!(attempt.claim(&*state, start).await, Claim::Busy);
}

async fn a_reset_closes_the_circuit(state: Arc<dyn SharedState>) {
    let endpoint = new_endpoint();
    open(&*state, endpoint, now()).await;
    state.reset_circuit(endpoint).await.unwrap();
    assert_eq!(circuit(&*state, endpoint).await, Circuit::default());
    assert_eq!(Attempt::to(endpoint).claim(&*state, now()).await, GRANTED);
}

async fn circuits_of_endpoints_are_apart(state: Arc<dyn SharedState>) {
    let (dead, living, start) = (new_endpoint(), new_endpoint(), now());
    open(&*state, dead, start).await;
    let batch = [Attempt::to(dead), Attempt::to(living)].map(Attempt::request);
    let claims = state.claim(&batch, start).await.unwrap();
    assert_eq!(
        claims,
        [
            Claim::CircuitOpen {
                probe_at: start.plus(PROBE_AFTER)
            },
            GRANTED
        ]
    );
    let circuits = state.circuits(&[living, dead]).await.unwrap();
    let failures: Vec<_> = circuits.iter().map(|circuit| circuit.failures).collect();
    assert_eq!(failures, [0, 3]);
}
