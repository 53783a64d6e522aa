//! One result of an examination: what was examined, what was found, what to do about it.

use serde::Serialize;

use super::language::SentenceLanguage;
use super::pages::page;

/// How serious a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Correct, or for information.
    Ok,
    /// It works, but problems are likely.
    Warn,
    /// It does not work.
    Fail,
}

/// The result of one check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How serious it is.
    pub level: Level,
    /// What was checked, in one to three words.
    pub what: &'static str,
    /// The value that was found.
    pub found: String,
    /// What to do; empty = nothing.
    pub advice: String,
    /// Where the documentation explains it: a file of the repository, with the heading.
    pub page: String,
}

impl Finding {
    /// Correct.
    pub fn ok(what: &'static str, found: impl Into<String>) -> Self {
        Self::new(Level::Ok, what, found.into(), String::new())
    }

    /// It works, but problems are likely.
    pub fn warn(what: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self::new(Level::Warn, what, found.into(), advice.into())
    }

    /// It does not work.
    pub fn fail(what: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self::new(Level::Fail, what, found.into(), advice.into())
    }

    fn new(level: Level, what: &'static str, found: String, advice: String) -> Self {
        let page = page(what, SentenceLanguage::English);
        Self { level, what, found, advice, page }
    }

    /// Adds information to a finding without advice.
    pub(crate) fn hint(mut self, advice: impl Into<String>) -> Self {
        self.advice = advice.into();
        self
    }
}
