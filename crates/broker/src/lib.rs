//! Work in motion: events published over AMQP, deliveries to make, retries waiting for their time.
//!
//! [`Broker`] is the port; [`open`] picks RabbitMQ or the embedded queue by URL. Delivery is at
//! least once: what is not acknowledged comes again. What a message means is none of its business.
//!
//! ```
//! use broker::{Destination, Options, Publication, Queue};
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let directory = tempfile::tempdir()?;
//! # let url = format!("embedded://{}", directory.path().display());
//! let broker = broker::open(&url, Options::default()).await?;
//! let to = Destination::Delivery { urgent: false, due_at: None };
//! broker.publish(vec![Publication { to, body: "work".into() }]).await?;
//!
//! let mut deliveries = broker.consume(Queue::Deliveries, 100);
//! let message = deliveries.next().await.expect("the broker is open");
//! assert_eq!(message.body, "work");
//! message.ack.ack();
//! broker.close().await;
//! # Ok(())
//! # }
//! ```

mod delay;
mod embedded;
mod location;
mod open;
mod port;
mod rabbitmq;
pub mod topology;

pub use open::{OpenError, Options, check_url, open, virtual_host};
pub use port::{
    Ack, Broker, BrokerError, BrokerStatus, Consumer, Destination, Headers, Incoming, Publication,
    Queue, QueueDepth, QueueLook, REASON_HEADER, REJECTED_AT_HEADER, SET_ASIDE_MESSAGES_MAX,
    SOURCE_HEADER, TENANT_HEADER,
};
