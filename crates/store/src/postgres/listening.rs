use std::sync::Arc;
use std::time::Duration;

use sqlx::PgPool;
use sqlx::postgres::PgListener;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::directory::CHANNEL;

/// How long to wait before listening again when PostgreSQL is away.
const RETRY_AFTER: Duration = Duration::from_secs(3);

/// Hears of changes to the directory, and reports a lost connection as one.
#[derive(Debug)]
pub(super) struct Listening {
    changed: Arc<Notify>,
    task: JoinHandle<()>,
}

impl Listening {
    pub(super) fn start(pool: PgPool) -> Self {
        let changed = Arc::new(Notify::new());
        let tell = Arc::clone(&changed);
        let task = tokio::spawn(async move {
            loop {
                // What happened until now, or since the connection was lost, was not heard.
                let lost = listen(&pool, &tell).await;
                tracing::debug!(error = %lost, "changes of the directory are not heard");
                notify(&tell);
                tokio::time::sleep(RETRY_AFTER).await;
            }
        });
        Self { changed, task }
    }

    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn listen(pool: &PgPool, changed: &Notify) -> sqlx::Error {
    let mut listener = match PgListener::connect_with(pool).await {
        Ok(listener) => listener,
        Err(error) => return error,
    };
    if let Err(error) = listener.listen(CHANNEL).await {
        return error;
    }
    notify(changed);
    loop {
        match listener.try_recv().await {
            // `None`: the connection was lost and is made anew.
            Ok(Some(_) | None) => notify(changed),
            Err(error) => return error,
        }
    }
}

/// Whoever waits now, and whoever waits next in case nobody does.
fn notify(changed: &Notify) {
    changed.notify_waiters();
    changed.notify_one();
}
