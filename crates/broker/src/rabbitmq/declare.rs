use std::fmt;
use std::time::Duration;

use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{Channel, Connection};
use tokio::time::timeout;

use super::session::{Refusal, refusal};
use crate::topology::{Exchange, QueueDefinition, Topology};

/// How long declaring again may take.
const MEND_LIMIT: Duration = Duration::from_secs(5);

/// Something on the broker is not as it has to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// Such as `queue fanfare.intake`.
    pub what: String,
    pub problem: String,
    /// What a person can do about it.
    pub advice: String,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}; {}", self.what, self.problem, self.advice)
    }
}

/// Declares everything. It changes nothing where all is in place.
///
/// A user who may not declare has to be content with what an administrator declared.
pub(super) async fn apply(
    connection: &Connection,
    topology: &Topology,
) -> Result<(), lapin::Error> {
    let channel = connection.create_channel().await?;
    match declare_all(&channel, topology).await {
        Err(error) if refusal(&error) == Some(Refusal::AccessRefused) => {
            tracing::warn!(%error, "the topology is taken as it is");
            Ok(())
        }
        Err(error) => Err(error),
        Ok(()) => {
            channel.close(200, "declared".into()).await?;
            declare_set_aside(connection, topology).await
        }
    }
}

/// Declares the queues of messages that were set aside; one without their bounds stays as it is.
async fn declare_set_aside(
    connection: &Connection,
    topology: &Topology,
) -> Result<(), lapin::Error> {
    for queue in topology.queues.iter().filter(|queue| queue.is_set_aside) {
        // A refusal closes the channel, so each gets its own.
        let channel = connection.create_channel().await?;
        match declare_queue(&channel, queue).await {
            Err(error) if refusal(&error) == Some(Refusal::Differs) => tracing::warn!(
                queue = queue.name,
                "the queue has no bounds: `fanfare topology verify` says how to give it some"
            ),
            Err(error) => return Err(error),
            Ok(()) => channel.close(200, "declared".into()).await?,
        }
    }
    Ok(())
}

/// Declares what may be missing on a connection that had it before.
pub(super) async fn mend(connection: &Connection) {
    match timeout(MEND_LIMIT, apply(connection, &Topology::fanfare())).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(%error, "the topology cannot be mended"),
        Err(_) => tracing::warn!("the topology cannot be mended: no answer in time"),
    }
}

async fn declare_all(channel: &Channel, topology: &Topology) -> Result<(), lapin::Error> {
    // In order and without waiting for each answer; the first refusal closes the channel.
    let exchanges = topology
        .exchanges
        .iter()
        .map(|exchange| declare_exchange(channel, exchange));
    futures::future::try_join_all(exchanges).await?;
    let queues = topology
        .queues
        .iter()
        .filter(|queue| !queue.is_set_aside)
        .map(|queue| declare_queue(channel, queue));
    futures::future::try_join_all(queues).await?;
    let bindings = topology.bindings.iter().map(|binding| {
        channel.queue_bind(
            binding.queue.as_str().into(),
            binding.exchange.into(),
            binding.pattern.as_str().into(),
            QueueBindOptions::default(),
            FieldTable::default(),
        )
    });
    futures::future::try_join_all(bindings).await?;
    Ok(())
}

async fn declare_exchange(channel: &Channel, exchange: &Exchange) -> Result<(), lapin::Error> {
    let options = ExchangeDeclareOptions {
        durable: true,
        ..ExchangeDeclareOptions::default()
    };
    channel
        .exchange_declare(
            exchange.name.into(),
            Exchange::KIND,
            options,
            FieldTable::default(),
        )
        .await
}

async fn declare_queue(channel: &Channel, queue: &QueueDefinition) -> Result<(), lapin::Error> {
    let options = QueueDeclareOptions {
        durable: true,
        ..QueueDeclareOptions::default()
    };
    channel
        .queue_declare(queue.name.as_str().into(), options, queue.arguments.clone())
        .await?;
    Ok(())
}

/// Compares the broker with the topology, changing nothing. Bindings cannot be read over AMQP.
pub(super) async fn verify(
    connection: &Connection,
    topology: &Topology,
) -> Result<Vec<Mismatch>, lapin::Error> {
    let mut mismatches = Vec::new();
    for exchange in &topology.exchanges {
        let found = verify_exchange(connection, exchange).await;
        let delete = format!("delete the exchange {}", exchange.name);
        let what = format!("exchange {}", exchange.name);
        mismatches.extend(mismatch(found, what, &delete)?);
    }
    for queue in &topology.queues {
        let found = verify_queue(connection, queue).await;
        let delete = format!(
            "empty the queue, then delete it (rabbitmqctl delete_queue {})",
            queue.name
        );
        let what = format!("queue {}", queue.name);
        mismatches.extend(mismatch(found, what, &delete)?);
    }
    Ok(mismatches)
}

async fn verify_exchange(connection: &Connection, exchange: &Exchange) -> Result<(), lapin::Error> {
    // A refusal closes the channel, so each gets its own.
    let channel = connection.create_channel().await?;
    let passive = ExchangeDeclareOptions {
        passive: true,
        ..ExchangeDeclareOptions::default()
    };
    channel
        .exchange_declare(
            exchange.name.into(),
            Exchange::KIND,
            passive,
            FieldTable::default(),
        )
        .await?;
    declare_exchange(&channel, exchange).await?;
    channel.close(200, "verified".into()).await
}

async fn verify_queue(
    connection: &Connection,
    queue: &QueueDefinition,
) -> Result<(), lapin::Error> {
    let channel = connection.create_channel().await?;
    let passive = QueueDeclareOptions {
        passive: true,
        ..QueueDeclareOptions::default()
    };
    channel
        .queue_declare(queue.name.as_str().into(), passive, FieldTable::default())
        .await?;
    declare_queue(&channel, queue).await?;
    channel.close(200, "verified".into()).await
}

fn mismatch(
    found: Result<(), lapin::Error>,
    what: String,
    delete: &str,
) -> Result<Option<Mismatch>, lapin::Error> {
    let Err(error) = found else {
        return Ok(None);
    };
    let (problem, advice) = match refusal(&error) {
        Some(Refusal::NotFound) => (
            "does not exist".to_owned(),
            "run `fanfare topology apply`".to_owned(),
        ),
        Some(Refusal::Differs) => (
            format!("differs ({error})"),
            format!("stop fanfare, {delete} and run `fanfare topology apply`"),
        ),
        Some(Refusal::AccessRefused) => (
            "this user may not look at it".to_owned(),
            "run this as a user with configure permission".to_owned(),
        ),
        None => return Err(error),
    };
    Ok(Some(Mismatch {
        what,
        problem,
        advice,
    }))
}
