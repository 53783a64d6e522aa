//! The languages of texts for operators.

/// A language.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SentenceLanguage {
    /// English.
    English,
    /// Spanish.
    Spanish,
}
