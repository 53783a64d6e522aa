//! AMQP brokers, as RabbitMQ: connections that are renewed for as long as they are wanted.
//!
//! lapin speaks the protocol, over streams made here. Its own recovery stays off: it gives up
//! after some attempts, and tells nobody what was missed meanwhile.

mod address;
mod connection;
mod dead_letters;
mod delivery;
mod error;
mod inspection;
mod jitter;
mod management;
mod publisher;
mod reader;
mod subscription;
mod topology;
mod transport;

pub(crate) use address::AmqpAddress;
pub(crate) use connection::{ask, look_at};
pub(crate) use dead_letters::AmqpDeadLetters;
pub(crate) use delivery::AmqpDelivery;
pub(crate) use error::AmqpError;
pub(crate) use inspection::{AmqpInspection, inspect};
pub(crate) use jitter::jittered;
pub(crate) use management::{ManagedQueue, ManagementAddress};
pub(crate) use publisher::{AmqpPublication, AmqpPublisher};
pub(crate) use reader::{AmqpReader, AmqpReading};
pub(crate) use subscription::{AmqpFeed, AmqpMessage, Subscription, follow};
pub(crate) use topology::AmqpTopology;
