use anyhow::Context;
use receiver::{Receiver, ReceiverConfig};
use secrecy::SecretString;
use tokio::net::TcpListener;

use crate::cli::Receive;
use crate::commands::verify::dialect;
use crate::roles::stop_signal;
use crate::terminal;

/// Receives deliveries until it is stopped, a line for each.
pub(crate) async fn receive(receive: Receive) -> anyhow::Result<()> {
    let receiver = Receiver::new(ReceiverConfig {
        dialect: dialect(&receive.dialect)?,
        secret: Some(SecretString::from(receive.secret)),
    });
    let listener = TcpListener::bind((receive.address, receive.port))
        .await
        .with_context(|| {
            format!(
                "listening on port {}; choose another with --port",
                receive.port
            )
        })?;
    terminal::line(&format!("receiving on http://{}/", listener.local_addr()?));
    let mut arrivals = receiver.subscribe();
    tokio::spawn(async move {
        while let Ok(arrival) = arrivals.recv().await {
            terminal::line(&arrival.to_string());
        }
    });
    let stop = async {
        let _stopped = stop_signal().await;
    };
    axum::serve(listener, receiver.router())
        .with_graceful_shutdown(stop)
        .await?;
    Ok(())
}
