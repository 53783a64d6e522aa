//! Idempotency keys of callers.

use std::fmt;
use std::sync::Arc;

use super::settings::Settings;
use crate::layer::{Digest, OnceKey, WhenFull};

/// The owner of a key: equal texts of two scopes are different keys, and each scope has a limit of
/// its own, so that no browser can use up a back end's.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Scope<'a> {
    /// A back end, by the name of its API key.
    ApiKey(&'a str),
    /// A browser, by its `sub`.
    User(&'a str),
}

/// A key that a caller chose for one publication. Kept as a digest, so its length does not matter.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct DedupeKey {
    /// The kind of the owner and its name.
    scope: Arc<str>,
    is_user: bool,
    key: Digest,
}

/// Why a text is not an idempotency key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("idempotency key has {0} bytes; 1 to {max} are allowed", max = DedupeKey::MAX_LEN)]
pub(crate) struct KeyError(usize);

impl DedupeKey {
    /// The longest text of a key, in bytes.
    pub(crate) const MAX_LEN: usize = 255;

    /// The key `text` of `scope`.
    pub(crate) fn new(scope: Scope<'_>, text: &str) -> Result<Self, KeyError> {
        if !(1..=Self::MAX_LEN).contains(&text.len()) {
            return Err(KeyError(text.len()));
        }
        let (scope, is_user) = match scope {
            Scope::ApiKey(name) => (format!("api:{name}"), false),
            Scope::User(sub) => (format!("user:{sub}"), true),
        };
        Ok(Self { scope: scope.into(), is_user, key: Digest::of(&[b"key", text.as_bytes()]) })
    }

    /// The key of the publication at `index` of a batch that has this key.
    pub(crate) fn of_part(&self, index: usize) -> Self {
        let key = Digest::of(&[b"part", &self.key.0, &(index as u64).to_be_bytes()]);
        Self { key, ..self.clone() }
    }

    /// The key as the layer knows it, for this content.
    pub(super) fn once(&self, content: Digest, settings: &Settings) -> OnceKey {
        OnceKey {
            scope: Arc::clone(&self.scope),
            capacity: self.capacity(settings),
            when_full: WhenFull::Refuse,
            key: self.key,
            content,
        }
    }

    /// The most keys that its owner may have at a time.
    pub(super) fn capacity(&self, settings: &Settings) -> u32 {
        if self.is_user { settings.user_keys } else { settings.idempotency_keys }
    }
}

impl fmt::Debug for DedupeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DedupeKey({:?})", self.key)
    }
}
