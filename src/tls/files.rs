//! Reads certificates and keys, and names the file of each fault.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use tokio_rustls::rustls::client::WebPkiServerVerifier;
use tokio_rustls::rustls::client::danger::ServerCertVerifier;
use tokio_rustls::rustls::pki_types::pem::{PemObject, SectionKind};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::{CertificateError, Error, RootCertStore};

use super::error::TlsError;
use super::provider::provider;
use super::settings::{ClientCertificate, TlsSettings};

/// What the files hold.
pub(super) struct Loaded {
    pub(super) verifier: Arc<WebPkiServerVerifier>,
    pub(super) certificate: Option<Arc<CertifiedKey>>,
}

type PemSection = (SectionKind, Vec<u8>);

/// Checks that the files can be used at this moment.
///
/// # Errors
/// The first fault.
pub(crate) fn check(settings: &TlsSettings) -> Result<(), TlsError> {
    load(settings).map(drop)
}

pub(super) fn load(settings: &TlsSettings) -> Result<Loaded, TlsError> {
    let verifier = match &settings.ca_file {
        Some(path) => trusting_file(path)?,
        None => trusting_system()?,
    };
    let certificate = settings.certificate.as_ref();
    let certificate = certificate.map(|files| certified_key(files, &verifier)).transpose()?;
    Ok(Loaded { verifier, certificate })
}

fn trusting_file(path: &Path) -> Result<Arc<WebPkiServerVerifier>, TlsError> {
    let certificates = certificates(path)?;
    let mut roots = RootCertStore::empty();
    for certificate in &certificates {
        let added = roots.add(certificate.clone());
        added.map_err(|source| TlsError::Unusable { path: path.to_owned(), source })?;
    }
    let verifier = verifier(roots);
    // An anchor's dates are never looked at later. Files keep old certificates beside new ones.
    let faults = certificates.iter().filter_map(|found| check_dates(&verifier, found).err());
    let mut faults: Vec<_> = faults.collect();
    match faults.pop() {
        Some(source) if faults.len() + 1 == certificates.len() => {
            Err(TlsError::Unusable { path: path.to_owned(), source })
        }
        _ => Ok(verifier),
    }
}

fn trusting_system() -> Result<Arc<WebPkiServerVerifier>, TlsError> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    // Some machines have one that is too odd to be used, and it is not theirs that counts.
    let (added, _) = roots.add_parsable_certificates(found.certs);
    if added == 0 {
        let why = found.errors.first().map_or("none found".to_owned(), ToString::to_string);
        return Err(TlsError::NoRoots(why));
    }
    Ok(verifier(roots))
}

fn verifier(roots: RootCertStore) -> Arc<WebPkiServerVerifier> {
    let builder = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider());
    builder.build().expect("there are roots, and no revocation lists")
}

fn certified_key(
    files: &ClientCertificate,
    verifier: &WebPkiServerVerifier,
) -> Result<Arc<CertifiedKey>, TlsError> {
    let chain = certificates(&files.certificate_file)?;
    let key = private_key(&files.key_file)?;
    let at_certificate =
        |source| TlsError::Unusable { path: files.certificate_file.clone(), source };
    check_dates(verifier, &chain[0]).map_err(at_certificate)?;
    let certified = CertifiedKey::from_der(chain, key, &provider());
    certified.map(Arc::new).map_err(|source| match source {
        Error::InconsistentKeys(_) => TlsError::Mismatch {
            key: files.key_file.clone(),
            certificate: files.certificate_file.clone(),
        },
        Error::InvalidCertificate(_) => at_certificate(source),
        source => TlsError::Unusable { path: files.key_file.clone(), source },
    })
}

/// All certificates of a file; at least one.
fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let sections = sections(path, "a certificate")?;
    let certificates: Vec<_> = sections
        .iter()
        .filter(|(kind, _)| *kind == SectionKind::Certificate)
        .map(|(_, der)| CertificateDer::from(der.clone()))
        .collect();
    match certificates.is_empty() {
        true => Err(wrong_kind(path, &sections, "a certificate")),
        false => Ok(certificates),
    }
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let sections = sections(path, "a private key")?;
    let mut keys = sections.iter().filter_map(|(kind, der)| {
        let kind = *kind;
        <PrivateKeyDer<'_> as PemObject>::from_pem(kind, der.clone())
    });
    keys.next().ok_or_else(|| wrong_kind(path, &sections, "a private key"))
}

/// All sections of a PEM file.
fn sections(path: &Path, expected: &'static str) -> Result<Vec<PemSection>, TlsError> {
    let wrong = |found| TlsError::Contents { path: path.to_owned(), found, expected };
    let bytes =
        fs::read(path).map_err(|source| TlsError::Read { path: path.to_owned(), source })?;
    if bytes.trim_ascii().is_empty() {
        return Err(wrong("is empty"));
    }
    let has = |text: &str| bytes.windows(text.len()).any(|found| found == text.as_bytes());
    // The library skips the first kind and fails at the second.
    if has("ENCRYPTED PRIVATE KEY") || has("Proc-Type: 4,ENCRYPTED") {
        return Err(wrong("has a key that is encrypted"));
    }
    if !has("-----BEGIN ") {
        return Err(wrong("is not PEM"));
    }
    let sections: Result<Vec<_>, _> = <PemSection as PemObject>::pem_slice_iter(&bytes).collect();
    sections.map_err(|_| wrong("is damaged"))
}

fn wrong_kind(path: &Path, sections: &[PemSection], expected: &'static str) -> TlsError {
    let found = match sections.first() {
        Some((SectionKind::Certificate, _)) => "has a certificate only",
        Some((
            SectionKind::PrivateKey | SectionKind::RsaPrivateKey | SectionKind::EcPrivateKey,
            _,
        )) => "has a private key only",
        Some((SectionKind::PublicKey, _)) => "has a public key only",
        _ => "has neither certificate nor key",
    };
    TlsError::Contents { path: path.to_owned(), found, expected }
}

/// Whether a certificate is valid today. The library looks at the dates before it looks for the
/// issuer and the name, for which this is no check.
fn check_dates(
    verifier: &WebPkiServerVerifier,
    certificate: &CertificateDer<'_>,
) -> Result<(), Error> {
    let name = ServerName::try_from("localhost").expect("a legal name");
    match verifier.verify_server_cert(certificate, &[], &name, &[], UnixTime::now()) {
        Err(
            error @ Error::InvalidCertificate(
                CertificateError::Expired
                | CertificateError::ExpiredContext { .. }
                | CertificateError::NotValidYet
                | CertificateError::NotValidYetContext { .. }
                | CertificateError::BadEncoding,
            ),
        ) => Err(error),
        _ => Ok(()),
    }
}
