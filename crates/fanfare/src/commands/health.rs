use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, bail};
use serde::Deserialize;

use super::trigger::own_url;
use crate::settings::Settings;
use crate::terminal;

/// How long the process may take to answer.
const TIMEOUT: Duration = Duration::from_secs(5);

/// What `/readyz` answers.
#[derive(Debug, Deserialize)]
struct Readiness {
    ready: bool,
    dependencies: BTreeMap<String, String>,
}

/// Prints each dependency's state; fails unless the process is ready.
pub(crate) async fn health(settings: &Settings, url: Option<String>) -> anyhow::Result<()> {
    let url = url.unwrap_or_else(|| own_url(settings.listen));
    let response = reqwest::Client::builder()
        .timeout(TIMEOUT)
        .no_proxy()
        .build()?
        .get(format!("{}/readyz", url.trim_end_matches('/')))
        .send()
        .await
        .with_context(|| format!("no answer from {url}; is Fanfare running there?"))?;
    let status = response.status();
    let answer = response.bytes().await?;
    let Ok(readiness) = serde_json::from_slice::<Readiness>(&answer) else {
        bail!("{url} answered {status}, but not as Fanfare does");
    };
    for (name, state) in &readiness.dependencies {
        terminal::line(&format!("{name}: {state}"));
    }
    if !readiness.ready {
        bail!("{url} is not ready");
    }
    Ok(())
}
