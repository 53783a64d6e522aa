//! How a token's claims, or the back end's word, become an identity.
//!
//! A claim that is read and has the wrong form refuses the whole token: half of somebody's rights
//! would be harder to notice than none. `null` counts as absent.

use std::sync::Arc;

use serde_json::{Map, Value};

use crate::group::{GroupName, GroupPattern};

use super::claims::{ClaimReader, Claims};
use super::{Carried, Identity, NEVER, Operation, Refusal, Word, excerpt};

/// Longest `sub`, bytes. OpenID Connect Core, section 2, allows 255 ASCII characters.
pub const MAX_SUB_LEN: usize = 255;

/// Longest claims of a back end's word, bytes of JSON: they are kept as long as the connection.
pub const MAX_TOLD: usize = 1024;

/// Longest name of a session, bytes. Django's session keys have 32; the name of one that is kept in
/// the cookie whole should be a digest of it.
pub const MAX_SESSION_LEN: usize = 128;

/// The last second of the year 9999. Later times are milliseconds mistaken for seconds, which would
/// make a token live for ever.
const LAST_SECOND: u64 = 253_402_300_799;

/// Somebody that the back end vouches for, in place of a token: the answer of its connect hook.
#[derive(Debug, Clone, Copy)]
pub struct Vouched<'a> {
    /// Who it is; the same rules as for a token's `sub`.
    pub sub: &'a str,
    /// When the word runs out, seconds since 1970, not beyond the year 9999; `None` = never by itself.
    pub expires_at: Option<u64>,
    /// Groups that the server joins.
    pub groups: &'a [String],
    /// Values for templates, the grants under the configured name, and whatever the back end wants
    /// to be told again with each call: at most [`MAX_TOLD`] bytes of JSON.
    pub claims: &'a Map<String, Value>,
    /// The back end's name for the session, opaque here: at most [`MAX_SESSION_LEN`] bytes.
    pub session: Option<&'a str>,
}

impl ClaimReader {
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
            found.map_err(|what| malformed(&self.groups, what))
        })?;
        let grants = self.grants(present(claims.grants).as_ref())?;
        identity(&sub, expires_at, groups, grants, claims.kept, None)
    }

    /// Makes an identity of the back end's word.
    pub(super) fn vouched(&self, vouched: Vouched<'_>) -> Result<Identity, Refusal> {
        if vouched.expires_at.is_some_and(|time| time > LAST_SECOND) {
            return Err(Refusal::malformed("expires_at lies beyond the year 9999"));
        }
        let word = word(&vouched)?;
        let groups = vouched.groups.iter().map(|name| group(name)).collect::<Result<_, _>>();
        let groups = groups.map_err(|what| malformed("groups", what))?;
        let grants = vouched.claims.get(&self.grants).filter(|_| !self.grants.is_empty());
        let grants = self.grants(grants.filter(|value| !value.is_null()))?;
        let claims = vouched.claims.iter().filter(|(name, _)| self.kept.contains(*name));
        let kept = claims.map(|(name, value)| (name.as_str().into(), value.clone())).collect();
        let expires_at = vouched.expires_at.unwrap_or(NEVER);
        identity(vouched.sub, expires_at, groups, grants, kept, word)
    }

    fn grants(&self, claim: Option<&Value>) -> Result<Vec<(Operation, GroupPattern)>, Refusal> {
        let mut grants = Vec::new();
        let Some(claim) = claim else { return Ok(grants) };
        let malformed = |what| malformed(&self.grants, what);
        let Value::Object(operations) = claim else {
            return Err(malformed("it is no object of operations".to_owned()));
        };
        for (word, patterns) in operations {
            let operation: Operation = word.parse().map_err(|e| malformed(format!("{e}")))?;
            for pattern in strings(patterns, true).map_err(malformed)? {
                let illegal = |_| malformed(format!("{:?} is no group pattern", excerpt(pattern)));
                grants.push((operation, GroupPattern::parse(pattern).map_err(illegal)?));
            }
        }
        Ok(grants)
    }
}

fn malformed(claim: &str, what: String) -> Refusal {
    Refusal::malformed(format!("claim {claim:?}: {what}"))
}

fn identity(
    sub: &str,
    expires_at: u64,
    groups: Vec<GroupName>,
    grants: Vec<(Operation, GroupPattern)>,
    kept: Vec<(Box<str>, Value)>,
    word: Option<Box<Word>>,
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
    let empty = groups.is_empty() && grants.is_empty() && claims.is_empty() && word.is_none();
    let carried = Carried { groups: groups.into(), grants: grants.into(), claims, word };
    Ok(Identity { sub: Arc::from(sub), expires_at, carried: (!empty).then(|| Arc::new(carried)) })
}

/// What is to be told to the back end again; `None` = nothing that has to be kept.
fn word(vouched: &Vouched<'_>) -> Result<Option<Box<Word>>, Refusal> {
    if vouched.claims.is_empty() && vouched.session.is_none() {
        return Ok(None);
    }
    let session = vouched.session.unwrap_or_default();
    if session.len() > MAX_SESSION_LEN {
        let found = format!("session has {} bytes; {MAX_SESSION_LEN} are allowed", session.len());
        return Err(Refusal::malformed(found));
    }
    let claims = serde_json::value::to_raw_value(vouched.claims);
    let claims = claims.map_err(|_| Refusal::malformed("claims cannot be written again"))?;
    if claims.get().len() > MAX_TOLD {
        let found = format!("claims have {} bytes; {MAX_TOLD} are allowed", claims.get().len());
        return Err(Refusal::malformed(found));
    }
    Ok(Some(Box::new(Word { session: vouched.session.map(Into::into), claims })))
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
