//! The entry point of all events of the API and of browsers: checks and publishes.

mod batch;
mod context;
mod dedupe_key;
mod outcome;
mod publisher;
mod request;
mod settings;
#[cfg(test)]
mod tests;

pub(crate) use dedupe_key::{DedupeKey, KeyError, Scope};
pub(crate) use outcome::{PublishError, Receipt};
pub(crate) use publisher::Publisher;
pub(crate) use request::PublishRequest;
pub(crate) use settings::Settings;
