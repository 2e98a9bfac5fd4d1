//! Tenants' key pairs.

use model::{KeyAlgorithm, SigningKey, TenantId};
use secrecy::ExposeSecret;

use super::{Directory, DirectoryError, Snapshot};
use crate::SigningKeyRow;

impl Directory {
    /// Gives a tenant a key pair, unless it has one of that algorithm: then that one stays.
    pub async fn put_signing_key(&self, key: SigningKey) -> Result<(), DirectoryError> {
        let mut looked_at = self.looked_at.lock().await;
        self.need_tenant(&mut looked_at, &key.tenant).await?;
        let row = self.signing_key_row(&key);
        let found = self.store.put_signing_key(&row, ambient::now()).await?;
        let found = self.signing_key(found)?;
        self.change(&looked_at, |snapshot| snapshot.put_signing_key(found));
        Ok(())
    }

    /// Applies what can be read; answers the last that cannot.
    pub(super) fn apply_signing_keys(
        &self,
        to: &mut Snapshot,
        rows: Vec<SigningKeyRow>,
    ) -> Result<(), DirectoryError> {
        let mut unreadable = Ok(());
        for row in rows {
            match self.signing_key(row) {
                Ok(key) => to.put_signing_key(key),
                Err(error) => unreadable = Err(error),
            }
        }
        unreadable
    }

    pub(super) fn signing_key_row(&self, key: &SigningKey) -> SigningKeyRow {
        let clear = key.private_key.expose_secret();
        SigningKeyRow {
            sealed_key: self.key.seal(&owner(&key.tenant, key.algorithm), clear),
            tenant: key.tenant.clone(),
            algorithm: key.algorithm,
            created_at: key.created_at,
        }
    }

    fn signing_key(&self, row: SigningKeyRow) -> Result<SigningKey, DirectoryError> {
        let opened = self
            .key
            .open(&owner(&row.tenant, row.algorithm), &row.sealed_key);
        let private_key = opened.map_err(|_| {
            let what = format!("the {} key of tenant {}", row.algorithm, row.tenant);
            DirectoryError::MasterKey(what)
        })?;
        Ok(SigningKey {
            tenant: row.tenant,
            algorithm: row.algorithm,
            created_at: row.created_at,
            private_key: private_key.into(),
        })
    }
}

/// What a private key is bound to.
fn owner(tenant: &TenantId, algorithm: KeyAlgorithm) -> Vec<u8> {
    format!("signing key {algorithm} of {tenant}").into_bytes()
}
