use std::time::Duration;

use model::{DeliveryId, DeliveryStatus, HoldReason, Outcome, Timestamp};
use store::{Balance, Record, Requeue, Verdict};

use crate::fixture::{
    Fixture, Make, attempted, endpoint_id, held, held_after, on_both_adapters, tenant, timed_out,
};

on_both_adapters! {
    a_delivery_goes_from_queued_through_retrying_to_delivered,
    an_attempt_comes_back_as_it_was_recorded,
    a_number_recorded_before_changes_nothing,
    a_final_status_stays_until_the_delivery_is_requeued,
    what_came_late_does_not_undo_what_came_after_it,
    two_records_of_one_delivery_in_a_batch_apply_in_order,
    holding_without_an_attempt_applies_unless_the_delivery_is_final,
    a_hold_decided_before_an_attempt_was_recorded_does_not_undo_its_retry,
    records_of_unknown_deliveries_are_no_error,
    deliveries_of_many_weeks_are_recorded_in_one_batch,
    both_sides_of_the_balance_agree_whatever_happens,
    statistics_count_what_happened_in_the_window,
}

async fn queued(fixture: &Fixture) -> DeliveryId {
    let acceptance = Make {
        endpoints: vec![endpoint_id()],
        ..Make::default()
    }
    .acceptance();
    fixture.accept_one(&acceptance).await;
    acceptance.deliveries[0].id
}

fn later() -> Timestamp {
    Timestamp::from_millis(ambient::now().plus(Duration::from_secs(60)).as_millis())
}

async fn a_delivery_goes_from_queued_through_retrying_to_delivered(fixture: Fixture) {
    let id = queued(&fixture).await;
    assert_eq!(fixture.standing(id).await, (DeliveryStatus::Queued, 0));
    let due_at = later();
    fixture
        .record_one(attempted(id, 1, 500, Verdict::Retrying { due_at }))
        .await;
    let delivery = fixture
        .store
        .delivery(&tenant("acme"), id)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (delivery.status, delivery.attempts),
        (DeliveryStatus::Retrying, 1)
    );
    assert_eq!(delivery.next_attempt_at, Some(due_at));
    fixture
        .record_one(attempted(id, 2, 204, Verdict::Delivered))
        .await;
    let delivery = fixture
        .store
        .delivery(&tenant("acme"), id)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (delivery.status, delivery.attempts),
        (DeliveryStatus::Delivered, 2)
    );
    assert_eq!(delivery.next_attempt_at, None);
    assert!(delivery.updated_at > delivery.created_at);
}

async fn an_attempt_comes_back_as_it_was_recorded(fixture: Fixture) {
    let id = queued(&fixture).await;
    let mut first = attempted(id, 1, 429, Verdict::Retrying { due_at: later() });
    if let Some(attempt) = &mut first.attempt {
        attempt.outcome = Outcome::Answered {
            status: 429,
            retry_after: Some(Duration::from_secs(7)),
        };
    }
    let mut second = timed_out(id, 2, Verdict::Failed);
    if let Some(attempt) = &mut second.attempt {
        attempt.error_detail = Some("in words".to_owned());
        attempt.response_headers.clear();
        attempt.response_body.clear();
    }
    fixture.store.record(&[first.clone()]).await.unwrap();
    fixture.store.record(&[second.clone()]).await.unwrap();
    let attempts = fixture.store.attempts(id).await.unwrap();
    assert_eq!(attempts, [first.attempt.unwrap(), second.attempt.unwrap()]);
}

async fn a_number_recorded_before_changes_nothing(fixture: Fixture) {
    let id = queued(&fixture).await;
    let first = attempted(id, 1, 500, Verdict::Retrying { due_at: later() });
    fixture.record_one(first.clone()).await;
    fixture
        .record_one(attempted(id, 1, 200, Verdict::Delivered))
        .await;
    assert_eq!(fixture.standing(id).await, (DeliveryStatus::Retrying, 1));
    assert_eq!(
        fixture.store.attempts(id).await.unwrap(),
        [first.attempt.unwrap()]
    );
}

async fn a_final_status_stays_until_the_delivery_is_requeued(fixture: Fixture) {
    let id = queued(&fixture).await;
    fixture
        .record_one(attempted(id, 1, 410, Verdict::Failed))
        .await;
    fixture
        .record_one(attempted(id, 2, 500, Verdict::Retrying { due_at: later() }))
        .await;
    assert_eq!(fixture.standing(id).await, (DeliveryStatus::Failed, 2));
    assert_eq!(fixture.store.attempts(id).await.unwrap().len(), 2);
    let one = Requeue::One {
        tenant: tenant("acme"),
        delivery: id,
    };
    fixture.store.requeue(one, ambient::now()).await.unwrap();
    fixture
        .record_one(attempted(id, 3, 500, Verdict::Retrying { due_at: later() }))
        .await;
    assert_eq!(fixture.standing(id).await, (DeliveryStatus::Retrying, 3));
}

async fn what_came_late_does_not_undo_what_came_after_it(fixture: Fixture) {
    let id = queued(&fixture).await;
    let due_at = later();
    fixture
        .record_one(attempted(id, 2, 500, Verdict::Retrying { due_at }))
        .await;
    let sooner = ambient::now();
    fixture
        .record_one(attempted(id, 1, 500, Verdict::Retrying { due_at: sooner }))
        .await;
    let delivery = fixture
        .store
        .delivery(&tenant("acme"), id)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (delivery.attempts, delivery.next_attempt_at),
        (2, Some(due_at))
    );
    let numbers: Vec<_> = fixture
        .store
        .attempts(id)
        .await
        .unwrap()
        .iter()
        .map(|attempt| attempt.number)
        .collect();
    assert_eq!(numbers, [1, 2]);
}

async fn two_records_of_one_delivery_in_a_batch_apply_in_order(fixture: Fixture) {
    let (id, other) = (queued(&fixture).await, queued(&fixture).await);
    let batch = [
        attempted(id, 1, 500, Verdict::Retrying { due_at: later() }),
        attempted(other, 1, 200, Verdict::Delivered),
        held_after(1, id, HoldReason::CircuitOpen),
        attempted(id, 2, 200, Verdict::Delivered),
    ];
    fixture.store.record(&batch).await.unwrap();
    assert_eq!(fixture.standing(id).await, (DeliveryStatus::Delivered, 2));
    assert_eq!(
        fixture.standing(other).await,
        (DeliveryStatus::Delivered, 1)
    );
}

async fn holding_without_an_attempt_applies_unless_the_delivery_is_final(fixture: Fixture) {
    let (open, done) = (queued(&fixture).await, queued(&fixture).await);
    fixture
        .record_one(attempted(done, 1, 200, Verdict::Delivered))
        .await;
    let batch = [
        held(open, HoldReason::RateLimit),
        held(done, HoldReason::RateLimit),
    ];
    fixture.store.record(&batch).await.unwrap();
    assert_eq!(fixture.standing(open).await, (DeliveryStatus::Held, 0));
    assert_eq!(fixture.standing(done).await, (DeliveryStatus::Delivered, 1));
    let delivery = fixture
        .store
        .delivery(&tenant("acme"), open)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(delivery.hold_reason, Some(HoldReason::RateLimit));
    assert_eq!(delivery.next_attempt_at, None);
}

async fn a_hold_decided_before_an_attempt_was_recorded_does_not_undo_its_retry(fixture: Fixture) {
    let id = queued(&fixture).await;
    let due_at = later();
    fixture
        .record_one(attempted(id, 1, 500, Verdict::Retrying { due_at }))
        .await;
    fixture.record_one(held(id, HoldReason::MaxInFlight)).await;
    let delivery = fixture
        .store
        .delivery(&tenant("acme"), id)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (delivery.status, delivery.next_attempt_at),
        (DeliveryStatus::Retrying, Some(due_at))
    );
    fixture
        .record_one(held_after(1, id, HoldReason::MaxInFlight))
        .await;
    assert_eq!(fixture.standing(id).await, (DeliveryStatus::Held, 1));
}

async fn records_of_unknown_deliveries_are_no_error(fixture: Fixture) {
    let unknown = DeliveryId::new(ambient::now(), ambient::random_id());
    let known = queued(&fixture).await;
    let batch = [
        attempted(unknown, 1, 200, Verdict::Delivered),
        attempted(known, 1, 200, Verdict::Delivered),
    ];
    fixture.store.record(&batch).await.unwrap();
    fixture.store.record(&[]).await.unwrap();
    let standings = fixture.store.standings(&[unknown, known]).await.unwrap();
    assert!(standings[0].is_none());
    assert_eq!(standings[1].unwrap().status, DeliveryStatus::Delivered);
}

async fn deliveries_of_many_weeks_are_recorded_in_one_batch(fixture: Fixture) {
    const WEEK: Duration = Duration::from_secs(7 * 24 * 60 * 60);
    let now = ambient::now();
    let mut ids = Vec::new();
    for weeks in 0..6 {
        let accepted_at = now.minus(WEEK * weeks);
        let make = Make {
            accepted_at,
            endpoints: vec![endpoint_id()],
            ..Make::default()
        };
        let acceptance = make.acceptance();
        fixture.accept_one(&acceptance).await;
        ids.push(acceptance.deliveries[0].id);
    }
    let batch: Vec<_> = ids
        .iter()
        .map(|id| attempted(*id, 1, 200, Verdict::Delivered))
        .collect();
    fixture.store.record(&batch).await.unwrap();
    for standing in fixture.store.standings(&ids).await.unwrap() {
        assert_eq!(standing.unwrap().status, DeliveryStatus::Delivered);
    }
}

async fn both_sides_of_the_balance_agree_whatever_happens(fixture: Fixture) {
    let mut ids = Vec::new();
    for _ in 0..6 {
        ids.push(queued(&fixture).await);
    }
    let batch = [
        attempted(ids[0], 1, 200, Verdict::Delivered),
        attempted(ids[1], 1, 500, Verdict::Retrying { due_at: later() }),
        attempted(ids[2], 1, 410, Verdict::Failed),
        held(ids[3], HoldReason::CircuitOpen),
    ];
    fixture.store.record(&batch).await.unwrap();
    // A repetition counts once.
    let same = Make {
        id: Some("evt_1".to_owned()),
        endpoints: vec![endpoint_id(), endpoint_id()],
        ..Make::default()
    }
    .acceptance();
    fixture
        .store
        .accept(&[same.clone(), same.clone()])
        .await
        .unwrap();
    fixture.store.accept(&[same]).await.unwrap();
    let expected = Balance {
        accepted: 8,
        queued: 4,
        retrying: 1,
        held: 1,
        delivered: 1,
        failed: 1,
        discarded: 0,
    };
    assert_eq!(fixture.balance().await, expected);
}

async fn statistics_count_what_happened_in_the_window(fixture: Fixture) {
    let endpoint = endpoint_id();
    let mut batch = Vec::new();
    for number in 1..=4_u32 {
        let acceptance = Make {
            endpoints: vec![endpoint],
            ..Make::default()
        }
        .acceptance();
        fixture.accept_one(&acceptance).await;
        let id = acceptance.deliveries[0].id;
        let (status, verdict) = match number {
            1 => (500, Verdict::Failed),
            _ => (200, Verdict::Delivered),
        };
        let mut record: Record = attempted(id, 1, status, verdict);
        if let Some(attempt) = &mut record.attempt {
            attempt.duration = Duration::from_millis(number.into());
        }
        batch.push(record);
    }
    fixture.store.record(&batch).await.unwrap();
    let hour = Duration::from_secs(3_600);
    let now = ambient::now();
    let stats = fixture
        .store
        .endpoint_stats(endpoint, hour, now)
        .await
        .unwrap();
    assert_eq!(stats.deliveries.get("delivered"), Some(&3));
    assert_eq!(stats.deliveries.get("failed"), Some(&1));
    assert_eq!((stats.attempts, stats.succeeded), (4, 3));
    assert_eq!(
        (stats.duration_ms_p50, stats.duration_ms_p99),
        (Some(2.0), Some(4.0))
    );
    let tomorrow = now.plus(hour * 24);
    let nothing = fixture
        .store
        .endpoint_stats(endpoint, hour, tomorrow)
        .await
        .unwrap();
    assert_eq!((nothing.attempts, nothing.duration_ms_p50), (0, None));
}
