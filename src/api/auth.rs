//! Authenticates API callers by bearer key, and checks the rights that endpoints need.

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;

use tracing::Span;

use super::Api;
use crate::group::GroupName;
use crate::http::{Problem, ProblemKind};
use crate::identity::{ApiKey, AuthFailure, Right};

/// An authenticated caller.
#[derive(Clone, Copy)]
pub(super) struct Caller<'a> {
    api: &'a Api,
    key: &'a ApiKey,
}

impl Api {
    /// The caller identified by the key in `headers`.
    pub(super) fn caller(&self, headers: &HeaderMap) -> Result<Caller<'_>, Problem> {
        let Some(authorization) = headers.get(AUTHORIZATION) else {
            self.auth_failures.of(AuthFailure::Missing).increment(1);
            return Err(
                ProblemKind::KeyMissing.because("missing header 'authorization: Bearer <API key>'")
            );
        };
        let key = bearer(authorization.as_bytes()).and_then(|key| self.keys.authenticate(key));
        let Some(key) = key else {
            self.auth_failures.of(AuthFailure::ApiKey).increment(1);
            let detail = "the key in the 'authorization' header is not configured";
            return Err(ProblemKind::KeyUnknown.because(detail));
        };
        Span::current().record("key", key.name.as_str());
        Ok(Caller { api: self, key })
    }
}

impl Caller<'_> {
    /// The name of the key, as configured.
    pub(super) fn name(&self) -> &str {
        &self.key.name
    }

    /// The names of the key's rights.
    pub(super) fn rights(&self) -> Vec<&'static str> {
        let held = Right::ALL.into_iter().filter(|right| self.key.has_right(*right));
        held.map(Right::as_str).collect()
    }

    /// Whether the key has `right` on `group`.
    pub(super) fn may(&self, right: Right, group: &GroupName) -> bool {
        self.key.may(right, group)
    }

    /// Whether the key has `right` on every group.
    pub(super) fn may_on_all(&self, right: Right) -> bool {
        self.key.may_on_all(right)
    }

    /// Refuses unless the key has `right` on `group`.
    pub(super) fn needs(&self, right: Right, group: &GroupName) -> Result<(), Problem> {
        if self.may(right, group) {
            return Ok(());
        }
        let name = self.name();
        Err(self.refuse(format!("key {name:?} lacks the right '{right}' on group {group}")))
    }

    /// Refuses unless the key has `right`, which concerns no group.
    pub(super) fn needs_at_all(&self, right: Right) -> Result<(), Problem> {
        if self.key.has_right(right) {
            return Ok(());
        }
        Err(self.refuse(format!("key {:?} lacks the right '{right}'", self.name())))
    }

    fn refuse(&self, detail: String) -> Problem {
        self.api.auth_failures.of(AuthFailure::ApiRight).increment(1);
        ProblemKind::Forbidden.because(detail)
    }
}

/// The credentials of a bearer header (RFC 6750, 2.1; the scheme in any case, RFC 9110, 11.1).
fn bearer(header: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(header).ok()?;
    let (scheme, key) = text.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| key.trim_matches(' '))
}
