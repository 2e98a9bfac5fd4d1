use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use serde_json::value::RawValue;

use crate::cli::Trigger;
use crate::settings::Settings;
use crate::terminal;

/// How long the API may take to answer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Publishes a sample event and prints the answer.
pub(crate) async fn trigger(settings: &Settings, trigger: Trigger) -> anyhow::Result<()> {
    let key = key(settings, trigger.key)?;
    let url = trigger.url.unwrap_or_else(|| own_url(settings.listen));
    let data = match &trigger.data {
        Some(data) => serde_json::from_str::<Box<RawValue>>(data).context("--data is not JSON")?,
        None => sample(&trigger.license),
    };
    let event = json!({ "type": trigger.event_type, "data": data });
    let response = reqwest::Client::builder()
        .timeout(TIMEOUT)
        .build()?
        .post(format!("{}/v1/events", url.trim_end_matches('/')))
        .bearer_auth(key.expose_secret())
        .header(web::TENANT_HEADER, &trigger.tenant)
        .header(http::header::CONTENT_TYPE, "application/json")
        .body(event.to_string())
        .send()
        .await
        .with_context(|| format!("no answer from {url}; is Fanfare running there?"))?;
    let status = response.status();
    let answer = response.text().await?;
    if !status.is_success() {
        bail!("{status}: {answer}");
    }
    terminal::line(&answer);
    Ok(())
}

/// The key that was given, else the bootstrap key, else the one of `serve --dev`.
fn key(settings: &Settings, given: Option<String>) -> anyhow::Result<SecretString> {
    if let Some(key) = given {
        return Ok(key.into());
    }
    if let Some(key) = &settings.bootstrap_api_key {
        return Ok(key.clone());
    }
    let file = settings
        .embedded_store_path()
        .map(|store| store.with_file_name(crate::dev::KEY_FILE));
    let text = file
        .as_deref()
        .map(Path::new)
        .and_then(|file| std::fs::read_to_string(file).ok());
    let key = text.context("no API key: give one with --key")?;
    Ok(SecretString::from(key.trim().to_owned()))
}

/// Where a process with this configuration is reached from its own machine.
pub(super) fn own_url(listen: SocketAddr) -> String {
    format!("http://{listen}")
}

fn sample(license: &str) -> Box<RawValue> {
    let data = json!({
        "license": {
            "id": license,
            "key": "KP-ABCD-EFGH-IJKL",
            "name": "Sample license",
            "status": "active",
            "plan": "professional",
            "expires_at": "2030-01-01T00:00:00.000Z",
        },
        "customer": {"id": "cus_sample", "name": "Sample customer", "email": "sample@example.com"},
    });
    serde_json::value::to_raw_value(&data).expect("a literal is JSON")
}
