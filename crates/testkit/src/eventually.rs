use std::time::{Duration, Instant};

/// How often a condition is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Waits until `condition` answers something, for at most `limit`; `what` names it in the failure.
pub async fn eventually<T>(
    what: &str,
    limit: Duration,
    mut condition: impl AsyncFnMut() -> Option<T>,
) -> anyhow::Result<T> {
    let from = Instant::now();
    loop {
        if let Some(found) = condition().await {
            return Ok(found);
        }
        anyhow::ensure!(from.elapsed() < limit, "not within {limit:?}: {what}");
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn gives_up_at_the_limit_and_names_what_was_awaited() {
        let error = eventually("the moon", Duration::from_millis(50), async || None::<()>).await;
        assert!(error.unwrap_err().to_string().contains("the moon"));
    }

    #[tokio::test]
    async fn answers_what_the_condition_found() {
        let mut looks = 0;
        let found = eventually("the third look", Duration::from_secs(5), async || {
            looks += 1;
            (looks == 3).then_some(looks)
        });
        assert_eq!(found.await.unwrap(), 3);
    }
}
