//! Groupcast: a real-time WebSocket channel-layer gateway.

pub mod config;
pub mod connection;
pub mod event;
pub mod frame;
pub mod group;
pub mod hub;
pub mod identity;
pub mod layer;
pub mod protocol;
pub mod publish;
pub mod relay;
pub mod server;
pub mod shutdown;
pub mod telemetry;
