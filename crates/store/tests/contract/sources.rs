use std::sync::Arc;
use std::time::Duration;

use ambient::random_id;
use model::{EndpointSecret, Environment, KeyKind, Plan, Source, SourceId, Tenant};
use secrecy::ExposeSecret;
use store::{Directory, DirectoryError, MasterKey, StoreError};

use crate::fixture::{Fixture, on_both_adapters, tenant};

on_both_adapters! {
    a_source_is_seen_at_once_and_after_a_new_start,
    another_directory_sees_sources_come_and_go_within_seconds,
    two_directories_that_change_one_source_lose_no_change,
    a_source_is_written_once_per_revision_and_never_after_its_end,
    the_keys_of_sources_are_not_stored_in_clear,
    another_master_key_does_not_open_a_source,
    a_source_needs_its_tenant,
    sources_changed_since_the_last_look_are_few,
}

async fn load(fixture: &Fixture) -> Arc<Directory> {
    let key = MasterKey::from_bytes([7; 32]);
    Directory::load(Arc::clone(&fixture.store), key)
        .await
        .unwrap()
}

async fn load_with_tenant(fixture: &Fixture) -> Arc<Directory> {
    let directory = load(fixture).await;
    let acme = Tenant {
        id: tenant("acme"),
        name: "Acme".to_owned(),
        plan: Plan::Free,
        created_at: ambient::now(),
    };
    directory.put_tenant(acme, true).await.unwrap();
    directory
}

fn source(tenant_id: &str) -> Source {
    let id = SourceId::new(ambient::now(), random_id());
    let key = (KeyKind::Secret, "whsec_veryclear".into());
    Source {
        name: Some("orders \0".to_owned()),
        environment: Some(Environment::Staging),
        ..Source::new(id, tenant(tenant_id), "standard", key)
    }
}

async fn a_source_is_seen_at_once_and_after_a_new_start(fixture: Fixture) {
    let directory = load_with_tenant(&fixture).await;
    let put = directory.put_source(source("acme")).await.unwrap();
    assert_eq!(put.revision, 1);
    let add = |source: &mut Source| {
        let value = "whsec_second".into();
        let created_at = ambient::now();
        source.keys[0].signs_until = Some(created_at.plus(Duration::from_secs(60)));
        source.keys.insert(
            0,
            EndpointSecret {
                value,
                created_at,
                signs_until: None,
            },
        );
        source.active = false;
        Ok::<_, DirectoryError>(())
    };
    let updated = directory.update_source(put.id, &add).await.unwrap();
    assert_eq!(updated.unwrap().revision, 2);
    let gone = directory.put_source(source("acme")).await.unwrap();
    assert!(directory.delete_source(gone.id).await.unwrap());
    assert!(!directory.delete_source(gone.id).await.unwrap());
    let nothing = directory
        .update_source(gone.id, &|_| Ok::<_, DirectoryError>(()))
        .await
        .unwrap();
    assert!(nothing.is_none());

    for directory in [Arc::clone(&directory), load(&fixture).await] {
        let snapshot = directory.snapshot();
        let found = snapshot.source(put.id).unwrap();
        assert_eq!((found.active, found.revision), (false, 2));
        assert_eq!(found.name.as_deref(), Some("orders \0"));
        assert_eq!(found.environment, Some(Environment::Staging));
        let keys: Vec<_> = found
            .keys
            .iter()
            .map(|key| (key.value.expose_secret(), key.signs_until.is_some()))
            .collect();
        assert_eq!(keys, [("whsec_second", false), ("whsec_veryclear", true)]);
        let view = snapshot.tenant(&tenant("acme")).unwrap();
        assert_eq!((view.sources.len(), view.endpoints.len()), (1, 0));
        assert!(snapshot.source(gone.id).is_none());
    }
}

async fn another_directory_sees_sources_come_and_go_within_seconds(fixture: Fixture) {
    let directory = load_with_tenant(&fixture).await;
    let store = match fixture.is_sqlite {
        true => Arc::clone(&fixture.store),
        false => store::open(&fixture.url).await.unwrap(),
    };
    let other = Directory::load(store, MasterKey::from_bytes([7; 32]))
        .await
        .unwrap();
    let following = tokio::spawn(Arc::clone(&other).follow());
    let put = directory.put_source(source("acme")).await.unwrap();
    let seen = async {
        while other.snapshot().source(put.id).is_none() {
            tokio::task::yield_now().await;
        }
        directory.delete_source(put.id).await.unwrap();
        while other.snapshot().source(put.id).is_some() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), seen)
        .await
        .unwrap();
    following.abort();
}

async fn two_directories_that_change_one_source_lose_no_change(fixture: Fixture) {
    let (one, two) = (load_with_tenant(&fixture).await, load(&fixture).await);
    let id = one.put_source(source("acme")).await.unwrap().id;
    for (directory, product) in [(&one, "a"), (&two, "b"), (&two, "c"), (&one, "d")] {
        let add = |source: &mut Source| {
            let before = source.product.clone().unwrap_or_default();
            source.product = Some(before + product);
            Ok::<_, DirectoryError>(())
        };
        directory.update_source(id, &add).await.unwrap().unwrap();
    }
    one.refresh().await.unwrap();
    let found = Arc::clone(one.snapshot().source(id).unwrap());
    assert_eq!(
        (found.product.as_deref(), found.revision),
        (Some("abcd"), 5)
    );
}

async fn a_source_is_written_once_per_revision_and_never_after_its_end(fixture: Fixture) {
    let directory = load_with_tenant(&fixture).await;
    directory.put_source(source("acme")).await.unwrap();
    let changes = fixture.store.directory_changes(None).await.unwrap();
    let mut row = changes.sources[0].clone();
    let now = ambient::now();
    let mut steps = vec![(1, false, false), (3, false, false), (2, false, true)];
    steps.extend([(2, false, false), (3, true, true), (4, false, false)]);
    for (revision, deleted, written) in steps {
        (row.revision, row.deleted) = (revision, deleted);
        let result = fixture.store.put_source(&row, now).await;
        match result {
            Ok(()) => assert!(written, "revision {revision}"),
            Err(StoreError::Conflict) => assert!(!written, "revision {revision}"),
            Err(error) => panic!("{error}"),
        }
    }
}

async fn the_keys_of_sources_are_not_stored_in_clear(fixture: Fixture) {
    let directory = load_with_tenant(&fixture).await;
    directory.put_source(source("acme")).await.unwrap();
    let changes = fixture.store.directory_changes(None).await.unwrap();
    let row = &changes.sources[0];
    let sealed = String::from_utf8_lossy(&row.sealed_keys).into_owned();
    for text in [&row.body, &sealed] {
        assert!(!text.contains("veryclear"), "{text}");
    }
}

async fn another_master_key_does_not_open_a_source(fixture: Fixture) {
    let directory = load_with_tenant(&fixture).await;
    let put = directory.put_source(source("acme")).await.unwrap();
    let other = MasterKey::from_bytes([8; 32]);
    match Directory::load(Arc::clone(&fixture.store), other).await {
        Err(DirectoryError::MasterKey(what)) => assert_eq!(what, format!("source {}", put.id)),
        other => panic!("{other:?}"),
    }
}

async fn a_source_needs_its_tenant(fixture: Fixture) {
    let directory = load(&fixture).await;
    let refused = directory.put_source(source("nobody")).await;
    assert!(
        matches!(refused, Err(DirectoryError::UnknownTenant(_))),
        "{refused:?}"
    );
}

async fn sources_changed_since_the_last_look_are_few(fixture: Fixture) {
    let directory = load_with_tenant(&fixture).await;
    directory.put_source(source("acme")).await.unwrap();
    let as_of = fixture.store.directory_changes(None).await.unwrap().as_of;
    let minute = Duration::from_secs(60);
    for (since, count) in [(as_of.plus(minute), 0), (as_of.minus(minute), 1)] {
        let changes = fixture.store.directory_changes(Some(since)).await.unwrap();
        assert_eq!(changes.sources.len(), count);
    }
}
