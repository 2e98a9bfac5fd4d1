use std::sync::Arc;

use crate::postgres::PostgresStore;
use crate::sqlite::SqliteStore;
use crate::{Store, StoreError};

/// Why a store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("the store URL {0}")]
    BadUrl(String),
    /// Another process has this file open: two would corrupt each other's view of it.
    #[error("{path} is in use by another process")]
    InUse { path: String },
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Opens the store that `url` names: `postgres://…`, or `sqlite://PATH` with a relative or an
/// absolute path, whose folder is made if it is missing. Does not migrate.
///
/// PostgreSQL need not be there yet: each call says [`StoreError::Unavailable`] until it is.
pub async fn open(url: &str) -> Result<Arc<dyn Store>, OpenError> {
    let Some((scheme, rest)) = url.split_once("://") else {
        return Err(OpenError::BadUrl(
            "must start with postgres:// or sqlite://".to_owned(),
        ));
    };
    match scheme {
        "postgres" | "postgresql" => Ok(Arc::new(PostgresStore::open(url)?)),
        "sqlite" if rest.is_empty() || rest.contains('?') => Err(OpenError::BadUrl(
            "must name a file after sqlite://, and nothing else".to_owned(),
        )),
        "sqlite" => Ok(Arc::new(SqliteStore::open(rest).await?)),
        other => Err(OpenError::BadUrl(format!(
            "starts with {other}://, but only postgres:// and sqlite:// are known"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_bad_url_says_what_is_wrong_and_never_shows_the_password() {
        for (url, needle) in [
            ("fanfare.db", "must start with"),
            ("mysql://u:hunter2@h/db", "mysql://"),
            ("sqlite://", "must name a file"),
            ("sqlite://a.db?mode=ro", "must name a file"),
            ("postgres://u:hunter2@h:port/db", "is not a PostgreSQL URL"),
        ] {
            let error = open(url).await.unwrap_err().to_string();
            assert!(error.contains(needle), "{url}: {error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
    }
}
