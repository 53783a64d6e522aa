//! What a look came to: a value, and what to do about it.

use serde::Serialize;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// As it should be, or good to know.
    Ok,
    /// It works, and will bite.
    Warn,
    /// It does not work.
    Fail,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub level: Level,
    /// What was looked at, in a word or two.
    pub what: &'static str,
    /// What was found there.
    pub found: String,
    /// What to do; empty = nothing.
    pub advice: String,
}

impl Finding {
    /// As it should be.
    pub fn ok(what: &'static str, found: impl Into<String>) -> Self {
        Self { level: Level::Ok, what, found: found.into(), advice: String::new() }
    }

    /// It works, and will bite.
    pub fn warn(what: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { level: Level::Warn, what, found: found.into(), advice: advice.into() }
    }

    /// It does not work.
    pub fn fail(what: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { level: Level::Fail, what, found: found.into(), advice: advice.into() }
    }

    /// As it should be, with something to know.
    pub(super) fn hint(mut self, advice: impl Into<String>) -> Self {
        self.advice = advice.into();
        self
    }
}
