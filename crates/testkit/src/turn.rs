use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

static MACHINE: RwLock<()> = RwLock::const_new(());

/// Waits until no test that measures is running. Held while a test runs beside others.
pub async fn among_others() -> RwLockReadGuard<'static, ()> {
    MACHINE.read().await
}

/// Waits until the machine belongs to this test alone: for tests that measure latency.
pub async fn alone() -> RwLockWriteGuard<'static, ()> {
    MACHINE.write().await
}
