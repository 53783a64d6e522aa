//! What examinations find, in words: those of the doctor, some of which the console shows as well.

mod condition;
mod language;
mod pages;
mod result;

pub(crate) use condition::Condition;
pub(crate) use language::SentenceLanguage;
pub use result::{Finding, Level};
