//! Reads the used claims of a token, unchecked.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};
use serde_json::Value;

use super::{IdentityError, Settings, TokenError};

/// Registered claims (RFC 7519, 4.1).
const RESERVED: [&str; 7] = ["sub", "exp", "nbf", "iat", "iss", "aud", "jti"];

/// The names of the used claims.
#[derive(Debug)]
pub(super) struct ClaimReader {
    /// Name of the claim with groups; empty = none.
    pub(super) groups: String,
    /// Name of the claim with grants; empty = none.
    pub(super) grants: String,
    /// Names that templates use.
    pub(super) kept: BTreeSet<String>,
}

/// The used claims, of any type.
#[derive(Debug, Default)]
pub(super) struct Claims {
    pub(super) sub: Option<Value>,
    pub(super) exp: Option<Value>,
    pub(super) nbf: Option<Value>,
    pub(super) iss: Option<Value>,
    pub(super) groups: Option<Value>,
    pub(super) grants: Option<Value>,
    pub(super) kept: Vec<(Box<str>, Value)>,
}

impl ClaimReader {
    pub(super) fn new(settings: &Settings) -> Result<Self, IdentityError> {
        let (groups, grants) = (settings.groups_claim.clone(), settings.grants_claim.clone());
        for claim in [&groups, &grants] {
            if RESERVED.contains(&claim.as_str()) {
                return Err(IdentityError::ReservedClaim(claim.clone()));
            }
        }
        if groups == grants && !groups.is_empty() {
            return Err(IdentityError::ReservedClaim(groups));
        }
        let templates = settings.grants.iter().flat_map(|rule| &rule.names);
        let named = templates.flat_map(|template| template.names()).map(str::to_owned);
        let mut kept: BTreeSet<_> = named.chain(settings.claims.iter().cloned()).collect();
        kept.remove("sub");
        Ok(Self { groups, grants, kept })
    }

    /// Reads the claims' JSON text; a repeated claim is an error.
    pub(super) fn read(&self, json: &str) -> Result<Claims, TokenError> {
        let mut deserializer = serde_json::Deserializer::from_str(json);
        let claims = self.deserialize(&mut deserializer);
        claims.map_err(|_| TokenError::malformed("claims are not an object, or one is repeated"))
    }
}

/// A key of the claims' object, borrowed where it holds no escapes.
#[derive(Deserialize)]
struct ClaimName<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de> DeserializeSeed<'de> for &ClaimReader {
    type Value = Claims;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Claims, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for &ClaimReader {
    type Value = Claims;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of claims")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Claims, M::Error> {
        let mut claims = Claims::default();
        while let Some(ClaimName(name)) = map.next_key()? {
            let slot = match &*name {
                "sub" => &mut claims.sub,
                "exp" => &mut claims.exp,
                "nbf" => &mut claims.nbf,
                "iss" => &mut claims.iss,
                name if !name.is_empty() && name == self.groups => &mut claims.groups,
                name if !name.is_empty() && name == self.grants => &mut claims.grants,
                name if self.kept.contains(name) => {
                    if claims.kept.iter().any(|(known, _)| **known == *name) {
                        return Err(M::Error::custom("repeated claim"));
                    }
                    claims.kept.push((name.into(), map.next_value()?));
                    continue;
                }
                _ => {
                    map.next_value::<IgnoredAny>()?;
                    continue;
                }
            };
            if slot.replace(map.next_value()?).is_some() {
                return Err(M::Error::custom("repeated claim"));
            }
        }
        Ok(claims)
    }
}
