use std::sync::Arc;
use std::time::Duration;

use model::{KeyAlgorithm, Plan, SigningKey, Tenant, Timestamp};
use secrecy::ExposeSecret;
use store::{Directory, DirectoryError, MasterKey};

use crate::fixture::{Fixture, on_both_adapters, tenant};

on_both_adapters! {
    a_key_pair_is_seen_at_once_and_after_a_new_start,
    a_tenant_keeps_its_first_key_pair_of_each_algorithm,
    another_directory_sees_key_pairs_within_seconds,
    private_keys_are_not_stored_in_clear_and_open_for_their_tenant_alone,
    another_master_key_does_not_open_a_private_key,
    a_key_pair_needs_its_tenant,
    key_pairs_made_since_the_last_look_are_few,
}

fn master_key() -> MasterKey {
    MasterKey::from_bytes([7; 32])
}

async fn load(fixture: &Fixture) -> Arc<Directory> {
    Directory::load(Arc::clone(&fixture.store), master_key())
        .await
        .unwrap()
}

async fn load_with_tenants(fixture: &Fixture) -> Arc<Directory> {
    let directory = load(fixture).await;
    for id in ["acme", "zenith"] {
        let made = Tenant {
            id: tenant(id),
            name: id.to_owned(),
            plan: Plan::Free,
            created_at: ambient::now(),
        };
        directory.put_tenant(made, true).await.unwrap();
    }
    directory
}

fn key(algorithm: KeyAlgorithm, private_key: &[u8]) -> SigningKey {
    SigningKey {
        tenant: tenant("acme"),
        algorithm,
        created_at: Timestamp::from_millis(ambient::now().as_millis()),
        private_key: private_key.to_vec().into(),
    }
}

/// Algorithms and private keys of a tenant.
fn known(directory: &Directory, id: &str) -> Vec<(KeyAlgorithm, Vec<u8>)> {
    let snapshot = directory.snapshot();
    let keys = &snapshot.tenant(&tenant(id)).unwrap().signing_keys;
    keys.iter()
        .map(|key| (key.algorithm, key.private_key.expose_secret().to_vec()))
        .collect()
}

async fn a_key_pair_is_seen_at_once_and_after_a_new_start(fixture: Fixture) {
    let directory = load_with_tenants(&fixture).await;
    let put = key(KeyAlgorithm::Ed25519, b"one");
    directory.put_signing_key(put.clone()).await.unwrap();
    for directory in [Arc::clone(&directory), load(&fixture).await] {
        let snapshot = directory.snapshot();
        let view = snapshot.tenant(&tenant("acme")).unwrap();
        let found = view.signing_key(KeyAlgorithm::Ed25519).unwrap();
        assert_eq!(found.created_at, put.created_at);
        assert_eq!(found.private_key.expose_secret(), b"one");
        assert!(view.signing_key(KeyAlgorithm::Rsa).is_none());
        assert_eq!(known(&directory, "zenith"), []);
    }
}

async fn a_tenant_keeps_its_first_key_pair_of_each_algorithm(fixture: Fixture) {
    let (one, two) = (load_with_tenants(&fixture).await, load(&fixture).await);
    for (directory, private_key) in [(&one, b"one"), (&two, b"two"), (&one, b"six")] {
        let put = key(KeyAlgorithm::Ed25519, private_key);
        directory.put_signing_key(put).await.unwrap();
    }
    let keys = Arc::clone(&one.snapshot().tenant(&tenant("acme")).unwrap().signing_keys);
    one.refresh().await.unwrap();
    let again = Arc::clone(&one.snapshot().tenant(&tenant("acme")).unwrap().signing_keys);
    assert!(
        Arc::ptr_eq(&keys, &again),
        "the same keys, not parsed again"
    );
    let rsa = key(KeyAlgorithm::Rsa, b"rsa");
    two.put_signing_key(rsa).await.unwrap();
    one.refresh().await.unwrap();
    for directory in [one, two, load(&fixture).await] {
        let mut known = known(&directory, "acme");
        known.sort();
        let expected = [
            (KeyAlgorithm::Ed25519, b"one".to_vec()),
            (KeyAlgorithm::Rsa, b"rsa".to_vec()),
        ];
        assert_eq!(known, expected);
    }
}

async fn another_directory_sees_key_pairs_within_seconds(fixture: Fixture) {
    let directory = load_with_tenants(&fixture).await;
    let store = match fixture.is_sqlite {
        true => Arc::clone(&fixture.store),
        false => store::open(&fixture.url).await.unwrap(),
    };
    let other = Directory::load(store, master_key()).await.unwrap();
    let following = tokio::spawn(Arc::clone(&other).follow());
    let put = key(KeyAlgorithm::EcdsaP256, b"one");
    directory.put_signing_key(put).await.unwrap();
    let seen = async {
        while known(&other, "acme").is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), seen)
        .await
        .unwrap();
    following.abort();
}

async fn private_keys_are_not_stored_in_clear_and_open_for_their_tenant_alone(fixture: Fixture) {
    let directory = load_with_tenants(&fixture).await;
    let put = key(KeyAlgorithm::Ed25519, b"veryclear");
    directory.put_signing_key(put).await.unwrap();
    let changes = fixture.store.directory_changes(None).await.unwrap();
    let mut row = changes.signing_keys[0].clone();
    let sealed = String::from_utf8_lossy(&row.sealed_key).into_owned();
    assert!(!sealed.contains("veryclear"), "{sealed}");
    row.tenant = tenant("zenith");
    let now = ambient::now();
    fixture.store.put_signing_key(&row, now).await.unwrap();
    let error = directory.refresh().await.unwrap_err();
    assert!(matches!(error, DirectoryError::MasterKey(_)), "{error:?}");
    assert_eq!(known(&directory, "zenith"), []);
}

async fn another_master_key_does_not_open_a_private_key(fixture: Fixture) {
    let directory = load_with_tenants(&fixture).await;
    let put = key(KeyAlgorithm::Ed25519, b"one");
    directory.put_signing_key(put).await.unwrap();
    let other = MasterKey::from_bytes([8; 32]);
    match Directory::load(Arc::clone(&fixture.store), other).await {
        Err(DirectoryError::MasterKey(what)) => {
            assert_eq!(what, "the ed25519 key of tenant acme");
        }
        other => panic!("{other:?}"),
    }
}

async fn a_key_pair_needs_its_tenant(fixture: Fixture) {
    let directory = load(&fixture).await;
    let put = key(KeyAlgorithm::Ed25519, b"one");
    let refused = directory.put_signing_key(put).await;
    assert!(
        matches!(refused, Err(DirectoryError::UnknownTenant(_))),
        "{refused:?}"
    );
}

async fn key_pairs_made_since_the_last_look_are_few(fixture: Fixture) {
    let directory = load_with_tenants(&fixture).await;
    let put = key(KeyAlgorithm::Ed25519, b"one");
    directory.put_signing_key(put).await.unwrap();
    let as_of = fixture.store.directory_changes(None).await.unwrap().as_of;
    let since = |at: Timestamp| fixture.store.directory_changes(Some(at));
    let minute = Duration::from_secs(60);
    assert!(
        since(as_of.plus(minute))
            .await
            .unwrap()
            .signing_keys
            .is_empty()
    );
    assert_eq!(
        since(as_of.minus(minute)).await.unwrap().signing_keys.len(),
        1
    );
}
