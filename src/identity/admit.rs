//! Builds an identity from a token's claims or from the connect hook's answer.
//!
//! A claim of the wrong form refuses the whole token: missing half of a user's rights would be
//! harder to notice than missing all. `null` counts as absent.

use std::sync::Arc;

use serde_json::{Map, Value};

use crate::excerpt::excerpt;
use crate::group::{GroupName, GroupPattern};

use super::claims::{ClaimReader, Claims};
use super::limits::EXCERPT;
use super::sub::check_sub;
use super::{BackendClaims, Identity, IdentityDetails, NEVER, Operation, TokenError};

/// The longest claims of a hook's answer, in bytes of JSON, since they are stored with the
/// connection.
pub const MAX_HOOK_CLAIMS_LEN: usize = 1024;

/// Longest name of a session, bytes. Django's session keys have 32; a session stored in the cookie
/// should be named by a digest.
pub const MAX_SESSION_LEN: usize = 128;

/// The last second of the year 9999. Later times are milliseconds mistaken for seconds, with which
/// a token would never expire.
const LAST_SECOND: u64 = 253_402_300_799;

/// The answer of the connect hook, which replaces a token.
#[derive(Debug, Clone, Copy)]
pub struct HookClaims<'a> {
    /// The user; the rules of a token's `sub` apply.
    pub sub: &'a str,
    /// When it expires, seconds since 1970, not beyond the year 9999; `None` = never.
    pub expires_at: Option<u64>,
    /// Groups that the server joins.
    pub groups: &'a [String],
    /// Values for templates, grants under the configured name, and data that the back end wants
    /// with each call: at most [`MAX_HOOK_CLAIMS_LEN`] bytes of JSON.
    pub claims: &'a Map<String, Value>,
    /// The back end's name for the session, opaque here: at most [`MAX_SESSION_LEN`] bytes.
    pub session: Option<&'a str>,
}

impl ClaimReader {
    /// Builds an identity from a token's claims.
    pub(super) fn identity(
        &self,
        claims: Claims,
        now: u64,
        leeway: u64,
    ) -> Result<Identity, TokenError> {
        // jsonwebtoken would accept an array, which RFC 7519, 4.1.1, does not allow.
        if !matches!(present(claims.iss), None | Some(Value::String(_))) {
            return Err(TokenError::malformed("iss is not a string"));
        }
        let exp = present(claims.exp).ok_or(TokenError::MissingClaim("exp".into()))?;
        let exp = seconds(&exp, "exp")?;
        let expires_at = exp + leeway;
        if now >= expires_at {
            return Err(TokenError::Expired { exp, ago: now - exp });
        }
        if let Some(nbf) = present(claims.nbf) {
            let nbf = seconds(&nbf, "nbf")?;
            if nbf > now.saturating_add(leeway) {
                return Err(TokenError::NotYet { nbf, ahead: nbf - now });
            }
        }
        let sub = match present(claims.sub) {
            Some(Value::String(sub)) => sub,
            Some(_) => return Err(TokenError::malformed("sub is not a string")),
            None => return Err(TokenError::MissingClaim("sub".into())),
        };
        let groups = present(claims.groups).map_or(Ok(Vec::new()), |groups| {
            let found = strings(&groups, false).and_then(|names| names.map(group).collect());
            found.map_err(|problem| malformed(&self.groups, problem))
        })?;
        let grants = self.grants(present(claims.grants).as_ref())?;
        identity(&sub, expires_at, groups, grants, claims.kept, None)
    }

    /// Builds an identity from the hook's answer.
    pub(super) fn hook_identity(&self, answer: HookClaims<'_>) -> Result<Identity, TokenError> {
        if answer.expires_at.is_some_and(|time| time > LAST_SECOND) {
            return Err(TokenError::malformed("expires_at lies beyond the year 9999"));
        }
        let backend = backend_claims(&answer)?;
        let groups = answer.groups.iter().map(|name| group(name)).collect::<Result<_, _>>();
        let groups = groups.map_err(|problem| malformed("groups", problem))?;
        let grants = answer.claims.get(&self.grants).filter(|_| !self.grants.is_empty());
        let grants = self.grants(grants.filter(|value| !value.is_null()))?;
        let claims = answer.claims.iter().filter(|(name, _)| self.kept.contains(*name));
        let kept = claims.map(|(name, value)| (name.as_str().into(), value.clone())).collect();
        let expires_at = answer.expires_at.unwrap_or(NEVER);
        identity(answer.sub, expires_at, groups, grants, kept, backend)
    }

    fn grants(&self, claim: Option<&Value>) -> Result<Vec<(Operation, GroupPattern)>, TokenError> {
        let mut grants = Vec::new();
        let Some(claim) = claim else { return Ok(grants) };
        let malformed = |problem| malformed(&self.grants, problem);
        let Value::Object(operations) = claim else {
            return Err(malformed("not an object of operations".to_owned()));
        };
        for (name, patterns) in operations {
            let operation: Operation = name.parse().map_err(|e| malformed(format!("{e}")))?;
            for pattern in strings(patterns, true).map_err(malformed)? {
                let illegal = |_| {
                    malformed(format!("{:?} is not a group pattern", excerpt(pattern, EXCERPT)))
                };
                grants.push((operation, GroupPattern::parse(pattern).map_err(illegal)?));
            }
        }
        Ok(grants)
    }
}

fn malformed(claim: &str, problem: String) -> TokenError {
    TokenError::malformed(format!("claim {claim:?}: {problem}"))
}

fn identity(
    sub: &str,
    expires_at: u64,
    groups: Vec<GroupName>,
    grants: Vec<(Operation, GroupPattern)>,
    kept: Vec<(Box<str>, Value)>,
    backend: Option<Box<BackendClaims>>,
) -> Result<Identity, TokenError> {
    check_sub(sub).map_err(|error| TokenError::malformed(error.to_string()))?;
    let claims: Box<[_]> =
        kept.into_iter().filter_map(|(name, value)| Some((name, as_text(value)?))).collect();
    let empty = groups.is_empty() && grants.is_empty() && claims.is_empty() && backend.is_none();
    let details = IdentityDetails { groups: groups.into(), grants: grants.into(), claims, backend };
    Ok(Identity { sub: Arc::from(sub), expires_at, details: (!empty).then(|| Arc::new(details)) })
}

/// The part of the answer that later calls need; `None` = nothing.
fn backend_claims(answer: &HookClaims<'_>) -> Result<Option<Box<BackendClaims>>, TokenError> {
    if answer.claims.is_empty() && answer.session.is_none() {
        return Ok(None);
    }
    let session = answer.session.unwrap_or_default();
    if session.len() > MAX_SESSION_LEN {
        let found = format!("session has {} bytes; {MAX_SESSION_LEN} are allowed", session.len());
        return Err(TokenError::malformed(found));
    }
    let claims = serde_json::value::to_raw_value(answer.claims);
    let claims = claims.map_err(|_| TokenError::malformed("claims cannot be serialized"))?;
    if claims.get().len() > MAX_HOOK_CLAIMS_LEN {
        let found =
            format!("claims have {} bytes; {MAX_HOOK_CLAIMS_LEN} are allowed", claims.get().len());
        return Err(TokenError::malformed(found));
    }
    Ok(Some(Box::new(BackendClaims { session: answer.session.map(Into::into), claims })))
}

/// A claim's value for a template. Only strings and whole numbers have a single textual form.
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

/// A NumericDate (RFC 7519, 2); fractions are cut off, so that nothing is valid longer than stated.
fn seconds(value: &Value, claim: &str) -> Result<u64, TokenError> {
    let whole = value.as_u64();
    let found =
        whole.or_else(|| value.as_f64().filter(|time| *time >= 0.0).map(|time| time as u64));
    match found {
        Some(time) if time <= LAST_SECOND => Ok(time),
        Some(_) => Err(TokenError::malformed(format!(
            "{claim} lies beyond the year 9999; it counts seconds, not milliseconds"
        ))),
        None => Err(TokenError::malformed(format!("{claim} is not a number of seconds"))),
    }
}

/// The strings of an array; of a single string too where `single` allows it.
fn strings(value: &Value, single: bool) -> Result<impl Iterator<Item = &str>, String> {
    let values = match value {
        Value::Array(values) => values.as_slice(),
        Value::String(_) if single => std::slice::from_ref(value),
        _ if single => return Err("neither a string nor an array of strings".to_owned()),
        _ => return Err("not an array of strings".to_owned()),
    };
    if !values.iter().all(Value::is_string) {
        return Err("holds values other than strings".to_owned());
    }
    Ok(values.iter().filter_map(Value::as_str))
}

fn group(name: &str) -> Result<GroupName, String> {
    GroupName::parse(name).map_err(|error| error.to_string())
}
