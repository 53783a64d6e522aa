//! Where a Redis is, and how to log in to it.

mod credentials;
mod location;
mod parse;
mod redis_address;
#[cfg(test)]
mod tests;

pub(super) use credentials::Credentials;
pub(super) use location::Location;
pub use redis_address::RedisAddress;
