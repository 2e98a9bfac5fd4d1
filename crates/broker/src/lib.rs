//! Work in motion: events published over AMQP, deliveries to make, retries waiting for their time.
//!
//! [`Broker`] is the port; [`open`] picks RabbitMQ or the embedded queue by URL. Delivery is at
//! least once: what is not acknowledged comes again.

mod delay;
mod embedded;
mod location;
mod open;
mod port;
mod rabbitmq;
pub mod topology;

pub use open::{OpenError, Options, open};
pub use port::{
    Ack, Broker, BrokerError, BrokerStatus, Consumer, Destination, Headers, Incoming, Publication,
    Queue, QueueDepth, REASON_HEADER, REJECTED_AT_HEADER, TENANT_HEADER,
};
