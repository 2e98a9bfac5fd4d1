use std::sync::Arc;
use std::time::Duration;

use ambient::random_id;
use model::{
    ApiKey, DisabledReason, Endpoint, EndpointSecret, EndpointState, HoldReason, KeyHash, KeyId,
    Plan, RegisteredEventType, Role, Tenant, TenantId,
};
use secrecy::ExposeSecret;
use store::{Directory, DirectoryError, MasterKey, StoreError, Verdict};

use crate::fixture::{Fixture, Make, attempted, endpoint_id, held, on_both_adapters, tenant};

on_both_adapters! {
    own_changes_are_seen_at_once_and_after_a_new_start,
    another_directory_sees_changes_within_seconds,
    two_directories_that_change_one_endpoint_lose_no_change,
    a_change_that_refuses_changes_nothing,
    a_tenant_is_created_once,
    a_key_with_the_same_hash_stays_as_it_is,
    secrets_and_header_values_are_not_stored_in_clear,
    another_master_key_is_refused,
    the_unfinished_deliveries_of_a_deleted_endpoint_are_discarded,
    an_endpoint_needs_its_tenant,
    changes_since_the_last_look_are_few,
}

fn master_key() -> MasterKey {
    MasterKey::from_bytes([7; 32])
}

async fn load(fixture: &Fixture) -> Arc<Directory> {
    Directory::load(Arc::clone(&fixture.store), master_key())
        .await
        .unwrap()
}

async fn load_with_tenant(fixture: &Fixture) -> Arc<Directory> {
    let directory = load(fixture).await;
    directory.put_tenant(named("acme"), true).await.unwrap();
    directory
}

fn named(id: &str) -> Tenant {
    let (id, name) = (tenant(id), id.to_owned());
    Tenant {
        id,
        name,
        plan: Plan::Free,
        created_at: ambient::now(),
    }
}

fn endpoint(tenant: TenantId) -> Endpoint {
    let now = ambient::now();
    let secret = EndpointSecret {
        value: "whsec_veryclear".into(),
        created_at: now,
        signs_until: Some(now.plus(Duration::from_secs(60))),
    };
    let url = "https://hooks.example.com/in".parse().unwrap();
    Endpoint {
        name: Some("orders".to_owned()),
        headers: [("X-Auth".to_owned(), "headervalue".to_owned())].into(),
        revision: 0,
        secrets: vec![secret],
        ..Endpoint::new(endpoint_id(), tenant, url, "standard", "".into())
    }
}

fn key(hash: u8) -> ApiKey {
    ApiKey {
        id: KeyId::new(ambient::now(), random_id()),
        hash: KeyHash([hash; 32]),
        tenant: Some(tenant("acme")),
        role: Role::Editor,
        name: None,
        created_at: ambient::now(),
        expires_at: None,
    }
}

async fn own_changes_are_seen_at_once_and_after_a_new_start(fixture: Fixture) {
    let directory = load_with_tenant(&fixture).await;
    let put = directory
        .put_endpoint(endpoint(tenant("acme")))
        .await
        .unwrap();
    assert_eq!(put.revision, 1);
    let (kept, gone) = (key(1), key(2));
    for key in [&kept, &gone] {
        directory.put_key(key.clone()).await.unwrap();
    }
    assert!(directory.delete_key(gone.id).await.unwrap());
    assert!(!directory.delete_key(gone.id).await.unwrap());
    let custom = RegisteredEventType {
        tenant: tenant("acme"),
        name: "custom.thing".parse().unwrap(),
        description: "A \0 thing".to_owned(),
    };
    directory.put_event_type(custom).await.unwrap();
    let disabled = EndpointState::Disabled {
        reason: DisabledReason::Requested,
        since: model::Timestamp::from_millis(ambient::now().as_millis()),
    };
    let updated = directory
        .update_endpoint(put.id, &|it| {
            it.state = disabled;
            Ok::<_, DirectoryError>(())
        })
        .await
        .unwrap();
    assert_eq!(updated.unwrap().revision, 2);
    let removed = directory
        .put_endpoint(endpoint(tenant("acme")))
        .await
        .unwrap();
    assert!(directory.delete_endpoint(removed.id).await.unwrap());
    assert!(!directory.delete_endpoint(removed.id).await.unwrap());
    assert!(
        directory
            .update_endpoint(removed.id, &|_| Ok::<_, DirectoryError>(()))
            .await
            .unwrap()
            .is_none()
    );

    for directory in [Arc::clone(&directory), load(&fixture).await] {
        let snapshot = directory.snapshot();
        let found = snapshot.endpoint(put.id).unwrap();
        assert_eq!((found.state, found.revision), (disabled, 2));
        assert_eq!(
            found.headers.get("X-Auth").map(String::as_str),
            Some("headervalue")
        );
        assert_eq!(found.secrets[0].value.expose_secret(), "whsec_veryclear");
        assert!(found.secrets[0].signs_until.is_some());
        let view = snapshot.tenant(&tenant("acme")).unwrap();
        assert_eq!(view.endpoints.len(), 1);
        assert_eq!(snapshot.tenants().count(), 1);
        assert_eq!(snapshot.key(&kept.hash).unwrap().role, Role::Editor);
        assert!(snapshot.key(&gone.hash).is_none());
        assert_eq!(snapshot.keys().count(), 1);
        assert!(snapshot.knows_event_type(&tenant("acme"), "custom.thing"));
        assert!(snapshot.knows_event_type(&tenant("zenith"), "license.created"));
        assert!(!snapshot.knows_event_type(&tenant("zenith"), "custom.thing"));
    }
}

async fn another_directory_sees_changes_within_seconds(fixture: Fixture) {
    let directory = load_with_tenant(&fixture).await;
    let store = match fixture.is_sqlite {
        true => Arc::clone(&fixture.store),
        false => store::open(&fixture.url).await.unwrap(),
    };
    let other = Directory::load(store, master_key()).await.unwrap();
    let following = tokio::spawn(Arc::clone(&other).follow());
    let put = directory
        .put_endpoint(endpoint(tenant("acme")))
        .await
        .unwrap();
    let seen = async {
        while other.snapshot().endpoint(put.id).is_none() {
            tokio::task::yield_now().await;
        }
        directory.delete_endpoint(put.id).await.unwrap();
        while other.snapshot().endpoint(put.id).is_some() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), seen)
        .await
        .unwrap();
    following.abort();
}

async fn two_directories_that_change_one_endpoint_lose_no_change(fixture: Fixture) {
    let (one, two) = (load_with_tenant(&fixture).await, load(&fixture).await);
    let id = one.put_endpoint(endpoint(tenant("acme"))).await.unwrap().id;
    let count = move |directory: Arc<Directory>| {
        tokio::spawn(async move {
            for _ in 0..10 {
                let add = |endpoint: &mut Endpoint| {
                    endpoint.timeout_s = Some(endpoint.timeout_s.unwrap_or(0) + 1);
                    Ok::<_, DirectoryError>(())
                };
                directory.update_endpoint(id, &add).await.unwrap().unwrap();
            }
        })
    };
    let counting = [count(Arc::clone(&one)), count(two)];
    for counted in futures::future::join_all(counting).await {
        counted.unwrap();
    }
    one.refresh().await.unwrap();
    let found = Arc::clone(one.snapshot().endpoint(id).unwrap());
    assert_eq!((found.timeout_s, found.revision), (Some(20), 21));
}

async fn a_change_that_refuses_changes_nothing(fixture: Fixture) {
    let directory = load_with_tenant(&fixture).await;
    let put = directory
        .put_endpoint(endpoint(tenant("acme")))
        .await
        .unwrap();
    let refuse = |endpoint: &mut Endpoint| {
        endpoint.timeout_s = Some(1);
        Err(DirectoryError::UnknownTenant(tenant("acme")))
    };
    let refused = directory.update_endpoint(put.id, &refuse).await;
    assert!(matches!(refused, Err(DirectoryError::UnknownTenant(_))));
    for directory in [Arc::clone(&directory), load(&fixture).await] {
        let found = Arc::clone(directory.snapshot().endpoint(put.id).unwrap());
        assert_eq!((found.timeout_s, found.revision), (put.timeout_s, 1));
    }
}

async fn a_tenant_is_created_once(fixture: Fixture) {
    let directory = load_with_tenant(&fixture).await;
    let again = directory.put_tenant(named("acme"), true).await;
    assert!(
        matches!(again, Err(DirectoryError::Store(StoreError::Conflict))),
        "{again:?}"
    );
    let changed = Tenant {
        plan: Plan::Enterprise,
        ..named("acme")
    };
    directory.put_tenant(changed, false).await.unwrap();
    let plan = load(&fixture)
        .await
        .snapshot()
        .tenant(&tenant("acme"))
        .unwrap()
        .tenant
        .plan;
    assert_eq!(plan, Plan::Enterprise);
}

async fn a_key_with_the_same_hash_stays_as_it_is(fixture: Fixture) {
    let directory = load(&fixture).await;
    let first = key(1);
    directory.put_key(first.clone()).await.unwrap();
    directory.put_key(key(1)).await.unwrap();
    for directory in [Arc::clone(&directory), load(&fixture).await] {
        assert_eq!(directory.snapshot().key(&first.hash).unwrap().id, first.id);
    }
    // Deleted, it may come back.
    directory.delete_key(first.id).await.unwrap();
    let second = key(1);
    directory.put_key(second.clone()).await.unwrap();
    directory.refresh().await.unwrap();
    for directory in [directory, load(&fixture).await] {
        assert_eq!(directory.snapshot().key(&first.hash).unwrap().id, second.id);
    }
}

async fn secrets_and_header_values_are_not_stored_in_clear(fixture: Fixture) {
    let directory = load_with_tenant(&fixture).await;
    directory
        .put_endpoint(endpoint(tenant("acme")))
        .await
        .unwrap();
    let changes = fixture.store.directory_changes(None).await.unwrap();
    let row = &changes.endpoints[0];
    let sealed = String::from_utf8_lossy(&row.sealed_secrets).into_owned();
    for text in [&row.body, &sealed] {
        assert!(
            !text.contains("veryclear") && !text.contains("headervalue"),
            "{text}"
        );
    }
}

async fn another_master_key_is_refused(fixture: Fixture) {
    let directory = load_with_tenant(&fixture).await;
    let put = directory
        .put_endpoint(endpoint(tenant("acme")))
        .await
        .unwrap();
    let other = MasterKey::from_bytes([8; 32]);
    match Directory::load(Arc::clone(&fixture.store), other).await {
        Err(DirectoryError::MasterKey(id)) => assert_eq!(id, format!("endpoint {}", put.id)),
        other => panic!("{other:?}"),
    }
}

async fn the_unfinished_deliveries_of_a_deleted_endpoint_are_discarded(fixture: Fixture) {
    let directory = load_with_tenant(&fixture).await;
    let (put, other) = (
        directory
            .put_endpoint(endpoint(tenant("acme")))
            .await
            .unwrap(),
        directory
            .put_endpoint(endpoint(tenant("acme")))
            .await
            .unwrap(),
    );
    let mut ids = Vec::new();
    for _ in 0..4 {
        let make = Make {
            endpoints: vec![put.id, other.id],
            ..Make::default()
        };
        let acceptance = make.acceptance();
        fixture.accept_one(&acceptance).await;
        ids.push(acceptance.deliveries[0].id);
    }
    let due_at = ambient::now();
    let batch = [
        attempted(ids[0], 1, 200, Verdict::Delivered),
        attempted(ids[1], 1, 500, Verdict::Retrying { due_at }),
        held(ids[2], HoldReason::CircuitOpen),
    ];
    fixture.store.record(&batch).await.unwrap();
    let discard = |id| fixture.store.discard_unfinished(id, due_at);
    assert_eq!(discard(other.id).await.unwrap(), 0, "it is not deleted");
    directory.delete_endpoint(put.id).await.unwrap();
    let balance = fixture.balance().await;
    assert_eq!(
        (balance.accepted, balance.delivered, balance.discarded),
        (8, 1, 3)
    );
    assert_eq!((balance.queued, balance.retrying, balance.held), (4, 0, 0));

    // Accepted by a process that had not heard of it yet.
    let late = Make {
        endpoints: vec![put.id],
        ..Make::default()
    };
    fixture.accept_one(&late.acceptance()).await;
    assert_eq!(discard(put.id).await.unwrap(), 1);
    assert_eq!(discard(put.id).await.unwrap(), 0);
}

async fn an_endpoint_needs_its_tenant(fixture: Fixture) {
    let directory = load(&fixture).await;
    let refused = directory.put_endpoint(endpoint(tenant("nobody"))).await;
    assert!(
        matches!(refused, Err(DirectoryError::UnknownTenant(_))),
        "{refused:?}"
    );
}

async fn changes_since_the_last_look_are_few(fixture: Fixture) {
    let directory = load_with_tenant(&fixture).await;
    directory
        .put_endpoint(endpoint(tenant("acme")))
        .await
        .unwrap();
    let as_of = fixture.store.directory_changes(None).await.unwrap().as_of;
    let later = as_of.plus(Duration::from_secs(60));
    let nothing = fixture.store.directory_changes(Some(later)).await.unwrap();
    assert!(nothing.tenants.is_empty() && nothing.endpoints.is_empty());
    let all = fixture
        .store
        .directory_changes(Some(as_of.minus(Duration::from_secs(60))))
        .await;
    assert_eq!(all.unwrap().endpoints.len(), 1);
}
