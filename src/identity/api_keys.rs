//! API keys: bearer secrets of back ends, kept as digests and compared in constant time.

use std::collections::HashSet;
use std::fmt;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{Digest, SHA256, digest};

use crate::group::{GroupName, GroupPattern};

use super::limits::MIN_API_SECRET_LEN;
use super::{ApiKeySettings, IdentityError, Right};

/// The keys of all back ends.
#[derive(Debug, Default)]
pub struct ApiKeys(Vec<ApiKey>);

/// One back end's key, with a digest in place of the secret.
pub struct ApiKey {
    /// For logs and metrics.
    pub name: String,
    digest: Digest,
    groups: Vec<GroupPattern>,
    allow: HashSet<Right>,
}

impl ApiKeys {
    /// Checks the keys and keeps digests of their secrets.
    pub fn new(settings: &[ApiKeySettings]) -> Result<Self, IdentityError> {
        let mut keys: Vec<ApiKey> = Vec::with_capacity(settings.len());
        for setting in settings {
            let key = ApiKey::new(setting)?;
            if keys.iter().any(|other| other.name == key.name) {
                return Err(IdentityError::DuplicateApiKey(key.name));
            }
            if let Some(other) = keys.iter().find(|other| other.has(&key.digest)) {
                return Err(IdentityError::SharedApiSecret(other.name.clone(), key.name));
            }
            keys.push(key);
        }
        Ok(Self(keys))
    }

    /// Whether any key has `right`.
    pub fn any_has(&self, right: Right) -> bool {
        self.0.iter().any(|key| key.has_right(right))
    }

    /// The key whose secret is `bearer`.
    ///
    /// All digests are compared, in constant time, so that the time reveals neither the length of a
    /// secret, nor how much of it matches, nor which key it belongs to.
    pub fn authenticate(&self, bearer: &str) -> Option<&ApiKey> {
        let presented = digest(&SHA256, bearer.as_bytes());
        self.0.iter().fold(None, |found, key| if key.has(&presented) { Some(key) } else { found })
    }
}

impl ApiKey {
    fn new(settings: &ApiKeySettings) -> Result<Self, IdentityError> {
        let (key, secret) = (settings.name.clone(), settings.secret.as_bytes());
        if secret.len() < MIN_API_SECRET_LEN {
            return Err(IdentityError::ShortApiSecret { key, len: secret.len() });
        }
        if !secret.iter().all(u8::is_ascii_graphic) {
            return Err(IdentityError::IllegalApiSecret(key));
        }
        Ok(Self {
            name: key,
            digest: digest(&SHA256, secret),
            groups: settings.groups.clone(),
            allow: settings.allow.iter().copied().collect(),
        })
    }

    /// Whether it has `right`, where no group is involved.
    pub fn has_right(&self, right: Right) -> bool {
        self.allow.contains(&right)
    }

    /// Whether it may use `right` on `group`.
    pub fn may(&self, right: Right, group: &GroupName) -> bool {
        self.has_right(right) && self.groups.iter().any(|pattern| pattern.matches(group.as_str()))
    }

    /// Whether it may use `right` on every group: one of its patterns is `*`.
    pub fn may_on_all(&self, right: Right) -> bool {
        self.has_right(right) && self.groups.iter().any(GroupPattern::matches_all)
    }

    fn has(&self, presented: &Digest) -> bool {
        verify_slices_are_equal(self.digest.as_ref(), presented.as_ref()).is_ok()
    }
}

impl fmt::Debug for ApiKey {
    /// Without the digest, from which a weak secret could be guessed offline.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiKey")
            .field("name", &self.name)
            .field("groups", &self.groups)
            .field("allow", &self.allow)
            .finish_non_exhaustive()
    }
}
