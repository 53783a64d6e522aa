//! The language of the output of `dev` and `init`.

/// The supported languages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Language {
    English,
    Spanish,
}

impl Language {
    /// From the environment (POSIX: the first variable that is set and not empty decides).
    pub(super) fn of_environment() -> Self {
        let set = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        let locale = ["LC_ALL", "LC_MESSAGES", "LANG"].into_iter().find_map(set);
        Self::of_locale(locale.as_deref().unwrap_or_default())
    }

    fn of_locale(locale: &str) -> Self {
        match locale.split(['_', '.', '@']).next() {
            Some("es") => Self::Spanish,
            _ => Self::English,
        }
    }

    /// The text in this language.
    pub(super) fn pick(self, english: &'static str, spanish: &'static str) -> &'static str {
        match self {
            Self::English => english,
            Self::Spanish => spanish,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_language_from_a_locale() {
        for locale in ["es", "es_MX.UTF-8", "es_ES@euro"] {
            assert_eq!(Language::of_locale(locale), Language::Spanish, "{locale}");
        }
        for locale in ["", "C", "en_US.UTF-8", "est_EE"] {
            assert_eq!(Language::of_locale(locale), Language::English, "{locale}");
        }
    }
}
