//! Patterns over group names: literal text, with `*` for any run of characters.

use std::fmt;

use super::is_legal;

/// A pattern such as `order.*`, `*` or `room_1`; `*` matches any run, also the empty one.
///
/// There is no `?`, class or escape: patterns appear in grants, where surprises are security holes.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct GroupPattern(Box<str>);

/// Why a text is no group pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// The text is empty.
    #[error("group pattern is empty; write \"*\" for every group")]
    Empty,
    /// The text holds a character that no group name can hold.
    #[error(
        "group pattern {pattern:?} holds {found:?}; letters, digits, '_', '.', '-' and '*' are \
         allowed"
    )]
    Illegal {
        /// The whole text.
        pattern: String,
        /// The first character that is not allowed.
        found: char,
    },
}

impl GroupPattern {
    /// Checks and keeps `text`.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        if text.is_empty() {
            return Err(PatternError::Empty);
        }
        match text.chars().find(|c| *c != '*' && !is_legal(*c)) {
            Some(found) => Err(PatternError::Illegal { pattern: text.to_owned(), found }),
            None => Ok(Self(text.into())),
        }
    }

    /// The pattern as written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it matches every name.
    pub fn matches_all(&self) -> bool {
        self.0.bytes().all(|byte| byte == b'*')
    }

    /// Whether the whole of `name` matches.
    ///
    /// Greedy with one point of return, so at worst `name.len() * pattern.len()` steps: a pattern
    /// from a token cannot make it exponential.
    pub fn matches(&self, name: &str) -> bool {
        let (pattern, name) = (self.0.as_bytes(), name.as_bytes());
        let (mut p, mut n) = (0, 0);
        let mut retry: Option<(usize, usize)> = None;
        while n < name.len() {
            if pattern.get(p) == Some(&b'*') {
                retry = Some((p + 1, n));
                p += 1;
            } else if pattern.get(p) == Some(&name[n]) {
                p += 1;
                n += 1;
            } else if let Some((after_star, taken)) = retry {
                p = after_star;
                n = taken + 1;
                retry = Some((after_star, taken + 1));
            } else {
                return false;
            }
        }
        pattern[p..].iter().all(|b| *b == b'*')
    }
}

impl fmt::Display for GroupPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for GroupPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}
