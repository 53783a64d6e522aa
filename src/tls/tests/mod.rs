//! Real certificates, made by OpenSSL, and real handshakes.

#[path = "../../../tests/support/authority.rs"]
pub(crate) mod authority;
mod faults;
mod handshakes;
