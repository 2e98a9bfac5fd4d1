use std::time::Duration;

use broker::{Ack, BrokerError, Incoming, Queue};
use tokio::sync::MutexGuard;
use tokio::time::{sleep, timeout};
use web::ApiError;

use crate::app::App;

/// Messages taken from the broker, and sent again, at once: as many of the largest events fit into
/// memory.
pub(super) const TAKEN_AT_ONCE: u32 = 100;

/// How long what was looked at may take to be in its queue again. Nothing is lost if it takes
/// longer: it is only not there yet for the next look.
const BACK_LIMIT: Duration = Duration::from_secs(2);

/// How often that is asked.
const BACK_ASKED_EVERY: Duration = Duration::from_millis(5);

/// Shows the messages of a queue one by one. Those that are not acknowledged go back.
pub(super) struct Look<'a> {
    app: &'a App,
    queue: Queue,
    taken: std::vec::IntoIter<Incoming>,
    left: usize,
    kept: Vec<Ack>,
    /// Two looks at once would hide the messages from one another.
    _alone: MutexGuard<'a, ()>,
}

impl<'a> Look<'a> {
    /// Shows the first `max` messages. What lies behind them shows when those in front are gone.
    pub(super) async fn begin(app: &'a App, queue: Queue, max: usize) -> Self {
        Self {
            app,
            queue,
            taken: Vec::new().into_iter(),
            left: max,
            kept: Vec::new(),
            _alone: app.set_aside.lock().await,
        }
    }

    pub(super) async fn next(&mut self) -> Result<Option<Incoming>, ApiError> {
        if self.left == 0 {
            return Ok(None);
        }
        if self.taken.as_slice().is_empty() {
            let taken = self.app.broker.take(self.queue, TAKEN_AT_ONCE).await;
            self.taken = taken.map_err(broker_away)?.into_iter();
        }
        let message = self.taken.next();
        self.left -= usize::from(message.is_some());
        Ok(message)
    }

    /// Leaves a message in the queue: it goes back when the look is over.
    pub(super) fn keep(&mut self, ack: Ack) {
        self.kept.push(ack);
    }

    /// Gives everything back and waits until it is there, so that the next look finds it. Every
    /// other message that was shown must have been acknowledged.
    pub(super) async fn end(self) -> Result<(), ApiError> {
        let given_back = self.kept.len() + self.taken.len();
        if given_back == 0 {
            return Ok(());
        }
        let Self {
            app,
            queue,
            taken,
            kept,
            _alone,
            ..
        } = self;
        let ready = async || app.broker.depth(queue).await.map(|depth| depth.ready);
        let all = ready().await.map_err(broker_away)? + given_back as u64;
        drop((taken, kept));
        let back = async {
            while ready().await? < all {
                sleep(BACK_ASKED_EVERY).await;
            }
            Ok(())
        };
        match timeout(BACK_LIMIT, back).await {
            Ok(back) => back.map_err(broker_away),
            Err(_somebody_else_took_them) => Ok(()),
        }
    }
}

pub(super) fn broker_away(error: BrokerError) -> ApiError {
    match &error {
        BrokerError::Unavailable { .. } => {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "the broker did not answer"
            );
            ApiError::unavailable("the broker is unavailable", web::ASK_AGAIN_AFTER)
        }
        BrokerError::Refused(_) => ApiError::internal(&error),
    }
}
