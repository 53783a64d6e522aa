//! Speaks somebody else's format: where events are drained from, and what they look like there.

pub mod codec;
