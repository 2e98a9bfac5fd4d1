//! Tenants' key pairs, parsed once and not for every request.

use std::collections::HashMap;
use std::sync::Arc;

use dialect::{Dialect, SigningKeys};
use model::{Endpoint, SigningKey, TenantId};
use parking_lot::RwLock;
use store::Snapshot;

/// The parsed keys of the tenants whose endpoints need some.
#[derive(Debug, Default)]
pub(crate) struct KeyRing {
    parsed: RwLock<HashMap<TenantId, Parsed>>,
    none: Arc<SigningKeys>,
}

#[derive(Debug)]
struct Parsed {
    from: Arc<[SigningKey]>,
    keys: Arc<SigningKeys>,
}

impl KeyRing {
    /// The keys to sign for the endpoint with; none where its dialect signs with secrets.
    pub(crate) fn of(&self, endpoint: &Endpoint, directory: &Snapshot) -> Arc<SigningKeys> {
        let needs_keys =
            Dialect::of(endpoint).is_some_and(|it| !it.signed_with(endpoint).is_empty());
        match directory.tenant(&endpoint.tenant) {
            Some(tenant) if needs_keys => self.parsed(&endpoint.tenant, &tenant.signing_keys),
            Some(_) | None => Arc::clone(&self.none),
        }
    }

    fn parsed(&self, tenant: &TenantId, from: &Arc<[SigningKey]>) -> Arc<SigningKeys> {
        if let Some(parsed) = self.parsed.read().get(tenant)
            && Arc::ptr_eq(&parsed.from, from)
        {
            return Arc::clone(&parsed.keys);
        }
        let keys = SigningKeys::read(from).unwrap_or_else(|error| {
            tracing::error!(tenant.id = %tenant, error = %error, "nothing can be signed");
            SigningKeys::default()
        });
        let keys = Arc::new(keys);
        let parsed = Parsed {
            from: Arc::clone(from),
            keys: Arc::clone(&keys),
        };
        self.parsed.write().insert(tenant.clone(), parsed);
        keys
    }
}

#[cfg(test)]
mod tests {
    use model::{KeyAlgorithm, Timestamp};

    use super::*;

    fn keys(random: u8) -> Arc<[SigningKey]> {
        let algorithm = KeyAlgorithm::Ed25519;
        let key = SigningKey {
            tenant: TenantId::new("acme").unwrap(),
            algorithm,
            created_at: Timestamp::EPOCH,
            private_key: SigningKeys::generate(algorithm, [random; 32]),
        };
        Arc::from([key])
    }

    #[test]
    fn keys_are_parsed_again_only_when_they_are_others() {
        let ring = KeyRing::default();
        let tenant = TenantId::new("acme").unwrap();
        let (one, other) = (keys(1), keys(2));
        let parsed = ring.parsed(&tenant, &one);
        assert!(Arc::ptr_eq(&parsed, &ring.parsed(&tenant, &one)));
        assert!(!Arc::ptr_eq(&parsed, &ring.parsed(&tenant, &other)));
    }

    #[test]
    fn endpoints_that_sign_with_secrets_need_no_keys() {
        let ring = KeyRing::default();
        let endpoint = crate::lanes::tests::endpoint();
        let keys = ring.of(&endpoint, &Snapshot::default());
        assert!(Arc::ptr_eq(&keys, &ring.none));
    }
}
