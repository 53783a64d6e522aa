//! Client configurations of TLS, whose certificates are read from their files at each connection.
//!
//! A rotation of certificates then needs no restart. Without a CA file the roots are the system's,
//! which whoever runs the machine keeps up to date; roots compiled in would age with the binary.

mod connector;
mod error;
mod files;
mod followed;
mod provider;
mod settings;
#[cfg(test)]
pub(crate) mod tests;

pub(crate) use connector::connector;
pub(crate) use error::TlsError;
pub(crate) use files::check;
pub(crate) use followed::FollowedFiles;
pub(crate) use settings::{ClientCertificate, TlsSettings};

/// The name that a server's certificate must have.
pub(crate) use tokio_rustls::rustls::pki_types::ServerName;
