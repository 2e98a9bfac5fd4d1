//! Sources, where other systems' webhooks come in.

use std::sync::Arc;

use model::{Source, SourceId};

use super::{Directory, DirectoryError, Snapshot, UPDATE_TRIES_MAX};
use crate::vault::{open_source, seal_source};
use crate::{SourceRow, StoreError};

impl Directory {
    /// Adds a source, as revision 1.
    pub async fn put_source(&self, source: Source) -> Result<Arc<Source>, DirectoryError> {
        let mut looked_at = self.looked_at.lock().await;
        self.need_tenant(&mut looked_at, &source.tenant).await?;
        let source = Arc::new(Source {
            revision: 1,
            ..source
        });
        let row = self.source_row(&source, false);
        self.store.put_source(&row, source.updated_at).await?;
        self.change(&looked_at, |snapshot| {
            snapshot.put_source(Arc::clone(&source))
        });
        Ok(source)
    }

    /// Changes a source, `None` if there is none. `change` may run several times: always on the
    /// newest revision, which is the one it replaces, unless it refuses.
    pub async fn update_source<E: From<DirectoryError>>(
        &self,
        id: SourceId,
        change: &(dyn Fn(&mut Source) -> Result<(), E> + Sync),
    ) -> Result<Option<Arc<Source>>, E> {
        self.replace_source(id, false, change).await
    }

    /// Deletes a source; whether there was one.
    pub async fn delete_source(&self, id: SourceId) -> Result<bool, DirectoryError> {
        let clear = |source: &mut Source| {
            source.keys.clear();
            Ok::<_, DirectoryError>(())
        };
        let deleted = self.replace_source(id, true, &clear).await?;
        Ok(deleted.is_some())
    }

    async fn replace_source<E: From<DirectoryError>>(
        &self,
        id: SourceId,
        deleted: bool,
        change: &(dyn Fn(&mut Source) -> Result<(), E> + Sync),
    ) -> Result<Option<Arc<Source>>, E> {
        let mut looked_at = self.looked_at.lock().await;
        for tried in 0..UPDATE_TRIES_MAX {
            // The known revision usually is the newest, and the store refuses if it is not.
            if tried > 0 || self.snapshot.load().source(id).is_none() {
                self.look(&mut looked_at).await?;
            }
            let Some(known) = self.snapshot.load().source(id).map(Arc::clone) else {
                return Ok(None);
            };
            let mut source = Source::clone(&known);
            change(&mut source)?;
            source.revision = known.revision + 1;
            source.updated_at = ambient::now();
            let source = Arc::new(source);
            let row = self.source_row(&source, deleted);
            match self.store.put_source(&row, source.updated_at).await {
                Ok(()) => {
                    self.change(&looked_at, |snapshot| match deleted {
                        true => snapshot.remove_source(id),
                        false => snapshot.put_source(Arc::clone(&source)),
                    });
                    return Ok(Some(source));
                }
                Err(StoreError::Conflict) => {}
                Err(error) => return Err(DirectoryError::from(error).into()),
            }
        }
        Err(DirectoryError::from(StoreError::Conflict).into())
    }

    /// Applies what can be read; answers the last that cannot.
    pub(super) fn apply_sources(
        &self,
        to: &mut Snapshot,
        rows: Vec<SourceRow>,
    ) -> Result<(), DirectoryError> {
        let mut unreadable = Ok(());
        for row in rows {
            if row.deleted {
                to.remove_source(row.id);
                continue;
            }
            let known = to.source(row.id).map(|known| known.revision);
            if known.is_some_and(|known| known >= row.revision) {
                continue;
            }
            match self.source(&row) {
                Ok(source) => to.put_source(Arc::new(source)),
                Err(error) => unreadable = Err(error),
            }
        }
        unreadable
    }

    fn source_row(&self, source: &Source, deleted: bool) -> SourceRow {
        SourceRow {
            id: source.id,
            tenant: source.tenant.clone(),
            revision: source.revision,
            body: serde_json::to_string(source).expect("a source has only string keys"),
            sealed_keys: seal_source(&self.key, source),
            deleted,
        }
    }

    fn source(&self, row: &SourceRow) -> Result<Source, DirectoryError> {
        let mut source: Source = serde_json::from_str(&row.body)
            .map_err(|error| StoreError::Corrupt(format!("source {}: {error}", row.id)))?;
        open_source(&self.key, &mut source, &row.sealed_keys)
            .map_err(|_| DirectoryError::MasterKey(format!("source {}", row.id)))?;
        Ok(source)
    }
}
