//! Keys and their algorithms, checked once, so that a wrong key is an error at startup and not with
//! every token.

use std::collections::HashSet;

use aws_lc_rs::signature as crypto;
use jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER;
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey, EncodingKey, Validation};

use super::limits::{ALGORITHMS, MIN_SECRET_LEN};
use super::{IdentityError, KeySettings, Settings};

/// Bytes of the smallest RSA modulus that is verified (2048 bits); a key's DER is longer.
const MIN_RSA_LEN: usize = 256;

/// A key that verifies tokens.
pub(super) struct TokenKey {
    pub(super) id: String,
    /// As in a token's header.
    pub(super) algorithm: &'static str,
    pub(super) decoding: DecodingKey,
    pub(super) validation: Validation,
}

impl TokenKey {
    /// Parses a verification key; `settings` has the claims that tokens must have.
    pub(super) fn new(key: &KeySettings, settings: &Settings) -> Result<Self, IdentityError> {
        install_provider();
        let (name, algorithm) = parse_algorithm(key)?;
        let decoding = match algorithm.family() {
            AlgorithmFamily::Hmac => {
                check_secret(key)?;
                DecodingKey::from_secret(&key.material)
            }
            _ => public_key(key, algorithm)?,
        };
        let validation = validation(algorithm, settings);
        Ok(Self { id: key.id.clone(), algorithm: name, decoding, validation })
    }
}

/// The checks of jsonwebtoken: algorithm, `aud` and `iss`. Times are checked here, against the
/// caller's clock instead of the system's, and `sub` and `exp` more strictly.
fn validation(algorithm: Algorithm, settings: &Settings) -> Validation {
    let mut validation = Validation::new(algorithm);
    validation.validate_exp = false;
    validation.validate_nbf = false;
    // A claim that is compared but not required passes if it is absent.
    let mut required = HashSet::new();
    if !settings.audience.is_empty() {
        validation.set_audience(&settings.audience);
        required.insert("aud".to_owned());
    }
    if !settings.issuer.is_empty() {
        validation.set_issuer(&settings.issuer);
        required.insert("iss".to_owned());
    }
    validation.required_spec_claims = required;
    validation
}

/// Installs the cryptography provider of the process. jsonwebtoken would otherwise infer it from
/// its features, and panic at the first token if another crate's features made that ambiguous.
pub(super) fn install_provider() {
    // An error means that an earlier verifier has installed it.
    let _ = DEFAULT_PROVIDER.install_default();
}

/// The key's algorithm and its name.
pub(super) fn parse_algorithm(
    key: &KeySettings,
) -> Result<(&'static str, Algorithm), IdentityError> {
    let unknown = || IdentityError::UnknownAlgorithm {
        key: key.id.clone(),
        algorithm: key.algorithm.clone(),
    };
    let name = ALGORITHMS.into_iter().find(|name| *name == key.algorithm).ok_or_else(unknown)?;
    Ok((name, name.parse().map_err(|_| unknown())?))
}

/// Parses a signing key.
pub(super) fn signing_key(
    key: &KeySettings,
    algorithm: Algorithm,
) -> Result<EncodingKey, IdentityError> {
    let material = &key.material;
    let (encoding, expected) = match algorithm.family() {
        AlgorithmFamily::Hmac => {
            check_secret(key)?;
            return Ok(EncodingKey::from_secret(material));
        }
        AlgorithmFamily::Rsa => (EncodingKey::from_rsa_pem(material), "private RSA key in PEM"),
        AlgorithmFamily::Ec => {
            (EncodingKey::from_ec_pem(material), "private EC key in PKCS #8 PEM")
        }
        AlgorithmFamily::Ed => {
            (EncodingKey::from_ed_pem(material), "private Ed25519 key in PKCS #8 PEM")
        }
    };
    encoding.map_err(|_| bad_key(key, expected))
}

fn check_secret(key: &KeySettings) -> Result<(), IdentityError> {
    if holds(&key.material, "-----BEGIN ") {
        let algorithm = key.algorithm.clone();
        return Err(IdentityError::PemAsSecret { key: key.id.clone(), algorithm });
    }
    match key.material.len() {
        len if len < MIN_SECRET_LEN => Err(IdentityError::ShortSecret { key: key.id.clone(), len }),
        _ => Ok(()),
    }
}

/// Parses a public key and checks its kind, curve and size, which jsonwebtoken would report with
/// every token, as a bad signature.
fn public_key(key: &KeySettings, algorithm: Algorithm) -> Result<DecodingKey, IdentityError> {
    if holds(&key.material, "PRIVATE KEY-----") {
        return Err(IdentityError::PrivateKey(key.id.clone()));
    }
    let material = &key.material;
    let (decoding, parameters, expected): (_, &'static dyn crypto::VerificationAlgorithm, _) =
        match algorithm {
            Algorithm::ES256 => (
                DecodingKey::from_ec_pem(material),
                &crypto::ECDSA_P256_SHA256_FIXED,
                "public P-256 key in PEM",
            ),
            Algorithm::ES384 => (
                DecodingKey::from_ec_pem(material),
                &crypto::ECDSA_P384_SHA384_FIXED,
                "public P-384 key in PEM",
            ),
            Algorithm::EdDSA => {
                (DecodingKey::from_ed_pem(material), &crypto::ED25519, "public Ed25519 key in PEM")
            }
            _ => (
                DecodingKey::from_rsa_pem(material),
                &crypto::RSA_PKCS1_2048_8192_SHA256,
                "public RSA key in PEM of at least 2048 bits",
            ),
        };
    let decoding = decoding.map_err(|_| bad_key(key, expected))?;
    let der = decoding.try_get_as_bytes().map_err(|_| bad_key(key, expected))?;
    let too_small = algorithm.family() == AlgorithmFamily::Rsa && der.len() < MIN_RSA_LEN;
    if too_small || crypto::ParsedPublicKey::new(parameters, der).is_err() {
        return Err(bad_key(key, expected));
    }
    Ok(decoding)
}

fn bad_key(key: &KeySettings, expected: &'static str) -> IdentityError {
    IdentityError::BadKey { key: key.id.clone(), algorithm: key.algorithm.clone(), expected }
}

fn holds(material: &[u8], text: &str) -> bool {
    material.windows(text.len()).any(|window| window == text.as_bytes())
}
