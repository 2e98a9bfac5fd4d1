use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::{Store, StoreError};

/// How often a store that was away is asked whether it is back.
const PING_EVERY: Duration = Duration::from_millis(250);

/// Remembers that the store is away, so that nobody waits for it in vain, and notices when it is
/// back.
#[derive(Debug)]
pub struct StoreWatch {
    store: Arc<dyn Store>,
    away: AtomicBool,
}

impl StoreWatch {
    pub fn new(store: Arc<dyn Store>) -> Arc<Self> {
        Arc::new(Self {
            store,
            away: AtomicBool::new(false),
        })
    }

    pub fn is_away(&self) -> bool {
        self.away.load(Ordering::Relaxed)
    }

    /// Notes a failed call. The first one starts asking for the store's return.
    pub fn failed(self: &Arc<Self>, error: &StoreError) {
        if !matches!(error, StoreError::Unavailable { .. }) {
            tracing::error!(error = %error, "the store refuses a batch");
            return;
        }
        if self.away.swap(true, Ordering::Relaxed) {
            return;
        }
        tracing::error!(error = error as &dyn std::error::Error, "the store is away");
        let watch = Arc::clone(self);
        tokio::spawn(async move {
            while watch.store.ping().await.is_err() {
                tokio::time::sleep(PING_EVERY).await;
            }
            watch.away.store(false, Ordering::Relaxed);
            tracing::info!("the store is back");
        });
    }
}
