//! A client configuration for a library that keeps one: it follows its files all the same.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use tokio_rustls::rustls::client::{ResolvesClientCert, WebPkiServerVerifier};
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::{DigitallySignedStruct, Error, SignatureScheme};

use super::error::TlsError;
use super::files::{self, Loaded};
use super::provider::{builder, without_resumption};
use super::settings::TlsSettings;

/// The connector of one client, and what its next handshake uses.
#[derive(Clone)]
pub(crate) struct FollowedFiles {
    settings: TlsSettings,
    current: Arc<Current>,
    connector: TlsConnector,
}

struct Current {
    loaded: Mutex<Loaded>,
    /// The name that the certificate must have instead of the one that the client asked for.
    name: Mutex<Option<ServerName<'static>>>,
}

impl FollowedFiles {
    /// Reads the files for the first time. `has_name` = whether the client knows the server's name
    /// beforehand; if not, it is not sent.
    ///
    /// # Errors
    /// The first fault.
    pub(crate) fn new(settings: &TlsSettings, has_name: bool) -> Result<Self, TlsError> {
        let loaded = Mutex::new(files::load(settings)?);
        let current = Arc::new(Current { loaded, name: Mutex::default() });
        let verifier: Arc<dyn ServerCertVerifier> = Arc::clone(&current) as _;
        let builder = builder().dangerous().with_custom_certificate_verifier(verifier);
        let config = builder.with_client_cert_resolver(Arc::clone(&current) as _);
        let mut config = without_resumption(config);
        config.enable_sni = has_name;
        let connector = TlsConnector::from(Arc::new(config));
        Ok(Self { settings: settings.clone(), current, connector })
    }

    /// The connector, for ever the same.
    pub(crate) fn connector(&self) -> TlsConnector {
        self.connector.clone()
    }

    /// Reads the files again for the next handshake. It waits for the disk: not for a thread that
    /// must not.
    ///
    /// # Errors
    /// The first fault; what was read last stays.
    pub(crate) fn reload(&self) -> Result<(), TlsError> {
        let loaded = files::load(&self.settings)?;
        *self.current.loaded.lock() = loaded;
        Ok(())
    }

    /// The next server is called `name`, whatever the client asks for.
    pub(crate) fn expect(&self, name: ServerName<'static>) {
        *self.current.name.lock() = Some(name);
    }
}

impl Current {
    fn verifier(&self) -> Arc<WebPkiServerVerifier> {
        Arc::clone(&self.loaded.lock().verifier)
    }
}

impl ServerCertVerifier for Current {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        asked: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let name = self.name.lock().clone();
        let name = name.as_ref().unwrap_or(asked);
        self.verifier().verify_server_cert(certificate, between, name, ocsp, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier().verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier().verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier().supported_verify_schemes()
    }
}

impl ResolvesClientCert for Current {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.loaded.lock().certificate.clone()
    }

    fn has_certs(&self) -> bool {
        self.loaded.lock().certificate.is_some()
    }
}

impl std::fmt::Debug for Current {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Current").finish_non_exhaustive()
    }
}

impl std::fmt::Debug for FollowedFiles {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FollowedFiles").field("settings", &self.settings).finish_non_exhaustive()
    }
}
