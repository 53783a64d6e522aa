//! Parses requests: path, query, headers and body, each refused with a problem.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::{FromRequestParts, Path};
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::request::Parts;
use bytes::Bytes;
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use super::Api;
use crate::event::{Except, Member};
use crate::excerpt::excerpt;
use crate::http::{Problem, ProblemKind};
use crate::identity::check_sub;
use crate::publish::{DedupeKey, Scope};

/// The longest expiry of a request. The group's own limit is usually much shorter; this only
/// rejects numbers that were meant as a point in time.
pub(super) const MAX_EXPIRY: Duration = Duration::from_secs(24 * 60 * 60);

/// The most names in one `except`, since each is compared with every receiver.
pub(super) const MAX_EXCEPT: usize = 100;

/// The header that makes a repetition safe (draft-ietf-httpapi-idempotency-key-header).
pub(super) const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// The path's parameters, decoded.
#[derive(Debug)]
pub(super) struct Params<T>(pub(super) T);

impl<T, S> FromRequestParts<S> for Params<T>
where
    T: DeserializeOwned + Send,
    S: Send + Sync,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let path = Path::from_request_parts(parts, state).await;
        path.map(|Path(params)| Self(params))
            .map_err(|e| ProblemKind::BadPath.because(e.body_text()))
    }
}

/// The query of a publication.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct SendQuery {
    pub(super) expiry: Option<Duration>,
    pub(super) except: Except,
}

impl SendQuery {
    /// Parses `expiry_ms=<number>` and any number of `except=<connection id or user:sub>`.
    ///
    /// An unknown parameter is refused: `expiry=5000` must not silently mean "no expiry".
    pub(super) fn parse(query: &str) -> Result<Self, Problem> {
        let mut read = Self::default();
        let mut names = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = decode(value)?;
            match &*decode(name)? {
                "expiry_ms" if read.expiry.is_none() => {
                    let millis = value.parse().map_err(|_| {
                        ProblemKind::BadQuery
                            .because("expiry_ms must be a whole number of milliseconds")
                    })?;
                    read.expiry = Some(expiry(millis, ProblemKind::BadQuery)?);
                }
                "expiry_ms" => return Err(ProblemKind::BadQuery.because("expiry_ms appears twice")),
                "except" => names.push(value),
                other => {
                    let other = excerpt(other, 40);
                    let detail =
                        format!("unknown parameter {other:?}; expected 'expiry_ms' or 'except'");
                    return Err(ProblemKind::BadQuery.because(detail));
                }
            }
        }
        read.except = except(&names)?;
        Ok(read)
    }
}

/// Checks an expiry: 1 ms to [`MAX_EXPIRY`]. Otherwise a problem of `kind`.
pub(super) fn expiry(millis: u64, kind: ProblemKind) -> Result<Duration, Problem> {
    let expiry = Duration::from_millis(millis);
    if expiry.is_zero() || expiry > MAX_EXPIRY {
        let most = MAX_EXPIRY.as_millis();
        return Err(kind.because(format!("expiry_ms is {millis}; 1 to {most} are allowed")));
    }
    Ok(expiry)
}

/// Parses excluded members, as in [`member`].
pub(super) fn except<T: AsRef<str>>(names: &[T]) -> Result<Except, Problem> {
    if names.len() > MAX_EXCEPT {
        let detail = format!("except names {}; at most {MAX_EXCEPT} are allowed", names.len());
        return Err(ProblemKind::BadMember.because(detail));
    }
    let mut except = Except::default();
    for name in names {
        match member(name.as_ref())? {
            Member::User(sub) => except.users.push(sub),
            Member::Connection(id) => except.connections.push(id),
        }
    }
    Ok(except)
}

/// `user:<sub>` or a connection's id. Connection ids have no colon, so `user:k3f5a2bq-17` is always
/// a user.
pub(super) fn member(name: &str) -> Result<Member, Problem> {
    match name.strip_prefix("user:") {
        Some(sub) => user(sub).map(Member::User),
        None => name.parse().map(Member::Connection).map_err(|error| {
            ProblemKind::BadMember.because(format!("{error}, and not 'user:<sub>' either"))
        }),
    }
}

/// Parses a `sub`, by the rules of tokens: no other can be connected.
pub(super) fn user(sub: &str) -> Result<Arc<str>, Problem> {
    check_sub(sub).map_err(|error| ProblemKind::BadMember.because(error.to_string()))?;
    Ok(sub.into())
}

/// The request's idempotency key in the scope of `owner`, if it has one.
pub(super) fn idempotency_key(
    headers: &HeaderMap,
    owner: &str,
) -> Result<Option<DedupeKey>, Problem> {
    let mut keys = headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(key) = keys.next() else { return Ok(None) };
    if keys.next().is_some() {
        return Err(ProblemKind::BadHeader.because("idempotency-key appears twice"));
    }
    let key = std::str::from_utf8(key.as_bytes())
        .map_err(|_| ProblemKind::BadHeader.because("idempotency-key is not UTF-8"))?;
    Ok(Some(DedupeKey::new(Scope::ApiKey(owner), key)?))
}

/// Reads the whole body, if its media type is accepted, it has at most `most` bytes and it arrives
/// in time.
///
/// The time limit is here, not around the whole request: later steps have their own, so a 408
/// always means that nothing was done.
pub(super) async fn body(
    api: &Api,
    headers: &HeaderMap,
    body: Body,
    most: usize,
) -> Result<Bytes, Problem> {
    check_media_type(headers)?;
    let too_large = || ProblemKind::TooLarge.because(format!("body has more than {most} bytes"));
    let declared = headers.get(CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse::<u64>().ok());
    if declared.is_some_and(|len| len > most as u64) {
        return Err(too_large());
    }
    let Ok(read) = timeout(api.settings.timeout, to_bytes(body, most)).await else {
        let limit = api.settings.timeout.as_millis();
        return Err(
            ProblemKind::Timeout.because(format!("the body was not complete within {limit} ms"))
        );
    };
    read.map_err(|error| {
        let source = std::error::Error::source(&error);
        match source.is_some_and(|e| e.is::<http_body_util::LengthLimitError>()) {
            true => too_large(),
            false => ProblemKind::BadBody.because("the body is incomplete"),
        }
    })
}

/// Accepts JSON, no media type, and the one that curl's `-d` and Python's urllib add: the bytes are
/// checked to be JSON anyway.
fn check_media_type(headers: &HeaderMap) -> Result<(), Problem> {
    if let Some(encoding) = headers.get(CONTENT_ENCODING)
        && !encoding.as_bytes().eq_ignore_ascii_case(b"identity")
    {
        return Err(
            ProblemKind::NotJson.because("the body has a content-encoding; none is supported")
        );
    }
    let Some(declared) = headers.get(CONTENT_TYPE) else { return Ok(()) };
    let declared = declared.to_str().unwrap_or_default();
    let essence = declared.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match essence.as_str() {
        "application/json" | "application/x-www-form-urlencoded" => Ok(()),
        other if other.starts_with("application/") && other.ends_with("+json") => Ok(()),
        _ => Err(ProblemKind::NotJson.because("content-type is not application/json")),
    }
}

/// Decodes one part of a query: `+` is a space, `%XX` a byte, the result must be UTF-8.
pub(super) fn decode(part: &str) -> Result<Cow<'_, str>, Problem> {
    if !part.contains(['%', '+']) {
        return Ok(Cow::Borrowed(part));
    }
    let wrong = || ProblemKind::BadQuery.because("the query is not percent-encoded UTF-8");
    let mut decoded = Vec::with_capacity(part.len());
    let mut bytes = part.bytes();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || char::from(bytes.next()?).to_digit(16);
                let (high, low) = (digit().ok_or_else(wrong)?, digit().ok_or_else(wrong)?);
                (high * 16 + low) as u8
            }
            other => other,
        });
    }
    String::from_utf8(decoded).map(Cow::Owned).map_err(|_| wrong())
}
