//! The front door: listeners, handshakes, the API. The only room that knows axum and hyper.

pub mod api;
pub mod problem;
mod settings;

pub use settings::{DevSettings, Route, Settings};
