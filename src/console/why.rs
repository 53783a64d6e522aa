//! Answers why a user did not see an event of a group, over all instances, in sentences.

use serde::Serialize;

use super::evidence::{Evidence, EvidencePart};
use super::handle::Console;
use super::peers::Ask;
use super::reason::{Reason, reasons};
use super::sentences::sentence;
use crate::clock;
use crate::finding::SentenceLanguage;
use crate::group::GroupName;
use crate::hub::ReceiptReport;

/// What is asked.
#[derive(Debug)]
pub(crate) struct WhyQuestion {
    /// The user.
    pub(crate) sub: String,
    /// The group; `None` = the user's connections alone.
    pub(crate) group: Option<GroupName>,
    /// When the event was sent, seconds since 1970.
    pub(crate) at: Option<u64>,
    /// In which language to answer.
    pub(crate) language: SentenceLanguage,
}

/// The answer.
#[derive(Debug, Serialize)]
pub(crate) struct WhyAnswer {
    /// The likeliest cause, by its code; `None` = nothing is wrong as far as is known.
    cause: Option<&'static str>,
    /// What was found, facts first.
    sentences: Vec<Sentence>,
    /// What the instances know, for those who want to see more.
    receipt: ReceiptReport,
    /// Instances that did not answer in time.
    silent: Vec<String>,
}

/// One thing that was found out.
#[derive(Debug, Serialize)]
struct Sentence {
    /// Its name, which never changes.
    code: &'static str,
    /// Whether it explains why an event was not seen.
    is_cause: bool,
    text: String,
    /// Where the documentation explains it.
    page: String,
}

impl Console {
    /// Looks for the reasons.
    pub(crate) async fn why(&self, question: WhyQuestion) -> WhyAnswer {
        let WhyQuestion { sub, group, at, language } = question;
        let name = group.as_ref().map(GroupName::to_string);
        let ask = Ask::Why { sub: sub.clone(), group: name };
        let all = self.ask_everywhere::<EvidencePart>(&ask).await;
        let silent = all.silent;
        let mut evidence = Evidence { sub, group, at, silent, ..Evidence::default() };
        all.answers.into_iter().for_each(|(_, part)| evidence.add(part));
        evidence.surroundings = self.0.layer.surroundings().await;
        let found = reasons(&evidence, clock::unix_seconds());
        let cause = found.iter().find(|reason| reason.is_cause()).map(Reason::code);
        let sentences = found.iter().map(|reason| Sentence::of(reason, &evidence, language));
        WhyAnswer {
            cause,
            sentences: sentences.collect(),
            receipt: evidence.receipt.clone(),
            silent: evidence.silent.clone(),
        }
    }
}

impl Sentence {
    fn of(reason: &Reason, evidence: &Evidence, language: SentenceLanguage) -> Self {
        let group = evidence.group.as_ref().map_or("", GroupName::as_str);
        let text = sentence(reason, &evidence.sub, group, language);
        let page = match language {
            SentenceLanguage::English => "docs/console.md",
            SentenceLanguage::Spanish => "docs/console.es.md",
        };
        let (code, is_cause) = (reason.code(), reason.is_cause());
        Self { code, is_cause, text, page: format!("{page}#{code}") }
    }
}
