//! Verification of tokens.

use std::borrow::Cow;
use std::fmt;

use data_encoding::BASE64URL_NOPAD;
use jsonwebtoken::errors::ErrorKind;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::claims::ClaimReader;
use super::keys::TokenKey;
use super::limits::{EXCERPT, MAX_LEEWAY, MAX_TOKEN_LEN};
use super::{HookClaims, Identity, IdentityError, Settings, TokenError, check_sub, sign};
use crate::excerpt::excerpt;

/// Verifies tokens with the configured keys.
pub struct Verifier {
    keys: Vec<TokenKey>,
    claims: ClaimReader,
    /// Seconds.
    leeway: u64,
}

/// The used members of a token's header. `jku`, `jwk`, `x5c` and the like, which name keys chosen
/// by the sender, are ignored.
#[derive(Deserialize)]
struct TokenHeader<'a> {
    #[serde(borrow)]
    alg: Cow<'a, str>,
    #[serde(borrow, default)]
    kid: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    crit: Option<&'a RawValue>,
}

impl Verifier {
    /// Checks the keys, then tests each with a token.
    pub fn new(settings: &Settings) -> Result<Self, IdentityError> {
        if settings.leeway > MAX_LEEWAY {
            return Err(IdentityError::Leeway(settings.leeway));
        }
        let mut keys: Vec<TokenKey> = Vec::with_capacity(settings.keys.len());
        for key in &settings.keys {
            if keys.iter().any(|other| other.id == key.id) {
                return Err(IdentityError::DuplicateKey(key.id.clone()));
            }
            keys.push(TokenKey::new(key, settings)?);
        }
        let leeway = settings.leeway.as_secs();
        let verifier = Self { keys, claims: ClaimReader::new(settings)?, leeway };
        verifier.check_keys(settings)?;
        Ok(verifier)
    }

    /// The identity in a token, at `now` seconds since 1970.
    ///
    /// A key is used only if the header's `kid` and `alg` are that key's own: the header selects
    /// one of the configured pairs and cannot combine others.
    pub fn verify(&self, token: &str, now: u64) -> Result<Identity, TokenError> {
        if token.len() > MAX_TOKEN_LEN {
            return Err(TokenError::TooLarge(token.len()));
        }
        let key = self.key_for(token)?;
        let claims = jsonwebtoken::decode::<Box<RawValue>>(token, &key.decoding, &key.validation);
        let claims = claims.map_err(|error| token_error(key, error.into_kind()))?.claims;
        self.claims.identity(self.claims.read(claims.get())?, now, self.leeway)
    }

    /// The identity in an answer of the connect hook.
    ///
    /// `sub`, groups and grants follow the rules of a token; without leeway, since only one clock
    /// is involved.
    pub fn hook_identity(&self, claims: HookClaims<'_>) -> Result<Identity, TokenError> {
        self.claims.hook_identity(claims)
    }

    fn key_for(&self, token: &str) -> Result<&TokenKey, TokenError> {
        let mut segments = token.split('.');
        let (Some(header), Some(_), Some(_), None) =
            (segments.next(), segments.next(), segments.next(), segments.next())
        else {
            return Err(TokenError::malformed("not three parts separated by dots"));
        };
        let header = BASE64URL_NOPAD
            .decode(header.as_bytes())
            .map_err(|_| TokenError::malformed("the header is not base64url"))?;
        let header: TokenHeader<'_> = serde_json::from_slice(&header).map_err(|_| {
            TokenError::malformed("the header is not an object with alg and a string kid")
        })?;
        if header.crit.is_some() {
            // RFC 7515, 4.1.11: unknown extensions that are marked critical must be refused.
            return Err(TokenError::malformed("the header requires extensions (crit)"));
        }
        let key = self.key_with_id(header.kid.as_deref())?;
        if header.alg != key.algorithm {
            return Err(TokenError::WrongAlgorithm {
                key: key.id.clone(),
                found: excerpt(&header.alg, EXCERPT),
                expected: key.algorithm,
            });
        }
        Ok(key)
    }

    fn key_with_id(&self, kid: Option<&str>) -> Result<&TokenKey, TokenError> {
        let found = match (kid, self.keys.as_slice()) {
            (None, [only]) => Some(only),
            (kid, keys) => keys.iter().find(|key| key.id == kid.unwrap_or_default()),
        };
        found.ok_or_else(|| TokenError::UnknownKey(kid.map(|kid| excerpt(kid, EXCERPT))))
    }

    /// Tests every key with a token whose outcome is known.
    ///
    /// A secret is tested with a valid and a forged token, a public key only with a forged one. So
    /// a missing cryptography provider is detected at startup.
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
            if let Some(Err(error)) = good.map(|token| self.verify(&token, 0)) {
                return Err(failed(error.to_string()));
            }
            let header = serde_json::json!({ "alg": key.algorithm, "kid": key.id });
            let part =
                |json: &serde_json::Value| BASE64URL_NOPAD.encode(json.to_string().as_bytes());
            let forged = [part(&header), part(&claims), BASE64URL_NOPAD.encode(&[1; 64])].join(".");
            match self.verify(&forged, 0) {
                Err(TokenError::BadSignature { .. }) => {}
                Err(error) => return Err(failed(error.to_string())),
                Ok(_) => return Err(failed("acceptance of a forged signature".to_owned())),
            }
        }
        Ok(())
    }
}

fn token_error(key: &TokenKey, error: ErrorKind) -> TokenError {
    match error {
        ErrorKind::InvalidSignature => TokenError::BadSignature { key: key.id.clone() },
        ErrorKind::InvalidAudience => TokenError::WrongAudience,
        ErrorKind::InvalidIssuer => TokenError::WrongIssuer,
        ErrorKind::MissingRequiredClaim(claim) => TokenError::MissingClaim(claim.into()),
        _ => TokenError::malformed("not a signed JSON object"),
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

/// The `sub` in a token that need not be valid: a claim, good for telling operators whose token was
/// refused, and for nothing else.
pub fn claimed_sub(token: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Claim {
        sub: String,
    }
    let payload = token.split('.').nth(1).filter(|payload| payload.len() <= MAX_TOKEN_LEN)?;
    let json = BASE64URL_NOPAD.decode(payload.as_bytes()).ok()?;
    let claim: Claim = serde_json::from_slice(&json).ok()?;
    check_sub(&claim.sub).ok().map(|()| claim.sub)
}
