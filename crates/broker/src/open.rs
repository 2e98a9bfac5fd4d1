use std::path::PathBuf;
use std::sync::Arc;

use crate::Broker;
use crate::embedded::Embedded;
use crate::location::Location;
use crate::rabbitmq::RabbitMq;

/// How a process presents itself to the broker.
#[derive(Clone, Debug)]
pub struct Options {
    /// Shown in RabbitMQ's list of connections.
    pub connection_name: String,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            connection_name: "fanfare".to_owned(),
        }
    }
}

/// The broker cannot be opened; only a person can mend it.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("not a broker URL: {0}")]
    Url(String),
    #[error("{} is in use by another process", path.display())]
    InUse { path: PathBuf },
    #[error("{} was written by a newer version of fanfare", path.display())]
    Newer { path: PathBuf },
    #[error("the queue file {} cannot be opened", path.display())]
    Queue {
        path: PathBuf,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// Says what is wrong with a broker URL, without repeating it and without opening anything.
pub fn check_url(url: &str) -> Result<(), OpenError> {
    Location::parse(url).map(|_| ())
}

/// The virtual host that a broker URL names; `None` for the embedded queue.
pub fn virtual_host(url: &str) -> Result<Option<String>, OpenError> {
    Ok(match Location::parse(url)? {
        Location::Embedded(_) => None,
        Location::RabbitMq(hosts) => hosts.into_iter().next().map(|host| host.vhost),
    })
}

/// Opens the broker at `url`: `amqp://` or `amqps://` for RabbitMQ, with several hosts separated by
/// commas, or `embedded://DIRECTORY`.
///
/// RabbitMQ need not be there: the connection is made, and made again, in the background.
pub async fn open(url: &str, options: Options) -> Result<Arc<dyn Broker>, OpenError> {
    match Location::parse(url)? {
        Location::Embedded(directory) => {
            let opened = tokio::task::spawn_blocking(move || Embedded::open(&directory)).await;
            let embedded = opened.expect("opening the queue file does not panic")?;
            Ok(Arc::new(embedded))
        }
        Location::RabbitMq(hosts) => Ok(Arc::new(RabbitMq::open(hosts, &options.connection_name))),
    }
}
