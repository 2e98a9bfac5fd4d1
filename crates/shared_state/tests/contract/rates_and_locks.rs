use super::*;

on_both_adapters! {
    a_rate_limit_admits_so_many_a_second,
    a_rate_may_be_less_than_one_a_second,
    what_the_rate_refuses_claims_and_spends_nothing,
    a_busy_attempt_spends_nothing_of_the_rate,
    rates_of_endpoints_are_apart,
    a_lock_has_one_holder,
    a_lock_ends_with_its_time,
}

fn limited(endpoint: EndpointId, per_second: u32, count: usize) -> Vec<ClaimRequest> {
    let request = || Attempt::to(endpoint).request();
    (0..count)
        .map(|_| ClaimRequest {
            rate_per_minute: Some(60 * per_second),
            ..request()
        })
        .collect()
}

async fn granted(state: &dyn SharedState, batch: &[ClaimRequest], now: Timestamp) -> usize {
    let claims = state.claim(batch, now).await.unwrap();
    claims.into_iter().filter(|&claim| claim == GRANTED).count()
}

async fn a_rate_limit_admits_so_many_a_second(state: Arc<dyn SharedState>) {
    let (endpoint, start) = (new_endpoint(), now());
    let batch = limited(endpoint, 10, 15);
    let claims = state.claim(&batch, start).await.unwrap();
    let free_at = start.plus(Duration::from_millis(100));
    assert_eq!(claims[..10], [GRANTED; 10]);
    assert_eq!(claims[10..], [Claim::RateLimited { free_at }; 5]);
    let mut total = 0;
    for tick in 1..=100 {
        let now = start.plus(Duration::from_millis(50 * tick));
        total += granted(&*state, &limited(endpoint, 10, 3), now).await;
    }
    assert_eq!(total, 50);
}

async fn a_rate_may_be_less_than_one_a_second(state: Arc<dyn SharedState>) {
    let (endpoint, start) = (new_endpoint(), now());
    let mut batch = limited(endpoint, 1, 2);
    for request in &mut batch {
        request.rate_per_minute = Some(6);
    }
    let free_at = start.plus(Duration::from_secs(10));
    let claims = state.claim(&batch, start).await.unwrap();
    assert_eq!(claims, [GRANTED, Claim::RateLimited { free_at }]);
    assert_eq!(state.claim(&batch[1..], free_at).await.unwrap(), [GRANTED]);
}

async fn what_the_rate_refuses_claims_and_spends_nothing(state: Arc<dyn SharedState>) {
    let (endpoint, start) = (new_endpoint(), now());
    let batch = limited(endpoint, 1, 2);
    let free_at = start.plus(Duration::from_secs(1));
    for _ in 0..5 {
        state.claim(&batch, start).await.unwrap();
    }
    let claims = state.claim(&batch, start).await.unwrap();
    assert_eq!(claims, [Claim::Busy, Claim::RateLimited { free_at }]);
    assert_eq!(state.claim(&batch[1..], free_at).await.unwrap(), [GRANTED]);
}

async fn a_busy_attempt_spends_nothing_of_the_rate(state: Arc<dyn SharedState>) {
    let (endpoint, start) = (new_endpoint(), now());
    let batch = limited(endpoint, 2, 2);
    for _ in 0..5 {
        state.claim(&batch[..1], start).await.unwrap();
    }
    assert_eq!(
        state.claim(&batch, start).await.unwrap(),
        [Claim::Busy, GRANTED]
    );
}

async fn rates_of_endpoints_are_apart(state: Arc<dyn SharedState>) {
    let start = now();
    let mut batch = limited(new_endpoint(), 2, 5);
    batch.extend(limited(new_endpoint(), 3, 5));
    batch.extend((0..5).map(|_| Attempt::new().request()));
    assert_eq!(granted(&*state, &batch, start).await, 2 + 3 + 5);
}

fn lock_name() -> String {
    format!("test {}", ambient::random_id())
}

async fn a_lock_has_one_holder(state: Arc<dyn SharedState>) {
    let name = lock_name();
    let ttl = Duration::from_secs(30);
    assert!(state.lock(&name, "a", ttl).await.unwrap());
    assert!(!state.lock(&name, "b", ttl).await.unwrap());
    assert!(state.lock(&name, "a", ttl).await.unwrap());
    assert!(state.lock(&lock_name(), "b", ttl).await.unwrap());
}

async fn a_lock_ends_with_its_time(state: Arc<dyn SharedState>) {
    let name = lock_name();
    let ttl = Duration::from_millis(80);
    let start = ambient::now();
    assert!(state.lock(&name, "a", ttl).await.unwrap());
    while !state.lock(&name, "b", ttl).await.unwrap() {
        assert!(
            ambient::now().since(start) < Duration::from_secs(5),
            "the lock never ends"
        );
        tokio::task::yield_now().await;
    }
    assert!(ambient::now().since(start) >= ttl);
}
