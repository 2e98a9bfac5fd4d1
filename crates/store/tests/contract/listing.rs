use std::time::Duration;

use model::{
    Delivery, DeliveryId, DeliveryStatus, EndpointId, Environment, Event, EventId, LicenseId,
    Timestamp,
};
use store::{DeliveryFilter, EventFilter, Page, PageRequest, Verdict};

use crate::fixture::{Fixture, Make, attempted, endpoint_id, on_both_adapters, tenant};

on_both_adapters! {
    events_page_newest_first_without_repeating_or_missing_one,
    events_are_filtered_by_type_license_environment_and_time,
    deliveries_page_newest_first_without_repeating_or_missing_one,
    deliveries_are_filtered_by_endpoint_event_license_and_status,
    deliveries_are_filtered_by_time,
    a_timeline_starts_after_the_sequence_and_ends_at_the_limit,
    another_tenants_events_and_deliveries_are_not_seen,
    a_made_up_cursor_is_harmless,
}

const SECOND: Duration = Duration::from_secs(1);

struct Accepted {
    event: EventId,
    accepted_at: Timestamp,
    endpoint: EndpointId,
    delivery: DeliveryId,
}

/// Accepts events of `lic_0` and `lic_1` in turn, each to its endpoint; every two share a time.
async fn accept(fixture: &Fixture, count: u32) -> Vec<Accepted> {
    let start = ambient::now().minus(SECOND * count);
    let endpoints = [endpoint_id(), endpoint_id()];
    let mut all = Vec::new();
    for n in 0..count {
        let odd = usize::from(n % 2 == 1);
        let accepted_at = Timestamp::from_millis(start.plus(SECOND * (n / 2)).as_millis());
        let acceptance = Make {
            license: Some(["lic_0", "lic_1"][odd]),
            event_type: ["license.created", "license.updated"][odd],
            endpoints: vec![endpoints[odd]],
            accepted_at,
            ..Make::default()
        }
        .acceptance();
        fixture.accept_one(&acceptance).await;
        all.push(Accepted {
            event: acceptance.event.id.clone(),
            accepted_at,
            endpoint: endpoints[odd],
            delivery: acceptance.deliveries[0].id,
        });
    }
    all
}

fn first(limit: u32) -> PageRequest {
    PageRequest { limit, after: None }
}

async fn all_events(fixture: &Fixture, filter: &EventFilter, limit: u32) -> Vec<Event> {
    let mut request = first(limit);
    let mut all = Vec::new();
    loop {
        let page = fixture
            .store
            .events(&tenant("acme"), filter, &request)
            .await
            .unwrap();
        assert!(page.items.len() <= usize::try_from(limit).unwrap());
        all.extend(page.items);
        match page.next {
            // As it comes back from a client: with milliseconds only.
            Some(next) => {
                let json = serde_json::to_string(&next).unwrap();
                request.after = Some(serde_json::from_str(&json).unwrap());
            }
            None => return all,
        }
    }
}

async fn all_deliveries(fixture: &Fixture, filter: &DeliveryFilter, limit: u32) -> Vec<Delivery> {
    let mut request = first(limit);
    let mut all = Vec::new();
    loop {
        let page = fixture
            .store
            .deliveries(&tenant("acme"), filter, &request)
            .await
            .unwrap();
        all.extend(page.items);
        match page.next {
            Some(next) => request.after = Some(next),
            None => return all,
        }
    }
}

async fn events_page_newest_first_without_repeating_or_missing_one(fixture: Fixture) {
    let accepted = accept(&fixture, 11).await;
    let mut expected: Vec<_> = accepted
        .iter()
        .map(|one| (one.accepted_at, one.event.clone()))
        .collect();
    expected.sort_unstable_by(|a, b| b.cmp(a));
    for limit in [1, 3, 10, 11, 200] {
        let listed: Vec<_> = all_events(&fixture, &EventFilter::default(), limit)
            .await
            .into_iter()
            .map(|event| (event.accepted_at, event.id))
            .collect();
        assert_eq!(listed, expected, "limit {limit}");
    }
}

async fn events_are_filtered_by_type_license_environment_and_time(fixture: Fixture) {
    let accepted = accept(&fixture, 6).await;
    let all = EventFilter::default();
    let filters = [
        (
            EventFilter {
                event_type: "license.created".parse().ok(),
                ..all.clone()
            },
            3,
        ),
        (
            EventFilter {
                license: LicenseId::new("lic_1").ok(),
                ..all.clone()
            },
            3,
        ),
        (
            EventFilter {
                environment: Some(Environment::Production),
                ..all.clone()
            },
            6,
        ),
        (
            EventFilter {
                environment: Some(Environment::Staging),
                ..all.clone()
            },
            0,
        ),
        (
            EventFilter {
                since: Some(accepted[2].accepted_at),
                ..all.clone()
            },
            4,
        ),
        (
            EventFilter {
                until: Some(accepted[2].accepted_at),
                ..all.clone()
            },
            2,
        ),
    ];
    for (filter, count) in filters {
        assert_eq!(
            all_events(&fixture, &filter, 2).await.len(),
            count,
            "{filter:?}"
        );
    }
}

async fn deliveries_page_newest_first_without_repeating_or_missing_one(fixture: Fixture) {
    let accepted = accept(&fixture, 11).await;
    let mut expected: Vec<_> = accepted.iter().map(|one| one.delivery).collect();
    expected.sort_unstable_by(|a, b| b.cmp(a));
    for limit in [1, 3, 10, 11, 200] {
        let listed: Vec<_> = all_deliveries(&fixture, &DeliveryFilter::default(), limit)
            .await
            .iter()
            .map(|delivery| delivery.id)
            .collect();
        assert_eq!(listed, expected, "limit {limit}");
    }
}

async fn deliveries_are_filtered_by_endpoint_event_license_and_status(fixture: Fixture) {
    let accepted = accept(&fixture, 6).await;
    fixture
        .record_one(attempted(accepted[0].delivery, 1, 500, Verdict::Failed))
        .await;
    let all = DeliveryFilter::default();
    let status = |status| DeliveryFilter {
        status: Some(status),
        ..DeliveryFilter::default()
    };
    let filters = [
        (
            DeliveryFilter {
                endpoint: Some(accepted[1].endpoint),
                ..all.clone()
            },
            vec![5, 3, 1],
        ),
        (
            DeliveryFilter {
                event: Some(accepted[3].event.clone()),
                ..all.clone()
            },
            vec![3],
        ),
        (
            DeliveryFilter {
                event: EventId::new("unknown").ok(),
                ..all.clone()
            },
            vec![],
        ),
        (
            DeliveryFilter {
                license: LicenseId::new("lic_0").ok(),
                ..all.clone()
            },
            vec![4, 2, 0],
        ),
        (
            DeliveryFilter {
                license: LicenseId::new("lic_x").ok(),
                ..all.clone()
            },
            vec![],
        ),
        (status(DeliveryStatus::Failed), vec![0]),
        (status(DeliveryStatus::Held), vec![]),
    ];
    for (filter, places) in filters {
        let listed: Vec<_> = all_deliveries(&fixture, &filter, 2)
            .await
            .iter()
            .map(|found| found.id)
            .collect();
        let expected: Vec<_> = places
            .iter()
            .map(|place| accepted[*place].delivery)
            .collect();
        assert_eq!(listed, expected, "{filter:?}");
    }
}

async fn deliveries_are_filtered_by_time(fixture: Fixture) {
    let accepted = accept(&fixture, 6).await;
    let all = DeliveryFilter::default();
    let since = DeliveryFilter {
        since: Some(accepted[2].accepted_at),
        ..all.clone()
    };
    assert_eq!(all_deliveries(&fixture, &since, 2).await.len(), 4);
    let until = DeliveryFilter {
        until: Some(accepted[2].accepted_at),
        ..all
    };
    let listed = all_deliveries(&fixture, &until, 2).await;
    assert_eq!(listed.len(), 2);
    assert!(
        listed
            .iter()
            .all(|delivery| delivery.created_at == accepted[0].accepted_at)
    );
    assert!(
        listed
            .iter()
            .any(|delivery| delivery.event == accepted[0].event)
    );
}

async fn a_timeline_starts_after_the_sequence_and_ends_at_the_limit(fixture: Fixture) {
    accept(&fixture, 12).await;
    let license = LicenseId::new("lic_1").unwrap();
    let timeline = fixture
        .store
        .timeline(&tenant("acme"), &license, 2, 3)
        .await
        .unwrap();
    let sequences: Vec<_> = timeline
        .iter()
        .map(|event| event.sequence.unwrap())
        .collect();
    assert_eq!(sequences, [3, 4, 5]);
    let beyond = fixture
        .store
        .timeline(&tenant("acme"), &license, u64::MAX, 3)
        .await
        .unwrap();
    assert!(beyond.is_empty());
}

async fn another_tenants_events_and_deliveries_are_not_seen(fixture: Fixture) {
    let accepted = accept(&fixture, 2).await;
    let other = tenant("zenith");
    let store = &fixture.store;
    let events: Page<Event> = store
        .events(&other, &EventFilter::default(), &first(10))
        .await
        .unwrap();
    assert!(events.items.is_empty());
    for filter in [
        DeliveryFilter::default(),
        DeliveryFilter {
            endpoint: Some(accepted[0].endpoint),
            ..DeliveryFilter::default()
        },
        DeliveryFilter {
            event: Some(accepted[0].event.clone()),
            ..DeliveryFilter::default()
        },
        DeliveryFilter {
            license: LicenseId::new("lic_0").ok(),
            ..DeliveryFilter::default()
        },
    ] {
        let page = store.deliveries(&other, &filter, &first(10)).await.unwrap();
        assert!(page.items.is_empty(), "{filter:?}");
    }
    assert!(
        store
            .delivery(&other, accepted[0].delivery)
            .await
            .unwrap()
            .is_none()
    );
    assert!(
        store
            .event(&other, &accepted[0].event)
            .await
            .unwrap()
            .is_none()
    );
}

async fn a_made_up_cursor_is_harmless(fixture: Fixture) {
    let accepted = accept(&fixture, 2).await;
    let after = store::Cursor {
        at: accepted[0].accepted_at,
        id: "' OR 1=1 --".to_owned(),
    };
    let request = PageRequest {
        limit: 10,
        after: Some(after),
    };
    let store = &fixture.store;
    let filter = DeliveryFilter::default();
    assert!(
        store
            .deliveries(&tenant("acme"), &filter, &request)
            .await
            .unwrap()
            .items
            .is_empty()
    );
    let filter = EventFilter::default();
    assert!(
        store
            .events(&tenant("acme"), &filter, &request)
            .await
            .unwrap()
            .items
            .is_empty()
    );
}
