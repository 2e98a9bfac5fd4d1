//! Replacing the master key.

use super::{Directory, DirectoryError};

impl Directory {
    /// Seals everything anew with the master key; answers how many endpoints, sources and key pairs
    /// that were. What was sealed by then with another key that opens here needs it no more.
    pub async fn reseal(&self) -> Result<usize, DirectoryError> {
        let snapshot = self.snapshot();
        let mut resealed = 0;
        for endpoint in snapshot.endpoints() {
            self.update_endpoint(endpoint.id, &unchanged).await?;
            resealed += 1;
        }
        for view in snapshot.tenants() {
            for source in &view.sources {
                self.update_source(source.id, &unchanged).await?;
                resealed += 1;
            }
            for key in view.signing_keys.iter() {
                let row = self.signing_key_row(key);
                self.store.reseal_signing_key(&row, ambient::now()).await?;
                resealed += 1;
            }
        }
        Ok(resealed)
    }
}

#[expect(clippy::unnecessary_wraps, reason = "a change may be refused")]
const fn unchanged<T>(_: &mut T) -> Result<(), DirectoryError> {
    Ok(())
}
