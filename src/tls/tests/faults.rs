//! Each fault of a file, by the name of the file.

use std::fs;
use std::path::{Path, PathBuf};

use super::authority::{Authority, Certified};
use crate::tls::{self, ClientCertificate, TlsSettings};

fn trusting(ca_file: PathBuf) -> TlsSettings {
    TlsSettings { ca_file: Some(ca_file), ..TlsSettings::default() }
}

fn with_certificate(authority: &Authority, certificate: &Path, key: &Path) -> TlsSettings {
    let files =
        ClientCertificate { certificate_file: certificate.to_owned(), key_file: key.to_owned() };
    TlsSettings { certificate: Some(files), ..trusting(authority.certificate()) }
}

/// The error, which names `file`.
#[track_caller]
fn fault(settings: &TlsSettings, file: &Path) -> String {
    let error = tls::check(settings).expect_err("a fault").to_string();
    assert!(error.contains(file.to_str().unwrap()), "{error}");
    error
}

#[test]
fn accepts_certificates_and_keys_of_the_usual_kinds() {
    let authority = Authority::new();
    let Certified { certificate, key } = authority.certify("ana");
    tls::check(&with_certificate(&authority, &certificate, &key)).unwrap();
    for (name, form) in [("rsa", "-traditional"), ("ec", "-traditional")] {
        let other = authority.file(&format!("{name}.{form}"));
        let mut convert = std::process::Command::new("openssl");
        convert.args(["pkey", "-in", key.to_str().unwrap(), form, "-out"]).arg(&other);
        assert!(convert.status().unwrap().success());
        tls::check(&with_certificate(&authority, &certificate, &other)).unwrap();
    }
}

#[test]
fn names_a_file_of_authorities_that_cannot_be_used() {
    let authority = Authority::new();
    let key = authority.certify("ana").key;
    let missing = authority.file("missing.pem");
    assert!(fault(&trusting(missing.clone()), &missing).contains("cannot be read"));
    let file = authority.file("other.pem");
    for (text, expected) in [
        ("\n", "is empty"),
        ("0\u{82}\u{1}", "is not PEM"),
        ("-----BEGIN CERTIFICATE-----\nMIIB", "is damaged"),
        (&fs::read_to_string(&key).unwrap(), "has a private key only; a certificate is needed"),
        ("-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n", "cannot be used"),
    ] {
        fs::write(&file, text).unwrap();
        let error = fault(&trusting(file.clone()), &file);
        assert!(error.contains(expected), "{expected}: {error}");
    }
    let folder = authority.file("");
    assert!(fault(&trusting(folder.clone()), &folder).contains("cannot be read"));
}

#[test]
fn names_a_key_that_cannot_be_used() {
    let authority = Authority::new();
    let Certified { certificate, key } = authority.certify("ana");
    let other = authority.certify("eva").key;
    let error = fault(&with_certificate(&authority, &certificate, &other), &other);
    assert!(error.contains("does not match the certificate"), "{error}");
    let error = fault(&with_certificate(&authority, &certificate, &certificate), &certificate);
    assert!(error.contains("has a certificate only; a private key is needed"), "{error}");
    let encrypted = authority.file("encrypted.key");
    let mut encrypt = std::process::Command::new("openssl");
    encrypt.args(["pkcs8", "-topk8", "-passout", "pass:word", "-in"]).arg(&key);
    assert!(encrypt.arg("-out").arg(&encrypted).status().unwrap().success());
    let error = fault(&with_certificate(&authority, &certificate, &encrypted), &encrypted);
    assert!(error.contains("has a key that is encrypted"), "{error}");
}

#[test]
fn names_a_certificate_that_has_expired() {
    let authority = Authority::new();
    let Certified { certificate, key } = authority.certify_expired("ana");
    let error = fault(&with_certificate(&authority, &certificate, &key), &certificate);
    assert!(error.contains("expired"), "{error}");
}

#[test]
fn an_authority_that_has_expired_counts_unless_another_is_beside_it() {
    let authority = Authority::new();
    let expired = fs::read_to_string(authority.certify_expired("old").certificate).unwrap();
    let file = authority.file("authorities.pem");
    fs::write(&file, &expired).unwrap();
    assert!(fault(&trusting(file.clone()), &file).contains("expired"));
    let valid = fs::read_to_string(authority.certificate()).unwrap();
    fs::write(&file, expired + &valid).unwrap();
    tls::check(&trusting(file)).unwrap();
}
