//! The room against a real server on loopback.

mod advising;
mod answering;
mod asking;
mod hooking;
mod server;
mod signing;

use super::{Settings, SigningKey};

/// The secret of the worked example in docs/backend.md.
const SECRET: &[u8] = b"an example secret of 32 bytes or more";

/// Settings for a back end at `url`.
fn settings(url: &str) -> Settings {
    let key = SigningKey { id: "1".to_owned(), secret: SECRET.to_vec() };
    Settings { url: url.to_owned(), keys: vec![key], ..Settings::default() }
}
