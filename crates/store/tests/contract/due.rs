use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use model::{DeliveryId, DeliveryStatus, Timestamp, Work};
use store::{DeliveryFilter, Requeue, Verdict};

use crate::fixture::{Fixture, Make, attempted, endpoint_id, on_both_adapters, tenant};

on_both_adapters! {
    overdue_deliveries_are_answered_longest_overdue_first_and_not_again_at_once,
    no_overdue_delivery_is_answered_to_two_callers,
    a_requeued_delivery_starts_its_schedule_anew,
    only_the_tenants_own_deliveries_are_requeued,
    the_failed_and_discarded_are_requeued_oldest_first_and_others_if_named,
}

const SECOND: Duration = Duration::from_secs(1);

fn ids(work: &[Work]) -> Vec<DeliveryId> {
    work.iter().map(|work| work.delivery).collect()
}

/// Accepts a delivery at each of these ages.
async fn queue(fixture: &Fixture, ages: &[Duration], now: Timestamp) -> Vec<DeliveryId> {
    let mut ids = Vec::new();
    for age in ages {
        let accepted_at = now.minus(*age);
        let make = Make {
            accepted_at,
            endpoints: vec![endpoint_id()],
            ..Make::default()
        };
        let acceptance = make.acceptance();
        fixture.accept_one(&acceptance).await;
        ids.push(acceptance.deliveries[0].id);
    }
    ids
}

async fn overdue_deliveries_are_answered_longest_overdue_first_and_not_again_at_once(
    fixture: Fixture,
) {
    let now = ambient::now();
    let minutes = [1, 5, 3, 7].map(|minutes| SECOND * 60 * minutes);
    let queued = queue(&fixture, &minutes, now).await;
    // One is finished and one waits for a later time.
    let retrying = Verdict::Retrying {
        due_at: now.plus(SECOND * 60),
    };
    let batch = [attempted(queued[3], 1, 200, Verdict::Delivered)];
    fixture.store.record(&batch).await.unwrap();
    let waiting = queue(&fixture, &[SECOND * 600], now).await;
    fixture
        .record_one(attempted(waiting[0], 1, 500, retrying))
        .await;

    let due_before = now.minus(SECOND * 120);
    let one = fixture.store.overdue(due_before, now, 1).await.unwrap();
    assert_eq!(ids(&one), [queued[1]]);
    assert_eq!((one[0].attempt, one[0].due_at_ms), (1, now.as_millis()));
    let rest = fixture.store.overdue(due_before, now, 10).await.unwrap();
    assert_eq!(ids(&rest), [queued[2]]);
    assert!(
        fixture
            .store
            .overdue(due_before, now, 10)
            .await
            .unwrap()
            .is_empty()
    );
    let later = now.plus(SECOND * 120);
    let again = fixture
        .store
        .overdue(now.plus(SECOND * 60), later, 10)
        .await
        .unwrap();
    let again: BTreeSet<_> = ids(&again).into_iter().collect();
    assert_eq!(again, [queued[0], queued[1], queued[2], waiting[0]].into());
}

async fn no_overdue_delivery_is_answered_to_two_callers(fixture: Fixture) {
    let now = ambient::now();
    let accepted_at = now.minus(SECOND * 60);
    let batch: Vec<_> = (0..200)
        .map(|_| {
            Make {
                accepted_at,
                endpoints: vec![endpoint_id()],
                ..Make::default()
            }
            .acceptance()
        })
        .collect();
    fixture.store.accept(&batch).await.unwrap();
    let tasks = (0..8).map(|_| {
        let store = Arc::clone(&fixture.store);
        tokio::spawn(async move { store.overdue(now.minus(SECOND), now, 25).await.unwrap() })
    });
    let mut answered = Vec::new();
    for task in join_all(tasks).await {
        answered.extend(ids(&task.unwrap()));
    }
    // Those that somebody else had locked come with the next call.
    answered.extend(ids(&fixture
        .store
        .overdue(now.minus(SECOND), now, 200)
        .await
        .unwrap()));
    assert_eq!(answered.len(), 200);
    assert_eq!(answered.iter().collect::<BTreeSet<_>>().len(), 200);
}

async fn a_requeued_delivery_starts_its_schedule_anew(fixture: Fixture) {
    let now = ambient::now();
    let id = queue(&fixture, &[SECOND], now).await[0];
    fixture
        .record_one(attempted(id, 1, 500, Verdict::Retrying { due_at: now }))
        .await;
    fixture
        .record_one(attempted(id, 2, 500, Verdict::Failed))
        .await;
    let one = Requeue::One {
        tenant: tenant("acme"),
        delivery: id,
    };
    let work = fixture.store.requeue(one, now).await.unwrap().remove(0);
    assert_eq!(
        (work.delivery, work.attempt, work.attempts_before),
        (id, 3, 2)
    );
    assert_eq!(work.position(), 1);
    assert_eq!(fixture.standing(id).await, (DeliveryStatus::Queued, 2));
}

async fn only_the_tenants_own_deliveries_are_requeued(fixture: Fixture) {
    let now = ambient::now();
    let id = queue(&fixture, &[SECOND], now).await[0];
    fixture
        .record_one(attempted(id, 1, 500, Verdict::Failed))
        .await;
    let one = Requeue::One {
        tenant: tenant("zenith"),
        delivery: id,
    };
    assert!(fixture.store.requeue(one, now).await.unwrap().is_empty());
    let filter = DeliveryFilter::default();
    let all = Requeue::Matching {
        tenant: tenant("zenith"),
        filter,
        limit: 10,
    };
    assert!(fixture.store.requeue(all, now).await.unwrap().is_empty());
    assert_eq!(fixture.standing(id).await, (DeliveryStatus::Failed, 1));
}

async fn the_failed_and_discarded_are_requeued_oldest_first_and_others_if_named(fixture: Fixture) {
    let now = ambient::now();
    let ages = [4, 3, 2, 1].map(|seconds| SECOND * seconds);
    let queued = queue(&fixture, &ages, now).await;
    let batch = [
        attempted(queued[2], 1, 500, Verdict::Failed),
        attempted(queued[0], 1, 500, Verdict::Failed),
        attempted(queued[1], 1, 200, Verdict::Delivered),
    ];
    fixture.store.record(&batch).await.unwrap();
    let requeue = |filter, limit| Requeue::Matching {
        tenant: tenant("acme"),
        filter,
        limit,
    };
    let work = fixture
        .store
        .requeue(requeue(DeliveryFilter::default(), 1), now)
        .await
        .unwrap();
    assert_eq!(ids(&work), [queued[0]]);
    let work = fixture
        .store
        .requeue(requeue(DeliveryFilter::default(), 9), now)
        .await
        .unwrap();
    assert_eq!(ids(&work), [queued[2]]);
    let delivered = DeliveryFilter {
        status: Some(DeliveryStatus::Delivered),
        ..DeliveryFilter::default()
    };
    let work = fixture
        .store
        .requeue(requeue(delivered, 9), now)
        .await
        .unwrap();
    assert_eq!(ids(&work), [queued[1]]);
}
