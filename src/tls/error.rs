//! Errors of the files of a TLS configuration.

use std::io;
use std::path::PathBuf;

use tokio_rustls::rustls;

/// Why a client configuration cannot be made. Each error names its file.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    /// A file cannot be read.
    #[error("{} cannot be read: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// A file has nothing of the kind that is wanted.
    #[error("{} {found}; {expected} is needed, in PEM", path.display())]
    Contents {
        /// The file.
        path: PathBuf,
        /// What it has instead.
        found: &'static str,
        /// What is wanted.
        expected: &'static str,
    },
    /// A file's contents cannot be used.
    #[error("{} cannot be used: {source}", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What the library says.
        source: rustls::Error,
    },
    /// The key is that of another certificate.
    #[error(
        "the key in {} does not match the certificate in {}",
        key.display(),
        certificate.display()
    )]
    Mismatch {
        /// The file of the key.
        key: PathBuf,
        /// The file of the certificate.
        certificate: PathBuf,
    },
    /// The system's store has no certificate.
    #[error("the system has no CA certificates ({0}): install ca-certificates or give a CA file")]
    NoRoots(String),
}
