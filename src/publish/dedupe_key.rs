//! Idempotency keys of callers.

use std::fmt;

use aws_lc_rs::digest::{Context, SHA256};

/// The owner of a key: equal texts of two scopes are different keys.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Scope<'a> {
    /// A back end, by the name of its API key.
    ApiKey(&'a str),
    /// A browser, by its `sub`.
    User(&'a str),
}

/// A key that a caller chose for one publication. Stored as a SHA-256, so its length does not
/// matter.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct DedupeKey([u8; 32]);

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
        let (kind, owner) = match scope {
            Scope::ApiKey(name) => ("api", name),
            Scope::User(sub) => ("user", sub),
        };
        Ok(Self(sha256(&[kind.as_bytes(), owner.as_bytes(), text.as_bytes()])))
    }

    /// The key of the publication at `index` of a batch that has this key.
    pub(crate) fn of_part(&self, index: usize) -> Self {
        Self(sha256(&[b"part", &self.0, &(index as u64).to_be_bytes()]))
    }
}

/// Digest of a list. The length before each part distinguishes `("a", "bc")` from `("ab", "c")`.
pub(super) fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    for part in parts {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    }
    context.finish().as_ref().try_into().expect("SHA-256 has 32 bytes")
}

impl fmt::Debug for DedupeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DedupeKey({:02x}{:02x}…)", self.0[0], self.0[1])
    }
}
