use anyhow::bail;
use secrecy::ExposeSecret;

use crate::cli::TopologyAction;
use crate::settings::Settings;
use crate::terminal;
use crate::wiring::open_store;

/// Brings the schema up to date and prepares the coming weeks.
pub(crate) async fn migrate(settings: &Settings) -> anyhow::Result<()> {
    let store = open_store(settings).await?;
    store.migrate().await?;
    store.maintain(ambient::now()).await?;
    terminal::line("the database schema is up to date");
    Ok(())
}

/// Declares the topology, or compares it with the running broker.
pub(crate) async fn topology(settings: &Settings, action: TopologyAction) -> anyhow::Result<()> {
    if settings.is_embedded_broker() {
        bail!("broker.url names the embedded queue, which has no topology: set amqp://…");
    }
    let url = settings.broker_url.expose_secret();
    match action {
        TopologyAction::Apply => {
            broker::topology::apply(url).await?;
            terminal::line("exchanges, queues and bindings are declared");
        }
        TopologyAction::Verify => {
            let mismatches = broker::topology::verify(url).await?;
            for mismatch in &mismatches {
                terminal::line(&mismatch.to_string());
            }
            if !mismatches.is_empty() {
                bail!("the broker differs in {} place(s)", mismatches.len());
            }
            terminal::line("the broker has every exchange, queue and binding");
        }
    }
    Ok(())
}
