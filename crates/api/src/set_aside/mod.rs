//! Messages set aside because nobody could read them: published events that were rejected, listed
//! and sent again, and Fanfare's own that were parked, listed.

mod again;
mod look;
mod parked;
mod rejected;

use broker::{Incoming, Queue};
use utoipa_axum::router::OpenApiRouter;
use web::{ApiError, Listed, Page};

use self::look::Look;
use crate::app::App;

pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .merge(rejected::routes())
        .merge(parked::routes())
}

/// Messages that a list is made of, the first of the queue: those of all tenants count.
const LISTED_FROM_MAX: usize = 5_000;

/// A page of what `view` shows of a queue's messages, in the order of the views.
///
/// Their order, not the queue's: RabbitMQ puts what was looked at before behind what was not.
async fn list<V: Ord>(
    app: &App,
    queue: Queue,
    page: &Page,
    view: impl Fn(&Incoming) -> Option<V>,
) -> Result<Listed<V>, ApiError> {
    let skipped = page.after::<usize>()?.unwrap_or(0);
    let wanted = skipped.saturating_add(page.limit() as usize);
    let mut look = Look::begin(app, queue, LISTED_FROM_MAX).await;
    let mut views = Vec::new();
    while let Some(message) = look.next().await? {
        views.extend(view(&message));
        look.keep(message.ack);
    }
    look.end().await?;
    let more = views.len() > wanted;
    views.sort_unstable();
    let items = views
        .into_iter()
        .skip(skipped)
        .take(wanted - skipped)
        .collect();
    Ok(Listed::new(items, more.then_some(wanted)))
}
