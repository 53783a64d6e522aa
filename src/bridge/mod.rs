//! Speaks somebody else's format: where events are drained from, and what they look like there.

pub mod codec;
mod settings;

pub use codec::{CodecSettings, Serializer};
pub use settings::{Channels, Receive, Settings};
