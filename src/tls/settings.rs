//! Settings of a client's side of TLS.

use std::path::PathBuf;

/// Which servers are trusted, and how to introduce oneself to them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct TlsSettings {
    /// Certificates of the authorities that are trusted; `None` = the system's.
    pub(crate) ca_file: Option<PathBuf>,
    /// For servers that ask their clients for a certificate.
    pub(crate) certificate: Option<ClientCertificate>,
    /// The name that the server's certificate must have; `None` = the host of its address.
    pub(crate) server_name: Option<String>,
}

/// The files of a client's certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ClientCertificate {
    /// The certificate, then those between it and its authority.
    pub(crate) certificate_file: PathBuf,
    /// Its private key: PKCS #8, PKCS #1 or SEC 1, not encrypted.
    pub(crate) key_file: PathBuf,
}
