//! Makes a connection with what the files hold at that moment.

use std::sync::Arc;

use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::sign::SingleCertAndKey;

use super::error::TlsError;
use super::files::{self, Loaded};
use super::provider::{builder, without_resumption};
use super::settings::TlsSettings;

/// What makes a connection with what the files hold now. It reads them: not for a thread that must
/// not wait.
///
/// # Errors
/// The first fault.
pub(crate) fn connector(settings: &TlsSettings) -> Result<TlsConnector, TlsError> {
    let Loaded { verifier, certificate } = files::load(settings)?;
    let builder = builder().with_webpki_verifier(verifier);
    let config = match certificate {
        Some(certificate) => {
            builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(certificate)))
        }
        None => builder.with_no_client_auth(),
    };
    Ok(TlsConnector::from(Arc::new(without_resumption(config))))
}
