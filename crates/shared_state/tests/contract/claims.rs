use super::*;

on_both_adapters! {
    an_attempt_is_granted_once,
    an_attempt_is_granted_once_within_a_batch,
    attempts_of_a_delivery_are_claimed_apart,
    a_settled_attempt_is_done_and_says_how_it_ended,
    an_attempt_settled_without_a_claim_is_done,
    a_released_attempt_can_be_claimed_again,
    a_release_after_the_end_changes_nothing,
    a_claim_ends_with_its_lease,
    of_many_claimants_at_once_one_is_granted,
    batches_larger_than_a_chunk_are_answered_in_order,
    an_empty_batch_is_answered,
}

async fn an_attempt_is_granted_once(state: Arc<dyn SharedState>) {
    let attempt = Attempt::new();
    assert_eq!(attempt.claim(&*state, now()).await, GRANTED);
    assert_eq!(attempt.claim(&*state, now()).await, Claim::Busy);
}

async fn an_attempt_is_granted_once_within_a_batch(state: Arc<dyn SharedState>) {
    let (a, b) = (Attempt::new(), Attempt::new());
    let batch = [
        a.request(),
        b.request(),
        a.request(),
        a.next().request(),
        b.request(),
    ];
    let claims = state.claim(&batch, now()).await.unwrap();
    assert_eq!(
        claims,
        [GRANTED, GRANTED, Claim::Busy, GRANTED, Claim::Busy]
    );
}

async fn attempts_of_a_delivery_are_claimed_apart(state: Arc<dyn SharedState>) {
    let attempt = Attempt::new();
    assert_eq!(attempt.claim(&*state, now()).await, GRANTED);
    attempt.settle(&*state, Settled::Failed, now()).await;
    assert_eq!(attempt.next().claim(&*state, now()).await, TROUBLED);
    assert_eq!(
        attempt.claim(&*state, now()).await,
        Claim::Done { succeeded: false }
    );
}

async fn a_settled_attempt_is_done_and_says_how_it_ended(state: Arc<dyn SharedState>) {
    for (settled, succeeded) in [(Settled::Succeeded, true), (Settled::Failed, false)] {
        for troubled in [false, true] {
            let attempt = Attempt::new();
            assert_eq!(attempt.claim(&*state, now()).await, GRANTED);
            let settlement = Settlement {
                troubled,
                ..attempt.settlement(settled)
            };
            state.settle(&[settlement], now()).await.unwrap();
            assert_eq!(
                attempt.claim(&*state, now()).await,
                Claim::Done { succeeded }
            );
        }
    }
}

async fn an_attempt_settled_without_a_claim_is_done(state: Arc<dyn SharedState>) {
    let attempt = Attempt::new();
    attempt.settle(&*state, Settled::Succeeded, now()).await;
    assert_eq!(
        attempt.claim(&*state, now()).await,
        Claim::Done { succeeded: true }
    );
}

async fn a_released_attempt_can_be_claimed_again(state: Arc<dyn SharedState>) {
    let attempt = Attempt::new();
    assert_eq!(attempt.claim(&*state, now()).await, GRANTED);
    assert_eq!(
        attempt.settle(&*state, Settled::Released, now()).await,
        CircuitChange::None
    );
    assert_eq!(attempt.claim(&*state, now()).await, GRANTED);
}

async fn a_release_after_the_end_changes_nothing(state: Arc<dyn SharedState>) {
    let attempt = Attempt::new();
    attempt.settle(&*state, Settled::Succeeded, now()).await;
    attempt.settle(&*state, Settled::Released, now()).await;
    assert_eq!(
        attempt.claim(&*state, now()).await,
        Claim::Done { succeeded: true }
    );
}

async fn a_claim_ends_with_its_lease(state: Arc<dyn SharedState>) {
    let lease = Duration::from_millis(80);
    let request = ClaimRequest {
        lease,
        ..Attempt::new().request()
    };
    let start = now();
    assert_eq!(state.claim(&[request], start).await.unwrap(), [GRANTED]);
    loop {
        let asked_at = ambient::now();
        let claims = state.claim(&[request], asked_at).await.unwrap();
        if claims == [GRANTED] {
            let now = ambient::now();
            assert!(now.since(start) >= lease, "after {:?}", now.since(start));
            return;
        }
        assert_eq!(claims, [Claim::Busy]);
        assert!(
            asked_at.since(start) < Duration::from_secs(5),
            "the lease never ends"
        );
        tokio::task::yield_now().await;
    }
}

async fn of_many_claimants_at_once_one_is_granted(state: Arc<dyn SharedState>) {
    let attempt = Attempt::new();
    let claimants: Vec<_> = (0..50)
        .map(|_| {
            let state = Arc::clone(&state);
            tokio::spawn(async move { attempt.claim(&*state, now()).await })
        })
        .collect();
    let mut granted = 0;
    for claimant in claimants {
        granted += u32::from(claimant.await.unwrap() == GRANTED);
    }
    assert_eq!(granted, 1);
}

async fn batches_larger_than_a_chunk_are_answered_in_order(state: Arc<dyn SharedState>) {
    for size in [shared_state::CHUNK_MAX, shared_state::CHUNK_MAX + 1, 600] {
        let attempts: Vec<_> = (0..size).map(|_| Attempt::new()).collect();
        let busy: Vec<_> = attempts
            .iter()
            .step_by(7)
            .map(|attempt| attempt.request())
            .collect();
        state.claim(&busy, now()).await.unwrap();
        let batch: Vec<_> = attempts.iter().map(|attempt| attempt.request()).collect();
        let claims = state.claim(&batch, now()).await.unwrap();
        assert_eq!(claims.len(), size);
        for (place, claim) in claims.into_iter().enumerate() {
            assert_eq!(
                claim,
                if place % 7 == 0 { Claim::Busy } else { GRANTED },
                "at {place}"
            );
        }
        let settle = |attempt: &Attempt| attempt.settlement(Settled::Failed);
        let batch: Vec<_> = attempts.iter().map(settle).collect();
        let changes = state.settle(&batch, now()).await.unwrap();
        assert_eq!(changes, vec![CircuitChange::None; size]);
    }
}

async fn an_empty_batch_is_answered(state: Arc<dyn SharedState>) {
    assert_eq!(state.claim(&[], now()).await.unwrap(), []);
    assert_eq!(state.settle(&[], now()).await.unwrap(), []);
    assert_eq!(state.circuits(&[]).await.unwrap(), []);
    state.ping().await.unwrap();
}

#[tokio::test]
async fn only_redis_has_memory_of_its_own() {
    let redis = Redis::open(&redis_url()).await.unwrap();
    assert!(
        redis
            .used_bytes()
            .await
            .unwrap()
            .is_some_and(|used| used > 0)
    );
    let in_process = InProcess::default();
    assert_eq!(in_process.used_bytes().await.unwrap(), None);
}
