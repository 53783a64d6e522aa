//! The rules for a user's `sub`, in tokens, hook answers, the API and sources.

/// Longest `sub`, bytes. OpenID Connect Core, section 2, allows 255 ASCII characters.
pub const MAX_SUB_LEN: usize = 255;

/// Why a text is not a legal `sub`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SubError {
    /// The text is empty.
    #[error("sub is empty")]
    Empty,
    /// The text is longer than [`MAX_SUB_LEN`].
    #[error("sub has {0} bytes; at most 255 are allowed")]
    TooLong(usize),
    /// It could forge log lines.
    #[error("sub holds a control character")]
    ControlCharacter,
    /// HTTP clients resolve such a path segment, so a request for the user would reach another
    /// path.
    #[error("sub consists of dots, which HTTP clients resolve in a path")]
    Dots,
}

/// Checks a `sub`.
pub fn check_sub(sub: &str) -> Result<(), SubError> {
    if sub.is_empty() {
        return Err(SubError::Empty);
    }
    if sub.len() > MAX_SUB_LEN {
        return Err(SubError::TooLong(sub.len()));
    }
    if sub.chars().any(char::is_control) {
        return Err(SubError::ControlCharacter);
    }
    if sub.bytes().all(|byte| byte == b'.') {
        return Err(SubError::Dots);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_an_illegal_sub_with_the_cause() {
        for sub in ["7", "maría/7", "a.b", "..a", &"x".repeat(255)] {
            assert_eq!(check_sub(sub), Ok(()), "{sub}");
        }
        assert_eq!(check_sub(""), Err(SubError::Empty));
        assert_eq!(check_sub(&"x".repeat(256)), Err(SubError::TooLong(256)));
        assert_eq!(check_sub("a\u{85}b"), Err(SubError::ControlCharacter));
        for dots in [".", "..", "..."] {
            assert_eq!(check_sub(dots), Err(SubError::Dots), "{dots}");
        }
    }
}
