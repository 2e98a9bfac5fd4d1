use std::sync::Arc;

use anyhow::Context;
use receiver::{Arrival, Receiver, ReceiverConfig};
use secrecy::SecretString;
use tokio::net::TcpListener;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use crate::cli::Receive;
use crate::roles::stop_signal;
use crate::terminal;

/// Receives deliveries until it is stopped, a line for each.
pub(crate) async fn receive(receive: Receive) -> anyhow::Result<()> {
    let receiver = Receiver::new(ReceiverConfig {
        dialect: receive.dialect,
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
    tokio::spawn(show(receiver.subscribe(), terminal::line));
    let stop = async {
        let _stopped = stop_signal().await;
    };
    axum::serve(listener, receiver.router())
        .with_graceful_shutdown(stop)
        .await?;
    Ok(())
}

/// Says what arrives, a line for each, as long as anything can. Where more arrives than a terminal
/// takes, it says how many lines are left out.
pub(crate) async fn show(
    mut arrivals: broadcast::Receiver<Arc<Arrival>>,
    mut say: impl FnMut(&str),
) {
    loop {
        match arrivals.recv().await {
            Ok(arrival) => say(&arrival.to_string()),
            Err(RecvError::Lagged(missed)) => say(&format!("… and {missed} more")),
            Err(RecvError::Closed) => break,
        }
    }
}

#[cfg(test)]
mod tests {
    use model::Timestamp;

    use super::*;

    #[tokio::test]
    async fn a_burst_is_shown_as_far_as_it_can_be_and_ends_nothing() {
        let (arrived, arrivals) = broadcast::channel(2);
        for number in 1..=5 {
            let arrival = Arrival {
                number,
                received_at: Timestamp::EPOCH,
                path: "/".to_owned(),
                verified: true,
                problem: None,
                id: Some(format!("evt_{number}")),
                event_type: None,
                duplicate: false,
                answered: 204,
                body: String::new(),
            };
            arrived.send(Arc::new(arrival)).unwrap();
        }
        drop(arrived);
        let mut lines = Vec::new();
        show(arrivals, |line| lines.push(line.to_owned())).await;
        let lines = lines.join("\n");
        assert!(lines.starts_with("… and 3 more\n"), "{lines}");
        assert!(
            lines.contains("evt_4") && lines.ends_with("evt_5"),
            "{lines}"
        );
    }
}
