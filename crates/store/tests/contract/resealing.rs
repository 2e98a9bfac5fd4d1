use std::sync::Arc;

use ambient::random_id;
use model::{
    Endpoint, EndpointId, KeyAlgorithm, KeyKind, Plan, SigningKey, Source, SourceId, Tenant,
};
use secrecy::ExposeSecret;
use store::{Directory, DirectoryError, MasterKey};

use crate::fixture::{Fixture, on_both_adapters, tenant};

on_both_adapters! {
    what_is_sealed_anew_needs_the_old_key_no_more,
}

async fn load(fixture: &Fixture, key: MasterKey) -> Result<Arc<Directory>, DirectoryError> {
    Directory::load(Arc::clone(&fixture.store), key).await
}

/// Of an endpoint, a source and a key pair.
fn secrets(directory: &Directory) -> Vec<Vec<u8>> {
    let snapshot = directory.snapshot();
    let view = snapshot.tenant(&tenant("acme")).unwrap();
    let texts = [
        &view.endpoints[0].secrets[0].value,
        &view.sources[0].keys[0].value,
    ];
    let texts = texts.map(|text| text.expose_secret().as_bytes().to_vec());
    let private_key = view.signing_keys[0].private_key.expose_secret().to_vec();
    texts.into_iter().chain([private_key]).collect()
}

async fn what_is_sealed_anew_needs_the_old_key_no_more(fixture: Fixture) {
    let [old, new] = [7, 8].map(|byte| MasterKey::from_bytes([byte; 32]));
    let directory = load(&fixture, old.clone()).await.unwrap();
    let now = ambient::now();
    let acme = Tenant {
        id: tenant("acme"),
        name: "Acme".to_owned(),
        plan: Plan::Free,
        created_at: now,
    };
    directory.put_tenant(acme, true).await.unwrap();
    let endpoint = Endpoint::new(
        EndpointId::new(now, random_id()),
        tenant("acme"),
        "https://example.com/".parse().unwrap(),
        "standard",
        "of the endpoint".into(),
    );
    directory.put_endpoint(endpoint).await.unwrap();
    let key = (KeyKind::Secret, "of the source".into());
    let source = Source::new(
        SourceId::new(now, random_id()),
        tenant("acme"),
        "standard",
        key,
    );
    directory.put_source(source).await.unwrap();
    let pair = SigningKey {
        tenant: tenant("acme"),
        algorithm: KeyAlgorithm::Ed25519,
        created_at: now,
        private_key: b"of the pair".to_vec().into(),
    };
    directory.put_signing_key(pair).await.unwrap();
    let sealed = secrets(&directory);

    assert!(load(&fixture, new.clone()).await.is_err());
    let both = load(&fixture, new.clone().opening_also(old.clone()))
        .await
        .unwrap();
    assert_eq!(secrets(&both), sealed);
    assert_eq!(both.reseal().await.unwrap(), 3);
    assert_eq!(both.reseal().await.unwrap(), 3, "again, to no harm");
    assert_eq!(secrets(&load(&fixture, new).await.unwrap()), sealed);
    assert!(load(&fixture, old).await.is_err());
}
