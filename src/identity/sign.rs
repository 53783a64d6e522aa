//! Signs tokens, for `groupcast token` and `groupcast dev`.

use jsonwebtoken::Header;
use serde::Serialize;

use super::keys::{install_provider, parse_algorithm, signing_key};
use super::{IdentityError, KeySettings};

/// A token of `claims`, signed with the HMAC secret or private key in `key`, with the key's id as
/// its `kid` unless that is empty.
///
/// The claims are signed unchanged; whether a gateway accepts them is up to its
/// [`super::Verifier`].
pub fn sign(key: &KeySettings, claims: &impl Serialize) -> Result<String, IdentityError> {
    install_provider();
    let (_, algorithm) = parse_algorithm(key)?;
    let encoding = signing_key(key, algorithm)?;
    let mut header = Header::new(algorithm);
    header.kid = Some(key.id.clone()).filter(|id| !id.is_empty());
    jsonwebtoken::encode(&header, claims, &encoding)
        .map_err(|error| IdentityError::Sign { key: key.id.clone(), reason: error.to_string() })
}
