//! Reads the queries of the console's data. An unknown parameter is refused, as everywhere.

use crate::api::request::decode;
use crate::excerpt::excerpt;
use crate::finding::SentenceLanguage;
use crate::http::{Problem, ProblemKind};

/// Rows of a page where the query does not say.
const ROWS: usize = 50;

/// Most rows of a page.
const MAX_PAGE: usize = 200;

/// Most rows before a page: the shards sort no more than these for an answer.
const MAX_SKIP: usize = 800;

const LANGUAGES: [(&str, SentenceLanguage); 2] =
    [("en", SentenceLanguage::English), ("es", SentenceLanguage::Spanish)];

/// The parameters of a query, decoded, each at most once.
#[derive(Debug)]
pub(super) struct QueryParameters(Vec<(String, String)>);

impl QueryParameters {
    /// Those of `query`, of which only `known` ones are allowed.
    pub(super) fn read(query: Option<&str>, known: &[&str]) -> Result<Self, Problem> {
        let mut read: Vec<(String, String)> = Vec::new();
        for pair in query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (name, value) = (decode(name)?.into_owned(), decode(value)?.into_owned());
            let is_new = read.iter().all(|(other, _)| *other != name);
            if !known.contains(&name.as_str()) || !is_new {
                let (name, known) = (excerpt(&name, 40), known.join(", "));
                let detail = format!("unexpected parameter {name:?}; expected {known}, once each");
                return Err(ProblemKind::BadQuery.because(detail));
            }
            read.push((name, value));
        }
        Ok(Self(read))
    }

    /// The value of a parameter.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The value of a parameter of at most so many characters; empty if it is left out.
    pub(super) fn short_text(&self, name: &str, most: usize) -> Result<String, Problem> {
        let text = self.text(name).unwrap_or_default();
        let length = text.chars().count();
        if length > most {
            let detail = format!("{name} has {length} characters; at most {most} are allowed");
            return Err(ProblemKind::BadQuery.because(detail));
        }
        Ok(text.to_owned())
    }

    /// The value of a parameter, which is a number.
    pub(super) fn number(&self, name: &str, least: u64, most: u64) -> Result<Option<u64>, Problem> {
        let Some(text) = self.text(name) else { return Ok(None) };
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        let number = text.parse::<u64>().ok().filter(|it| digits && (least..=most).contains(it));
        number.map(Some).ok_or_else(|| {
            let text = excerpt(text, 40);
            let detail = format!("{name} is {text:?}; a number from {least} to {most} is allowed");
            ProblemKind::BadQuery.because(detail)
        })
    }

    /// One of these values, or the first.
    pub(super) fn one_of<T: Copy>(&self, name: &str, all: &[(&str, T)]) -> Result<T, Problem> {
        let text = self.text(name).unwrap_or(all[0].0);
        let found = all.iter().find(|(known, _)| *known == text);
        found.map(|(_, value)| *value).ok_or_else(|| {
            let allowed: Vec<_> = all.iter().map(|(known, _)| *known).collect();
            let (text, allowed) = (excerpt(text, 40), allowed.join(", "));
            ProblemKind::BadQuery.because(format!("{name} is {text:?}; {allowed} are allowed"))
        })
    }

    /// The language of texts; English where the query does not say.
    pub(super) fn language(&self) -> Result<SentenceLanguage, Problem> {
        self.one_of("language", &LANGUAGES)
    }

    /// Rows before the page, and of the page.
    pub(super) fn page(&self) -> Result<(usize, usize), Problem> {
        let skip = self.number("skip", 0, MAX_SKIP as u64)?.unwrap_or(0);
        let rows = self.number("rows", 1, MAX_PAGE as u64)?.unwrap_or(ROWS as u64);
        Ok((skip as usize, rows as usize))
    }
}
