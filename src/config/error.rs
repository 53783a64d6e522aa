//! Errors of a configuration: the key, the value and what is expected instead.

use std::fmt::Display;
use std::io;
use std::path::{Path, PathBuf};

/// Why a configuration is refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{} cannot be read", path.display())]
    Read {
        /// As given on the command line.
        path: PathBuf,
        /// The system's error.
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
    /// A variable whose value does not fit its key.
    #[error("variable {name}: {message}")]
    Variable {
        /// The variable.
        name: String,
        /// What is expected.
        message: String,
    },
    /// A variable whose name resembles that of a key.
    #[error("variable {name} names no key: did you mean {similar}?")]
    MisspeltVariable {
        /// The variable.
        name: String,
        /// The most similar name of a key.
        similar: String,
    },
    /// File and variables are valid alone and invalid together.
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
        /// The system's error.
        source: io::Error,
    },
    /// A text that another room refuses, with its error.
    #[error("{key} is not usable")]
    Text {
        /// The key, from the top.
        key: String,
        /// What is wrong with the text.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A value out of range, or in contradiction to another.
    #[error("{key} = {value}: expected {expected}")]
    Value {
        /// The key, from the top.
        key: String,
        /// As written.
        value: String,
        /// The values that are allowed.
        expected: String,
    },
    /// A problem that is not that of a single value.
    #[error("{key} {problem}: expected {expected}")]
    Problem {
        /// The key or table, from the top.
        key: String,
        /// Such as "has no secret".
        problem: String,
        /// What is allowed.
        expected: String,
    },
}

impl ConfigError {
    /// `key` holds `value` where `expected` is allowed.
    pub(crate) fn value(
        key: impl Into<String>,
        value: impl Display,
        expected: impl Into<String>,
    ) -> Self {
        Self::Value { key: key.into(), value: value.to_string(), expected: expected.into() }
    }

    /// `key` has a `problem` that is not the form or range of one value.
    pub(crate) fn problem(
        key: impl Into<String>,
        problem: impl Into<String>,
        expected: impl Into<String>,
    ) -> Self {
        Self::Problem { key: key.into(), problem: problem.into(), expected: expected.into() }
    }

    /// `key` holds what its room refuses.
    pub(crate) fn text(
        key: &str,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self::Text { key: key.to_owned(), source: source.into() }
    }

    /// An error of the TOML parser with its position, without the line that it would quote.
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
