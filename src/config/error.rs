//! What can be wrong with a configuration, said so that the next edit is the right one.

use std::fmt::Display;
use std::io;
use std::path::{Path, PathBuf};

/// Why a configuration is refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file itself.
    #[error("{} cannot be read", path.display())]
    Read {
        /// As given.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Not TOML, an unknown key, or a value of the wrong kind.
    #[error("{}:{line}:{column}: {message}", path.display())]
    Parse {
        /// The configuration.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// From 1, in characters.
        column: usize,
        /// What was found and what is expected. Never a whole line: it may hold a secret.
        message: String,
    },
    /// A variable whose text does not suit its key.
    #[error("variable {name}: {message}")]
    Variable {
        /// The variable.
        name: String,
        /// What is expected.
        message: String,
    },
    /// A variable that looks like the gateway's own and is not.
    #[error("variable {name} is not known; the nearest is {nearest}")]
    UnknownVariable {
        /// The variable.
        name: String,
        /// The known one with the fewest differences.
        nearest: String,
    },
    /// File and variables are right by themselves and wrong together.
    #[error("file and variables together: {message}")]
    Whole {
        /// What was found and what is expected.
        message: String,
    },
    /// A file that the configuration names.
    #[error("{key}: {} cannot be read", path.display())]
    File {
        /// The key that names it.
        key: String,
        /// Where it was looked for.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A text that another room refuses, in that room's words.
    #[error("{key} is not usable")]
    Text {
        /// The key, from the top.
        key: String,
        /// What is wrong with the text.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A value that is right by itself and not together with others.
    #[error("{key} is {value}; allowed is {allowed}")]
    Value {
        /// The key, from the top.
        key: String,
        /// What was found.
        value: String,
        /// What would be right.
        allowed: String,
    },
}

impl ConfigError {
    /// `key` holds `value` where only `allowed` is right.
    pub(crate) fn value(
        key: impl Into<String>,
        value: impl Display,
        allowed: impl Into<String>,
    ) -> Self {
        Self::Value { key: key.into(), value: value.to_string(), allowed: allowed.into() }
    }

    /// `key` holds what another room refuses.
    pub(crate) fn text(
        key: &str,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self::Text { key: key.to_owned(), source: source.into() }
    }

    /// An error of the TOML reader with its place, without the line that it would quote.
    pub(crate) fn parse(path: &Path, text: &str, error: &toml::de::Error) -> Self {
        let start = error.span().map_or(0, |span| span.start);
        let before = text.get(..start).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        Self::Parse {
            path: path.to_owned(),
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
            message: error.message().trim_end().replace('\n', ", "),
        }
    }
}
