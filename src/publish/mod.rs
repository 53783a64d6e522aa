//! The entry point of all events of the API, browsers and sources: checks, deduplicates, publishes.

mod batch;
mod context;
mod dedupe_key;
mod keys;
mod outcome;
mod publisher;
mod request;
mod settings;
#[cfg(test)]
mod tests;

pub use dedupe_key::{DedupeKey, KeyError, Scope};
pub use outcome::{PublishError, Receipt};
pub use publisher::Publisher;
pub use request::PublishRequest;
pub use settings::Settings;
