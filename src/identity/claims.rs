//! What is read from a token's claims, and how an identity is made of it.
//!
//! A claim that is read and has the wrong form refuses the whole token: half of somebody's rights
//! would be harder to notice than none. `null` counts as absent.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};
use serde_json::{Map, Value};

use crate::group::{GroupName, GroupPattern};

use super::{Carried, Identity, IdentityError, Operation, Refusal, Settings};

/// Longest `sub`, bytes. OpenID Connect Core, section 2, allows 255 ASCII characters.
const MAX_SUB_LEN: usize = 255;

/// The last second of the year 9999. Later times are milliseconds mistaken for seconds, which would
/// make a token live for ever.
const LAST_SECOND: u64 = 253_402_300_799;

/// Claims with a meaning of their own (RFC 7519, 4.1).
const RESERVED: [&str; 7] = ["sub", "exp", "nbf", "iat", "iss", "aud", "jti"];

/// Somebody that the back end vouches for, in place of a token: the answer of its connect hook.
#[derive(Debug, Clone, Copy)]
pub struct Vouched<'a> {
    /// Who it is; the same rules as for a token's `sub`.
    pub sub: &'a str,
    /// When to ask again, seconds since 1970.
    pub expires_at: u64,
    /// Groups that the server joins.
    pub groups: &'a [String],
    /// Values for templates, and the token's grants under the configured name.
    pub claims: &'a Map<String, Value>,
}

/// Knows which claims matter.
#[derive(Debug)]
pub(super) struct ClaimReader {
    groups: String,
    grants: String,
    kept: BTreeSet<String>,
}

/// The claims that matter, as they stand in the token.
#[derive(Debug, Default)]
pub(super) struct Claims {
    sub: Option<Value>,
    exp: Option<Value>,
    nbf: Option<Value>,
    iss: Option<Value>,
    groups: Option<Value>,
    grants: Option<Value>,
    kept: Vec<(Box<str>, Value)>,
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

    /// Reads the claims' JSON text; a claim that is read and stands there twice is an error.
    pub(super) fn read(&self, json: &str) -> Result<Claims, Refusal> {
        let mut deserializer = serde_json::Deserializer::from_str(json);
        let claims = self.deserialize(&mut deserializer);
        claims.map_err(|_| Refusal::malformed("claims are no object, or one stands there twice"))
    }

    /// Makes an identity of a token's claims.
    pub(super) fn identity(
        &self,
        claims: Claims,
        now: u64,
        leeway: u64,
    ) -> Result<Identity, Refusal> {
        // jsonwebtoken would take an array, which RFC 7519, 4.1.1, does not know.
        if !matches!(present(claims.iss), None | Some(Value::String(_))) {
            return Err(Refusal::malformed("iss is not a string"));
        }
        let exp = present(claims.exp).ok_or(Refusal::MissingClaim("exp".into()))?;
        let exp = seconds(&exp, "exp")?;
        let expires_at = exp + leeway;
        if now >= expires_at {
            return Err(Refusal::Expired { exp, ago: now - exp });
        }
        if let Some(nbf) = present(claims.nbf) {
            let nbf = seconds(&nbf, "nbf")?;
            if nbf > now.saturating_add(leeway) {
                return Err(Refusal::NotYet { nbf, ahead: nbf - now });
            }
        }
        let sub = match present(claims.sub) {
            Some(Value::String(sub)) => sub,
            Some(_) => return Err(Refusal::malformed("sub is not a string")),
            None => return Err(Refusal::MissingClaim("sub".into())),
        };
        let groups = present(claims.groups).map_or(Ok(Vec::new()), |groups| {
            let found = strings(&groups, false).and_then(|names| names.map(group).collect());
            found.map_err(|what| self.malformed(&self.groups, what))
        })?;
        let grants = self.grants(present(claims.grants).as_ref())?;
        identity(&sub, expires_at, groups, grants, claims.kept)
    }

    /// Makes an identity of the back end's word.
    pub(super) fn vouched(&self, vouched: Vouched<'_>) -> Result<Identity, Refusal> {
        let groups = vouched.groups.iter().map(|name| group(name)).collect::<Result<_, _>>();
        let groups = groups.map_err(|what| self.malformed("groups", what))?;
        let grants = vouched.claims.get(&self.grants).filter(|_| !self.grants.is_empty());
        let grants = self.grants(grants.filter(|value| !value.is_null()))?;
        let claims = vouched.claims.iter().filter(|(name, _)| self.kept.contains(*name));
        let kept = claims.map(|(name, value)| (name.as_str().into(), value.clone())).collect();
        identity(vouched.sub, vouched.expires_at, groups, grants, kept)
    }

    fn grants(&self, claim: Option<&Value>) -> Result<Vec<(Operation, GroupPattern)>, Refusal> {
        let mut grants = Vec::new();
        let Some(claim) = claim else { return Ok(grants) };
        let malformed = |what| self.malformed(&self.grants, what);
        let Value::Object(operations) = claim else {
            return Err(malformed("it is no object of operations".to_owned()));
        };
        for (word, patterns) in operations {
            let operation: Operation = word.parse().map_err(|e| malformed(format!("{e}")))?;
            for pattern in strings(patterns, true).map_err(malformed)? {
                let pattern = GroupPattern::parse(pattern).map_err(|e| malformed(e.to_string()))?;
                grants.push((operation, pattern));
            }
        }
        Ok(grants)
    }

    fn malformed(&self, claim: &str, what: String) -> Refusal {
        Refusal::malformed(format!("claim {claim:?}: {what}"))
    }
}

fn identity(
    sub: &str,
    expires_at: u64,
    groups: Vec<GroupName>,
    grants: Vec<(Operation, GroupPattern)>,
    kept: Vec<(Box<str>, Value)>,
) -> Result<Identity, Refusal> {
    if sub.is_empty() {
        return Err(Refusal::malformed("sub is empty"));
    }
    if sub.len() > MAX_SUB_LEN {
        let len = sub.len();
        return Err(Refusal::malformed(format!("sub has {len} bytes; at most 255 are allowed")));
    }
    if sub.chars().any(char::is_control) {
        return Err(Refusal::malformed("sub holds a control character"));
    }
    let claims: Box<[_]> =
        kept.into_iter().filter_map(|(name, value)| Some((name, as_text(value)?))).collect();
    let empty = groups.is_empty() && grants.is_empty() && claims.is_empty();
    let carried = Carried { groups: groups.into(), grants: grants.into(), claims };
    Ok(Identity { sub: Arc::from(sub), expires_at, carried: (!empty).then(|| Arc::new(carried)) })
}

/// A claim's value for a template. Only strings and whole numbers have one way to be written.
fn as_text(value: Value) -> Option<Box<str>> {
    match value {
        Value::String(text) => Some(text.into()),
        Value::Number(number) if number.is_u64() || number.is_i64() => {
            Some(number.to_string().into())
        }
        _ => None,
    }
}

fn present(claim: Option<Value>) -> Option<Value> {
    claim.filter(|value| !value.is_null())
}

/// A NumericDate (RFC 7519, 2); fractions are cut, so that nothing lives longer than it says.
fn seconds(value: &Value, claim: &str) -> Result<u64, Refusal> {
    let whole = value.as_u64();
    let found =
        whole.or_else(|| value.as_f64().filter(|time| *time >= 0.0).map(|time| time as u64));
    match found {
        Some(time) if time <= LAST_SECOND => Ok(time),
        Some(_) => Err(Refusal::malformed(format!(
            "{claim} lies beyond the year 9999; it counts seconds, not milliseconds"
        ))),
        None => Err(Refusal::malformed(format!("{claim} is not a number of seconds"))),
    }
}

/// The strings of an array; of a single string too where `single` allows it.
fn strings(value: &Value, single: bool) -> Result<impl Iterator<Item = &str>, String> {
    let values = match value {
        Value::Array(values) => values.as_slice(),
        Value::String(_) if single => std::slice::from_ref(value),
        _ if single => return Err("it holds neither a string nor an array of strings".to_owned()),
        _ => return Err("it is not an array of strings".to_owned()),
    };
    if !values.iter().all(Value::is_string) {
        return Err("it holds something else than strings".to_owned());
    }
    Ok(values.iter().filter_map(Value::as_str))
}

fn group(name: &str) -> Result<GroupName, String> {
    GroupName::parse(name).map_err(|error| error.to_string())
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
                        return Err(M::Error::custom("a claim stands there twice"));
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
                return Err(M::Error::custom("a claim stands there twice"));
            }
        }
        Ok(claims)
    }
}
