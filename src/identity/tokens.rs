//! Tokens in, identities out.

use std::borrow::Cow;
use std::fmt;

use data_encoding::BASE64URL_NOPAD;
use jsonwebtoken::errors::ErrorKind;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::claims::ClaimReader;
use super::keys::Key;
use super::{Identity, IdentityError, MAX_LEEWAY, Refusal, Settings, Vouched, excerpt, sign};

/// Longest token, bytes. It bounds what an unauthenticated client can make the gateway decode; an
/// access token of 8 KiB would not fit into the headers of most servers either.
pub const MAX_TOKEN_LEN: usize = 8 * 1024;

/// Verifies tokens with the configured keys.
pub struct Verifier {
    keys: Vec<Key>,
    claims: ClaimReader,
    /// Seconds.
    leeway: u64,
}

/// The members of a token's header that are looked at. `jku`, `jwk`, `x5c` and the like name keys
/// of the sender's own choice and are ignored.
#[derive(Deserialize)]
struct Header<'a> {
    #[serde(borrow)]
    alg: Cow<'a, str>,
    #[serde(borrow, default)]
    kid: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    crit: Option<&'a RawValue>,
}

impl Verifier {
    /// Checks the keys, then tries each with a token of its own making.
    pub fn new(settings: &Settings) -> Result<Self, IdentityError> {
        if settings.leeway > MAX_LEEWAY {
            return Err(IdentityError::Leeway(settings.leeway));
        }
        let mut keys: Vec<Key> = Vec::with_capacity(settings.keys.len());
        for key in &settings.keys {
            if keys.iter().any(|other| other.id == key.id) {
                return Err(IdentityError::DuplicateKey(key.id.clone()));
            }
            keys.push(Key::new(key, settings)?);
        }
        let leeway = settings.leeway.as_secs();
        let verifier = Self { keys, claims: ClaimReader::new(settings)?, leeway };
        verifier.check_keys(settings)?;
        Ok(verifier)
    }

    /// Whose token it is, at `now` seconds since 1970.
    ///
    /// Nothing is computed with a key before the header's `kid` and `alg` have been found to be
    /// that key's own: the header chooses among the configured pairs and cannot make another.
    pub fn verify(&self, token: &str, now: u64) -> Result<Identity, Refusal> {
        if token.len() > MAX_TOKEN_LEN {
            return Err(Refusal::TooLarge(token.len()));
        }
        let key = self.key_for(token)?;
        let claims = jsonwebtoken::decode::<Box<RawValue>>(token, &key.decoding, &key.validation);
        let claims = claims.map_err(|error| refusal(key, error.into_kind()))?.claims;
        self.claims.identity(self.claims.read(claims.get())?, now, self.leeway)
    }

    /// The identity of somebody whom the back end itself vouches for.
    ///
    /// The same rules hold for `sub`, groups and grants as in a token; the configured leeway is not
    /// added, since no other clock is concerned.
    pub fn vouched(&self, vouched: Vouched<'_>) -> Result<Identity, Refusal> {
        self.claims.vouched(vouched)
    }

    fn key_for(&self, token: &str) -> Result<&Key, Refusal> {
        let mut segments = token.split('.');
        let (Some(header), Some(_), Some(_), None) =
            (segments.next(), segments.next(), segments.next(), segments.next())
        else {
            return Err(Refusal::malformed("not three parts with dots between them"));
        };
        let header = BASE64URL_NOPAD
            .decode(header.as_bytes())
            .map_err(|_| Refusal::malformed("the header is not base64url"))?;
        let header: Header<'_> = serde_json::from_slice(&header)
            .map_err(|_| Refusal::malformed("the header is no object with alg, and kid as text"))?;
        if header.crit.is_some() {
            // RFC 7515, 4.1.11: whoever does not know an extension that is marked so must refuse.
            return Err(Refusal::malformed("the header's crit asks for extensions"));
        }
        let key = self.key_with_id(header.kid.as_deref())?;
        if header.alg != key.algorithm {
            return Err(Refusal::WrongAlgorithm {
                key: key.id.clone(),
                found: excerpt(&header.alg),
                expected: key.algorithm,
            });
        }
        Ok(key)
    }

    fn key_with_id(&self, kid: Option<&str>) -> Result<&Key, Refusal> {
        let found = match (kid, self.keys.as_slice()) {
            (None, [only]) => Some(only),
            (kid, keys) => keys.iter().find(|key| key.id == kid.unwrap_or_default()),
        };
        found.ok_or_else(|| Refusal::UnknownKey(kid.map(excerpt)))
    }

    /// Holds every key against a token whose answer is known.
    ///
    /// With a secret both answers can be tried; with a public key only the refusal of a signature
    /// that is not its own. A provider that is missing shows here and not at the first visitor.
    fn check_keys(&self, settings: &Settings) -> Result<(), IdentityError> {
        let mut claims = serde_json::json!({ "sub": "self-check", "exp": 60 });
        for (claim, configured) in [("aud", &settings.audience), ("iss", &settings.issuer)] {
            if let Some(value) = configured.first() {
                claims[claim] = value.as_str().into();
            }
        }
        for key in &settings.keys {
            let good = key.algorithm.starts_with("HS").then(|| sign(key, &claims)).transpose()?;
            let failed = |found: String| IdentityError::SelfCheck { key: key.id.clone(), found };
            if let Some(Err(refusal)) = good.map(|token| self.verify(&token, 0)) {
                return Err(failed(refusal.to_string()));
            }
            let header = serde_json::json!({ "alg": key.algorithm, "kid": key.id });
            let part =
                |json: &serde_json::Value| BASE64URL_NOPAD.encode(json.to_string().as_bytes());
            let forged = [part(&header), part(&claims), BASE64URL_NOPAD.encode(&[1; 64])].join(".");
            match self.verify(&forged, 0) {
                Err(Refusal::BadSignature { .. }) => {}
                Err(refusal) => return Err(failed(refusal.to_string())),
                Ok(_) => return Err(failed("acceptance of a forged signature".to_owned())),
            }
        }
        Ok(())
    }
}

fn refusal(key: &Key, error: ErrorKind) -> Refusal {
    match error {
        ErrorKind::InvalidSignature => Refusal::BadSignature { key: key.id.clone() },
        ErrorKind::InvalidAudience => Refusal::WrongAudience,
        ErrorKind::InvalidIssuer => Refusal::WrongIssuer,
        ErrorKind::MissingRequiredClaim(claim) => Refusal::MissingClaim(claim.into()),
        _ => Refusal::malformed("not a signed JSON object"),
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys: Vec<_> = self.keys.iter().map(|key| (&key.id, key.algorithm)).collect();
        f.debug_struct("Verifier")
            .field("keys", &keys)
            .field("claims", &self.claims)
            .field("leeway", &self.leeway)
            .finish()
    }
}
