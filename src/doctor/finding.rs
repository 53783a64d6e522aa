//! One result of the doctor: what was examined, what was found, what to do about it.

use serde::Serialize;

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
}

impl Finding {
    /// Correct.
    pub fn ok(what: &'static str, found: impl Into<String>) -> Self {
        Self { level: Level::Ok, what, found: found.into(), advice: String::new() }
    }

    /// It works, but problems are likely.
    pub fn warn(what: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { level: Level::Warn, what, found: found.into(), advice: advice.into() }
    }

    /// It does not work.
    pub fn fail(what: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { level: Level::Fail, what, found: found.into(), advice: advice.into() }
    }

    /// Adds information to a finding without advice.
    pub(super) fn hint(mut self, advice: impl Into<String>) -> Self {
        self.advice = advice.into();
        self
    }
}
