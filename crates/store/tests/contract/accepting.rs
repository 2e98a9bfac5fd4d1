use std::collections::BTreeSet;
use std::sync::Arc;

use futures::future::join_all;
use model::{DeliveryStatus, HoldReason, LicenseId};
use store::{Accepted, Store};

use crate::fixture::{Fixture, Make, endpoint_id, on_both_adapters, tenant};

on_both_adapters! {
    sequences_have_no_gaps_when_many_accept_events_of_one_license_at_once,
    a_batch_gives_a_license_its_sequences_in_batch_order,
    batches_that_share_licenses_in_opposite_orders_do_not_block_each_other,
    fifty_who_accept_the_same_event_at_once_make_one_event_and_one_delivery,
    the_same_id_with_another_content_is_a_conflict,
    a_repetition_within_the_batch_is_a_duplicate_of_the_first,
    a_duplicate_leaves_no_gap_in_the_sequence,
    tenants_have_their_own_ids_and_sequences,
    an_event_comes_back_as_it_was_accepted,
    an_empty_batch_and_an_event_for_nobody_are_accepted,
    a_delivery_may_be_held_from_the_start,
    a_batch_of_a_thousand_events_with_ten_deliveries_each_is_accepted,
}

async fn timeline_sequences(store: &dyn Store, license: &str) -> Vec<u64> {
    let license = LicenseId::new(license).unwrap();
    let events = store
        .timeline(&tenant("acme"), &license, 0, 10_000)
        .await
        .unwrap();
    events.iter().map(|event| event.sequence.unwrap()).collect()
}

async fn sequences_have_no_gaps_when_many_accept_events_of_one_license_at_once(fixture: Fixture) {
    let other = if fixture.is_sqlite {
        Arc::clone(&fixture.store)
    } else {
        store::open(&fixture.url).await.unwrap()
    };
    let tasks = (0..40).map(|n| {
        let store = Arc::clone(if n % 2 == 0 { &fixture.store } else { &other });
        tokio::spawn(async move {
            for _ in 0..5 {
                let batch: Vec<_> = (0..3).map(|_| Make::default().acceptance()).collect();
                store.accept(&batch).await.unwrap();
            }
        })
    });
    for task in join_all(tasks).await {
        task.unwrap();
    }
    let expected: Vec<u64> = (1..=600).collect();
    assert_eq!(timeline_sequences(&*fixture.store, "lic_1").await, expected);
}

async fn a_batch_gives_a_license_its_sequences_in_batch_order(fixture: Fixture) {
    let batch: Vec<_> = [
        ("z", "lic_1"),
        ("b", "lic_2"),
        ("a", "lic_1"),
        ("m", "lic_1"),
    ]
    .map(|(id, license)| {
        let make = Make {
            id: Some(id.to_owned()),
            license: Some(license),
            ..Make::default()
        };
        make.acceptance()
    })
    .into();
    let answers = fixture.store.accept(&batch).await.unwrap();
    let expected = [1, 1, 2, 3].map(|sequence| Accepted::New {
        sequence: Some(sequence),
    });
    assert_eq!(answers, expected);
}

async fn batches_that_share_licenses_in_opposite_orders_do_not_block_each_other(fixture: Fixture) {
    const LICENSES: [&str; 4] = ["lic_1", "lic_2", "lic_3", "lic_4"];
    let tasks = (0..8).map(|n| {
        let store = Arc::clone(&fixture.store);
        tokio::spawn(async move {
            for round in 0..10 {
                let mut batch: Vec<_> = LICENSES
                    .iter()
                    .enumerate()
                    .map(|(place, license)| {
                        // The same ids in all tasks, so that keys are fought for as well.
                        let id = Some(format!("{round}-{place}"));
                        Make {
                            id,
                            license: Some(license),
                            ..Make::default()
                        }
                        .acceptance()
                    })
                    .collect();
                if n % 2 == 0 {
                    batch.reverse();
                }
                store.accept(&batch).await.unwrap();
            }
        })
    });
    for task in join_all(tasks).await {
        task.unwrap();
    }
    for license in LICENSES {
        let expected: Vec<u64> = (1..=10).collect();
        assert_eq!(timeline_sequences(&*fixture.store, license).await, expected);
    }
}

async fn fifty_who_accept_the_same_event_at_once_make_one_event_and_one_delivery(fixture: Fixture) {
    let endpoint = endpoint_id();
    let tasks = (0..50).map(|_| {
        let store = Arc::clone(&fixture.store);
        tokio::spawn(async move {
            let make = Make {
                id: Some("evt_same".to_owned()),
                endpoints: vec![endpoint],
                ..Make::default()
            };
            store.accept(&[make.acceptance()]).await.unwrap()[0]
        })
    });
    let mut new = 0;
    for task in join_all(tasks).await {
        match task.unwrap() {
            Accepted::New { sequence } => {
                assert_eq!(sequence, Some(1));
                new += 1;
            }
            Accepted::Duplicate { sequence } => assert_eq!(sequence, Some(1)),
            Accepted::Conflict => panic!("the same content"),
        }
    }
    assert_eq!(new, 1);
    let balance = fixture.balance().await;
    assert_eq!((balance.accepted, balance.queued), (1, 1));
}

async fn the_same_id_with_another_content_is_a_conflict(fixture: Fixture) {
    let make = || Make {
        id: Some("evt_1".to_owned()),
        ..Make::default()
    };
    fixture.accept_one(&make().acceptance()).await;
    let mut other = make().acceptance();
    other.digest = [2; 16];
    assert_eq!(fixture.accept_one(&other).await, Accepted::Conflict);
    assert_eq!(
        fixture.accept_one(&make().acceptance()).await,
        Accepted::Duplicate { sequence: Some(1) }
    );
}

async fn a_repetition_within_the_batch_is_a_duplicate_of_the_first(fixture: Fixture) {
    let make = |id: &str| {
        Make {
            id: Some(id.to_owned()),
            ..Make::default()
        }
        .acceptance()
    };
    let mut other_content = make("b");
    other_content.digest = [2; 16];
    let batch = [make("b"), make("a"), make("b"), other_content];
    let expected = [
        Accepted::New { sequence: Some(1) },
        Accepted::New { sequence: Some(2) },
        Accepted::Duplicate { sequence: Some(1) },
        Accepted::Conflict,
    ];
    assert_eq!(fixture.store.accept(&batch).await.unwrap(), expected);
}

async fn a_duplicate_leaves_no_gap_in_the_sequence(fixture: Fixture) {
    let make = |id: &str| {
        Make {
            id: Some(id.to_owned()),
            ..Make::default()
        }
        .acceptance()
    };
    fixture.store.accept(&[make("a")]).await.unwrap();
    let answers = fixture.store.accept(&[make("a"), make("b")]).await.unwrap();
    let expected = [
        Accepted::Duplicate { sequence: Some(1) },
        Accepted::New { sequence: Some(2) },
    ];
    assert_eq!(answers, expected);
}

async fn tenants_have_their_own_ids_and_sequences(fixture: Fixture) {
    let make = |name: &str| {
        let id = Some("evt_1".to_owned());
        Make {
            id,
            tenant: tenant(name),
            ..Make::default()
        }
        .acceptance()
    };
    let answers = fixture
        .store
        .accept(&[make("acme"), make("zenith")])
        .await
        .unwrap();
    assert_eq!(answers, [Accepted::New { sequence: Some(1) }; 2]);
}

async fn an_event_comes_back_as_it_was_accepted(fixture: Fixture) {
    let acceptance = Make::default().acceptance();
    let event = &acceptance.event;
    fixture.accept_one(&acceptance).await;
    let read = fixture
        .store
        .event(&event.tenant, &event.id)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(read.data.get(), event.data.get());
    assert_eq!((&read.tenant, &read.id), (&event.tenant, &event.id));
    assert_eq!(
        (&read.event_type, &read.license),
        (&event.event_type, &event.license)
    );
    assert_eq!(read.occurred_at, event.occurred_at);
    assert_eq!(
        read.accepted_at.as_micros(),
        event.accepted_at.as_millis() * 1_000
    );
    assert_eq!(read.sequence, Some(1));
    let elsewhere = fixture
        .store
        .event(&tenant("zenith"), &event.id)
        .await
        .unwrap();
    assert!(elsewhere.is_none());
}

async fn an_empty_batch_and_an_event_for_nobody_are_accepted(fixture: Fixture) {
    assert!(fixture.store.accept(&[]).await.unwrap().is_empty());
    let without_license = Make {
        license: None,
        ..Make::default()
    }
    .acceptance();
    let answer = fixture.accept_one(&without_license).await;
    assert_eq!(answer, Accepted::New { sequence: None });
    assert_eq!(
        fixture.accept_one(&without_license).await,
        Accepted::Duplicate { sequence: None }
    );
}

async fn a_delivery_may_be_held_from_the_start(fixture: Fixture) {
    let acceptance = Make {
        endpoints: vec![endpoint_id()],
        held: Some(HoldReason::EndpointDisabled),
        ..Make::default()
    }
    .acceptance();
    fixture.accept_one(&acceptance).await;
    let id = acceptance.deliveries[0].id;
    let delivery = fixture
        .store
        .delivery(&tenant("acme"), id)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(delivery.status, DeliveryStatus::Held);
    assert_eq!(delivery.hold_reason, Some(HoldReason::EndpointDisabled));
    assert_eq!(delivery.next_attempt_at, None);
}

async fn a_batch_of_a_thousand_events_with_ten_deliveries_each_is_accepted(fixture: Fixture) {
    let endpoints: Vec<_> = (0..10).map(|_| endpoint_id()).collect();
    let batch: Vec<_> = (0..1_000)
        .map(|_| {
            Make {
                endpoints: endpoints.clone(),
                ..Make::default()
            }
            .acceptance()
        })
        .collect();
    let answers = fixture.store.accept(&batch).await.unwrap();
    let sequences: BTreeSet<_> = answers
        .iter()
        .map(|answer| match answer {
            Accepted::New { sequence } => sequence.unwrap(),
            Accepted::Duplicate { .. } | Accepted::Conflict => panic!("{answer:?}"),
        })
        .collect();
    assert_eq!(sequences, (1..=1_000).collect());
    let balance = fixture.balance().await;
    assert_eq!((balance.accepted, balance.queued), (10_000, 10_000));
}
