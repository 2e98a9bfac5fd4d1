use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use model::{DeliveryId, DeliveryStatus, EndpointId, HoldReason, Work};
use store::{HeldFate, Verdict};

use crate::fixture::{Fixture, Make, attempted, endpoint_id, held_after, on_both_adapters, tenant};

on_both_adapters! {
    the_held_are_released_urgent_ones_first_then_by_age,
    no_delivery_is_released_to_two_callers,
    a_released_delivery_carries_its_event_and_its_next_attempt,
    endpoints_with_held_deliveries_are_found,
    the_latest_of_each_license_and_those_without_one_survive_compaction,
    discarding_all_leaves_other_endpoints_alone,
}

const SECOND: Duration = Duration::from_secs(1);

/// Holds deliveries of these event types for an endpoint, a second apart, the last one now.
async fn hold(fixture: &Fixture, endpoint: EndpointId, types: &[&'static str]) -> Vec<DeliveryId> {
    let mut accepted_at = ambient::now().minus(SECOND * u32::try_from(types.len()).unwrap());
    let mut ids = Vec::new();
    for event_type in types {
        accepted_at = accepted_at.plus(SECOND);
        let acceptance = Make {
            event_type,
            endpoints: vec![endpoint],
            held: Some(HoldReason::EndpointDisabled),
            accepted_at,
            ..Make::default()
        }
        .acceptance();
        fixture.accept_one(&acceptance).await;
        ids.push(acceptance.deliveries[0].id);
    }
    ids
}

fn ids(work: &[Work]) -> Vec<DeliveryId> {
    work.iter().map(|work| work.delivery).collect()
}

async fn the_held_are_released_urgent_ones_first_then_by_age(fixture: Fixture) {
    let endpoint = endpoint_id();
    let types = [
        "license.created",
        "license.validated",
        "license.revoked",
        "license.updated",
    ];
    let held = hold(&fixture, endpoint, &types).await;
    let now = ambient::now();
    let first = fixture.store.release(endpoint, 2, now).await.unwrap();
    assert_eq!(ids(&first), [held[2], held[0]]);
    let second = fixture.store.release(endpoint, 10, now).await.unwrap();
    assert_eq!(ids(&second), [held[1], held[3]]);
    assert!(
        fixture
            .store
            .release(endpoint, 10, now)
            .await
            .unwrap()
            .is_empty()
    );
}

async fn no_delivery_is_released_to_two_callers(fixture: Fixture) {
    let endpoint = endpoint_id();
    let batch: Vec<_> = (0..200)
        .map(|_| {
            let held = Some(HoldReason::EndpointDisabled);
            Make {
                endpoints: vec![endpoint],
                held,
                ..Make::default()
            }
            .acceptance()
        })
        .collect();
    fixture.store.accept(&batch).await.unwrap();
    let tasks = (0..8).map(|_| {
        let store = Arc::clone(&fixture.store);
        tokio::spawn(async move {
            let mut released = Vec::new();
            loop {
                let work = store.release(endpoint, 7, ambient::now()).await.unwrap();
                // Locked rows are passed over, so that nothing may come though something is left.
                if work.is_empty() && store.endpoints_with_held(1).await.unwrap().is_empty() {
                    return released;
                }
                released.extend(ids(&work));
            }
        })
    });
    let released: Vec<_> = join_all(tasks)
        .await
        .into_iter()
        .flat_map(Result::unwrap)
        .collect();
    assert_eq!(released.len(), 200);
    assert_eq!(released.iter().collect::<BTreeSet<_>>().len(), 200);
}

async fn a_released_delivery_carries_its_event_and_its_next_attempt(fixture: Fixture) {
    let endpoint = endpoint_id();
    let acceptance = Make {
        endpoints: vec![endpoint],
        ..Make::default()
    }
    .acceptance();
    fixture.accept_one(&acceptance).await;
    let id = acceptance.deliveries[0].id;
    let batch = [
        attempted(
            id,
            1,
            500,
            Verdict::Retrying {
                due_at: ambient::now(),
            },
        ),
        held_after(1, id, HoldReason::CircuitOpen),
    ];
    fixture.store.record(&batch).await.unwrap();
    let now = ambient::now();
    let work = fixture
        .store
        .release(endpoint, 1, now)
        .await
        .unwrap()
        .remove(0);
    assert_eq!((work.delivery, work.endpoint), (id, endpoint));
    assert_eq!((work.attempt, work.attempts_before), (2, 0));
    assert_eq!(
        (work.due_at_ms, work.queued_at_ms),
        (now.as_millis(), now.as_millis())
    );
    assert_eq!(work.event.id, acceptance.event.id);
    assert_eq!(work.event.data.get(), acceptance.event.data.get());
    assert_eq!(work.event.sequence, Some(1));
    assert_eq!(fixture.standing(id).await, (DeliveryStatus::Queued, 1));
    let delivery = fixture
        .store
        .delivery(&tenant("acme"), id)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (delivery.hold_reason, delivery.next_attempt_at),
        (None, Some(now))
    );
}

async fn endpoints_with_held_deliveries_are_found(fixture: Fixture) {
    assert!(
        fixture
            .store
            .endpoints_with_held(10)
            .await
            .unwrap()
            .is_empty()
    );
    let mut endpoints: Vec<_> = (0..3).map(|_| endpoint_id()).collect();
    endpoints.sort_unstable();
    for endpoint in &endpoints {
        hold(&fixture, *endpoint, &["license.created", "license.revoked"]).await;
    }
    assert_eq!(
        fixture.store.endpoints_with_held(10).await.unwrap(),
        endpoints
    );
    assert_eq!(
        fixture.store.endpoints_with_held(2).await.unwrap(),
        endpoints[..2]
    );
    fixture
        .store
        .release(endpoints[1], 10, ambient::now())
        .await
        .unwrap();
    let left = fixture.store.endpoints_with_held(10).await.unwrap();
    assert_eq!(left, [endpoints[0], endpoints[2]]);
}

async fn the_latest_of_each_license_and_those_without_one_survive_compaction(fixture: Fixture) {
    let endpoint = endpoint_id();
    let mut kept = BTreeSet::new();
    let accepted_at = ambient::now();
    for (license, survives) in [
        (Some("lic_1"), false),
        (Some("lic_2"), true),
        (None, true),
        (Some("lic_1"), false),
        (None, true),
        (Some("lic_1"), true),
    ] {
        let held = Some(HoldReason::EndpointDisabled);
        let endpoints = vec![endpoint];
        let make = Make {
            license,
            endpoints,
            held,
            accepted_at,
            ..Make::default()
        };
        let acceptance = make.acceptance();
        fixture.accept_one(&acceptance).await;
        if survives {
            kept.insert(acceptance.deliveries[0].id);
        }
    }
    let fate = HeldFate::KeepLatestPerLicense;
    let now = ambient::now();
    assert_eq!(
        fixture
            .store
            .discard_held(endpoint, fate, now)
            .await
            .unwrap(),
        2
    );
    let left = fixture.store.release(endpoint, 10, now).await.unwrap();
    assert_eq!(ids(&left).into_iter().collect::<BTreeSet<_>>(), kept);
}

async fn discarding_all_leaves_other_endpoints_alone(fixture: Fixture) {
    let (endpoint, other) = (endpoint_id(), endpoint_id());
    let discarded = hold(&fixture, endpoint, &["license.created", "license.revoked"]).await;
    hold(&fixture, other, &["license.created"]).await;
    let now = ambient::now();
    let count = fixture
        .store
        .discard_held(endpoint, HeldFate::DiscardAll, now)
        .await
        .unwrap();
    assert_eq!(count, 2);
    assert_eq!(
        fixture.standing(discarded[0]).await,
        (DeliveryStatus::Discarded, 0)
    );
    assert_eq!(
        fixture.store.endpoints_with_held(10).await.unwrap(),
        [other]
    );
    let again = fixture
        .store
        .discard_held(endpoint, HeldFate::DiscardAll, now)
        .await
        .unwrap();
    assert_eq!(again, 0);
}
