//! Where a Redis is, and how to log in to it.

mod credentials;
mod known_primary;
mod location;
mod parse;
mod redis_address;
mod sentinels;
#[cfg(test)]
mod tests;

pub(super) use credentials::Credentials;
pub(super) use known_primary::{Asking, KnownPrimary, NamedPrimary, SentinelFault};
pub(super) use location::Location;
pub use redis_address::RedisAddress;
pub(super) use sentinels::Sentinels;
