//! Group names and the patterns that select them: parsed once, valid from then on.

mod member_counts;
mod pattern;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

pub use member_counts::MemberCounts;
pub use pattern::{GroupPattern, PatternError};

/// Longest legal group name, in bytes. channels_redis requires fewer than 100 characters.
pub const MAX_NAME_LEN: usize = 99;

/// A legal group name: 1 to 99 of `A-Z a-z 0-9 _ . -`, ASCII only, not of dots alone.
///
/// Cloning shares the text. Python's own check also takes Unicode digits and a trailing newline;
/// both are refused here, since no browser or back end means them.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GroupName(Arc<str>);

/// Why a text is no group name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The text is empty.
    #[error("group name is empty; 1 to 99 of letters, digits, '_', '.', '-' are allowed")]
    Empty,
    /// The text is longer than [`MAX_NAME_LEN`].
    #[error("group name has {0} bytes; at most 99 are allowed")]
    TooLong(usize),
    /// The text consists of dots: HTTP clients resolve such a path segment, so a request for the
    /// group would reach another path.
    #[error("group name {0:?} consists of dots, which HTTP clients resolve in a path")]
    Dots(String),
    /// The text holds a character outside the set.
    #[error("group name {name:?} holds {found:?}; letters, digits, '_', '.', '-' are allowed")]
    Illegal {
        /// The whole text, cut to 120 characters for logs.
        name: String,
        /// The first character that is not allowed.
        found: char,
    },
}

impl GroupName {
    /// Checks `text` and keeps a shared copy of it.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        if text.is_empty() {
            return Err(NameError::Empty);
        }
        if let Some(found) = text.chars().find(|c| !is_legal(*c)) {
            return Err(NameError::Illegal { name: text.chars().take(120).collect(), found });
        }
        if text.len() > MAX_NAME_LEN {
            return Err(NameError::TooLong(text.len()));
        }
        if text.bytes().all(|byte| byte == b'.') {
            return Err(NameError::Dots(text.to_owned()));
        }
        Ok(Self(text.into()))
    }

    /// Which of `of` equal shares of all names this one falls into, from 0; of none it is the
    /// first. It is FNV-1a with 32 bits in every instance and release: external programs find
    /// mailboxes by it.
    pub fn share(&self, of: u16) -> u16 {
        let hash = self
            .0
            .bytes()
            .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
        // The low bits of FNV-1a are its weak ones.
        let share = (hash ^ (hash >> 16)).checked_rem(u32::from(of));
        share.unwrap_or(0) as u16
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whether `c` is allowed in a group name.
pub(crate) fn is_legal(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-')
}

impl fmt::Display for GroupName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for GroupName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl std::borrow::Borrow<str> for GroupName {
    fn borrow(&self) -> &str {
        &self.0
    }
}
