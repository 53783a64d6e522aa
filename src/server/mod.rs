//! The front door: listeners, handshakes, the API. The only room that knows axum and hyper.

mod settings;

pub use settings::{DevSettings, Route, Settings};
