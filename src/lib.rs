//! Groupcast: a real-time WebSocket channel-layer gateway.

pub mod event;
pub mod frame;
pub mod group;
pub mod protocol;
