//! The small tables in memory: tenants, keys, endpoints and sources with their secrets, registered
//! event types.

mod resealing;
mod shards;
mod signing_keys;
mod snapshot;
mod sources;

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use model::{
    ApiKey, Endpoint, EndpointId, KeyId, RegisteredEventType, Tenant, TenantId, Timestamp,
};
use tokio::sync::{Mutex, MutexGuard};

pub use snapshot::{Snapshot, TenantView};

use crate::vault::{open_endpoint, seal_endpoint};
use crate::{DirectoryChanges, EndpointRow, MasterKey, Store, StoreError};

/// How far each look reaches back behind the last: what was committed late is seen all the same.
const OVERLAP: Duration = Duration::from_secs(10);

/// The longest wait between two looks: a lost notice heals within it.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How often an update is repeated because somebody else changed the endpoint meanwhile.
const UPDATE_TRIES_MAX: u32 = 20;

/// Why the directory could not be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The configured key is not the one the secrets were sealed with.
    #[error("the master key does not open the secrets of {0}: is it another installation's?")]
    MasterKey(String),
    #[error("there is no tenant {0}")]
    UnknownTenant(TenantId),
}

/// The in-memory copy, kept fresh; every change of the small tables goes through it.
///
/// A change made here is in [`Directory::snapshot`] when the call returns; one made by another
/// process within [`Directory::follow`]'s second.
#[derive(Debug)]
pub struct Directory {
    store: Arc<dyn Store>,
    key: MasterKey,
    snapshot: ArcSwap<Snapshot>,
    /// Where the last look ended. Held while the snapshot is replaced and while a look or a write
    /// is under way, so that nothing older overtakes something newer.
    looked_at: Mutex<Option<Timestamp>>,
}

impl Directory {
    /// Reads everything.
    pub async fn load(store: Arc<dyn Store>, key: MasterKey) -> Result<Arc<Self>, DirectoryError> {
        let directory = Self {
            store,
            key,
            snapshot: ArcSwap::default(),
            looked_at: Mutex::new(None),
        };
        directory.refresh().await?;
        Ok(Arc::new(directory))
    }

    /// The directory as it is known now.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }

    /// Reads what changed since the last look.
    pub async fn refresh(&self) -> Result<(), DirectoryError> {
        let mut looked_at = self.looked_at.lock().await;
        self.look(&mut looked_at).await
    }

    /// Keeps the copy fresh, for as long as it is polled.
    pub async fn follow(self: Arc<Self>) {
        let mut failing = false;
        loop {
            let _quiet = tokio::time::timeout(LOOK_EVERY, self.store.directory_changed()).await;
            match self.refresh().await {
                Ok(()) if failing => {
                    failing = false;
                    tracing::info!("the directory is read again");
                }
                Ok(()) => {}
                Err(error) => {
                    if !failing {
                        failing = true;
                        tracing::warn!(error = %error, "the directory cannot be read; what is known stays in use");
                    }
                    tokio::time::sleep(LOOK_EVERY).await;
                }
            }
        }
    }

    /// Adds an endpoint, as revision 1.
    pub async fn put_endpoint(&self, endpoint: Endpoint) -> Result<Arc<Endpoint>, DirectoryError> {
        let mut looked_at = self.looked_at.lock().await;
        self.need_tenant(&mut looked_at, &endpoint.tenant).await?;
        let endpoint = Arc::new(Endpoint {
            revision: 1,
            ..endpoint
        });
        let row = self.row(&endpoint, false);
        self.store.put_endpoint(&row, endpoint.updated_at).await?;
        self.change(&looked_at, |snapshot| {
            snapshot.put_endpoint(Arc::clone(&endpoint))
        });
        Ok(endpoint)
    }

    /// Changes an endpoint, `None` if there is none. `change` may run several times: always on the
    /// newest revision, which is the one it replaces, unless it refuses.
    pub async fn update_endpoint<E: From<DirectoryError>>(
        &self,
        id: EndpointId,
        change: &(dyn Fn(&mut Endpoint) -> Result<(), E> + Sync),
    ) -> Result<Option<Arc<Endpoint>>, E> {
        self.replace_endpoint(id, false, change).await
    }

    /// Deletes an endpoint and discards its unfinished deliveries; whether there was one.
    pub async fn delete_endpoint(&self, id: EndpointId) -> Result<bool, DirectoryError> {
        let clear = |endpoint: &mut Endpoint| {
            endpoint.secrets.clear();
            Ok::<_, DirectoryError>(())
        };
        if self.replace_endpoint(id, true, &clear).await?.is_none() {
            return Ok(false);
        }
        // Deleted it is: what is left over here, a dispatcher discards when it comes across it.
        if let Err(error) = self.store.discard_unfinished(id, ambient::now()).await {
            tracing::warn!(endpoint.id = %id, error = %error, "not all of its deliveries are discarded yet");
        }
        Ok(true)
    }

    /// Adds a tenant or changes it; with `create`, an existing one is a conflict.
    pub async fn put_tenant(&self, tenant: Tenant, create: bool) -> Result<(), DirectoryError> {
        let looked_at = self.looked_at.lock().await;
        self.store
            .put_tenant(&tenant, create, ambient::now())
            .await?;
        self.change(&looked_at, |snapshot| snapshot.put_tenant(tenant));
        Ok(())
    }

    /// Adds a key; one with the same hash stays as it is.
    pub async fn put_key(&self, key: ApiKey) -> Result<(), DirectoryError> {
        let looked_at = self.looked_at.lock().await;
        self.store.put_key(&key, ambient::now()).await?;
        if self.snapshot.load().key(&key.hash).is_none() {
            self.change(&looked_at, |snapshot| snapshot.put_key(key));
        }
        Ok(())
    }

    /// Deletes a key; whether there was one.
    pub async fn delete_key(&self, id: KeyId) -> Result<bool, DirectoryError> {
        let looked_at = self.looked_at.lock().await;
        let deleted = self.store.delete_key(id, ambient::now()).await?;
        self.change(&looked_at, |snapshot| snapshot.remove_key(id));
        Ok(deleted)
    }

    /// Registers an event type, or changes its description.
    pub async fn put_event_type(
        &self,
        event_type: RegisteredEventType,
    ) -> Result<(), DirectoryError> {
        let looked_at = self.looked_at.lock().await;
        self.store
            .put_event_type(&event_type, ambient::now())
            .await?;
        self.change(&looked_at, |snapshot| snapshot.put_event_type(event_type));
        Ok(())
    }

    async fn replace_endpoint<E: From<DirectoryError>>(
        &self,
        id: EndpointId,
        deleted: bool,
        change: &(dyn Fn(&mut Endpoint) -> Result<(), E> + Sync),
    ) -> Result<Option<Arc<Endpoint>>, E> {
        let mut looked_at = self.looked_at.lock().await;
        for tried in 0..UPDATE_TRIES_MAX {
            // The known revision usually is the newest, and the store refuses if it is not.
            if tried > 0 || self.snapshot.load().endpoint(id).is_none() {
                self.look(&mut looked_at).await?;
            }
            let Some(known) = self.snapshot.load().endpoint(id).map(Arc::clone) else {
                return Ok(None);
            };
            let mut endpoint = Endpoint::clone(&known);
            change(&mut endpoint)?;
            endpoint.revision = known.revision + 1;
            endpoint.updated_at = ambient::now();
            let endpoint = Arc::new(endpoint);
            let row = self.row(&endpoint, deleted);
            match self.store.put_endpoint(&row, endpoint.updated_at).await {
                Ok(()) => {
                    self.change(&looked_at, |snapshot| match deleted {
                        true => snapshot.remove_endpoint(id),
                        false => snapshot.put_endpoint(Arc::clone(&endpoint)),
                    });
                    return Ok(Some(endpoint));
                }
                Err(StoreError::Conflict) => {}
                Err(error) => return Err(DirectoryError::from(error).into()),
            }
        }
        Err(DirectoryError::from(StoreError::Conflict).into())
    }

    /// Another process may just have made the tenant.
    async fn need_tenant(
        &self,
        looked_at: &mut Option<Timestamp>,
        id: &TenantId,
    ) -> Result<(), DirectoryError> {
        if self.snapshot.load().tenant(id).is_none() {
            self.look(looked_at).await?;
        }
        match self.snapshot.load().tenant(id) {
            Some(_) => Ok(()),
            None => Err(DirectoryError::UnknownTenant(id.clone())),
        }
    }

    async fn look(&self, looked_at: &mut Option<Timestamp>) -> Result<(), DirectoryError> {
        let since = looked_at.map(|at| at.minus(OVERLAP));
        let changes = self.store.directory_changes(since).await?;
        let as_of = changes.as_of;
        let mut snapshot = Snapshot::clone(&self.snapshot.load());
        let unreadable = self.apply(&mut snapshot, changes);
        self.snapshot.store(Arc::new(snapshot));
        // Kept where it was after an error, so that the same rows are read and reported again.
        unreadable?;
        *looked_at = Some(as_of);
        Ok(())
    }

    /// Applies what can be read; answers the last that cannot.
    fn apply(&self, to: &mut Snapshot, changes: DirectoryChanges) -> Result<(), DirectoryError> {
        for tenant in changes.tenants {
            to.put_tenant(tenant);
        }
        let mut unreadable = self
            .apply_signing_keys(to, changes.signing_keys)
            .and(self.apply_sources(to, changes.sources));
        for event_type in changes.event_types {
            to.put_event_type(event_type);
        }
        for key in changes.keys {
            to.put_key(key);
        }
        for id in changes.deleted_keys {
            to.remove_key(id);
        }
        for row in changes.endpoints {
            if row.deleted {
                to.remove_endpoint(row.id);
                continue;
            }
            if to
                .endpoint(row.id)
                .is_some_and(|known| known.revision >= row.revision)
            {
                continue;
            }
            match self.endpoint(&row) {
                Ok(endpoint) => to.put_endpoint(Arc::new(endpoint)),
                Err(error) => unreadable = Err(error),
            }
        }
        unreadable
    }

    /// Replaces the snapshot; the guard proves that nobody else does meanwhile.
    fn change(
        &self,
        _writing: &MutexGuard<'_, Option<Timestamp>>,
        change: impl FnOnce(&mut Snapshot),
    ) {
        let mut snapshot = Snapshot::clone(&self.snapshot.load());
        change(&mut snapshot);
        self.snapshot.store(Arc::new(snapshot));
    }

    fn row(&self, endpoint: &Endpoint, deleted: bool) -> EndpointRow {
        let sealed_secrets = seal_endpoint(&self.key, endpoint);
        let in_clear = Endpoint {
            headers: Default::default(),
            ..endpoint.clone()
        };
        EndpointRow {
            id: endpoint.id,
            tenant: endpoint.tenant.clone(),
            revision: endpoint.revision,
            body: serde_json::to_string(&in_clear).expect("an endpoint has only string keys"),
            sealed_secrets,
            deleted,
        }
    }

    fn endpoint(&self, row: &EndpointRow) -> Result<Endpoint, DirectoryError> {
        let mut endpoint: Endpoint = serde_json::from_str(&row.body)
            .map_err(|error| StoreError::Corrupt(format!("endpoint {}: {error}", row.id)))?;
        open_endpoint(&self.key, &mut endpoint, &row.sealed_secrets)
            .map_err(|_| DirectoryError::MasterKey(format!("endpoint {}", row.id)))?;
        Ok(endpoint)
    }
}
