//! AMQP brokers, as RabbitMQ: connections that are renewed for as long as they are wanted.
//!
//! lapin speaks the protocol. Its own recovery stays off: it gives up after some attempts, and
//! tells nobody what was missed meanwhile.

mod address;
mod connection;
mod publisher;
mod subscription;

pub(crate) use address::AmqpAddress;
pub(crate) use connection::{AmqpError, ask, look_at};
pub(crate) use publisher::{AmqpPublication, AmqpPublisher};
pub(crate) use subscription::{AmqpFeed, AmqpMessage, Subscription, follow};
