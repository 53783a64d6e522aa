//! The reasons of a decision on access, for `groupcast explain`.

use std::borrow::Cow;
use std::fmt;

use crate::group::GroupName;

use super::policy::Candidate;
use super::{FillError, Identity, Operation, Policy};

/// The decision of [`Policy::may`] with every grant that was checked. Its `Display` is the report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// The user.
    pub sub: String,
    /// The operation.
    pub operation: Operation,
    /// The group, or the call.
    pub name: String,
    /// The decision.
    pub allowed: bool,
    /// Every grant of the operation, in the order of checking; the first that matches decides.
    pub checked: Vec<CheckedGrant>,
}

/// One grant, compared with the name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckedGrant {
    /// Where it is granted.
    pub source: GrantSource,
    /// As in the token or the configuration, without values for variables.
    pub written: String,
    /// With values for variables, or why they could not be filled in.
    pub filled: Result<String, FillError>,
    /// Whether it matches the name.
    pub matches: bool,
}

/// Where a right comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GrantSource {
    /// The token's groups.
    TokenGroup,
    /// The token's own grants.
    TokenGrant,
    /// The configuration's grant of this [`super::GrantRule::origin`].
    Rule(String),
}

impl Policy {
    /// The same decision as [`Policy::may`], with its reasons.
    pub fn explain(&self, identity: &Identity, operation: Operation, name: &str) -> Explanation {
        let candidates = self.candidates(identity, operation);
        let checked: Vec<_> =
            candidates.map(|candidate| CheckedGrant::new(candidate, identity, name)).collect();
        Explanation {
            sub: identity.sub.to_string(),
            operation,
            name: name.to_owned(),
            allowed: checked.iter().any(|grant| grant.matches),
            checked,
        }
    }
}

impl CheckedGrant {
    fn new(candidate: Candidate<'_>, identity: &Identity, name: &str) -> Self {
        let matches = candidate.allows(identity, name);
        let (source, written, filled) = match candidate {
            Candidate::TokenGroup(group) => {
                (GrantSource::TokenGroup, group.to_string(), Ok(group.to_string()))
            }
            Candidate::TokenGrant(pattern) => {
                (GrantSource::TokenGrant, pattern.to_string(), Ok(pattern.to_string()))
            }
            Candidate::Rule(origin, template) => {
                let value = |variable: &str| identity.value(variable).map(Cow::Borrowed);
                let filled = template.fill(&value).map(|pattern| pattern.to_string());
                (GrantSource::Rule(origin.to_owned()), template.to_string(), filled)
            }
        };
        Self { source, written, filled, matches }
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let answer = if self.allowed { "yes" } else { "no" };
        writeln!(f, "{answer}: {:?} {} {:?}", self.sub, self.operation, self.name)?;
        if self.operation != Operation::Call
            && let Err(error) = GroupName::parse(&self.name)
        {
            writeln!(f, "  note: {error}")?;
        }
        if self.checked.is_empty() {
            return write!(
                f,
                "  neither the token nor the configuration grants {} on anything",
                self.operation
            );
        }
        let deciding = self.checked.iter().position(|grant| grant.matches);
        for (index, grant) in self.checked.iter().enumerate() {
            let mark = match (deciding == Some(index), grant.matches) {
                (true, _) => "allows",
                (false, true) => "would allow",
                (false, false) => "does not match",
            };
            write!(f, "  {grant}: {mark}")?;
            if index + 1 < self.checked.len() {
                writeln!(f)?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for CheckedGrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}", self.source, self.written)?;
        match &self.filled {
            Ok(filled) if *filled != self.written => write!(f, " = {filled:?}"),
            Ok(_) => Ok(()),
            Err(error) => write!(f, " ({error})"),
        }
    }
}

impl fmt::Display for GrantSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TokenGroup => f.write_str("group in the token"),
            Self::TokenGrant => f.write_str("grant in the token"),
            Self::Rule(origin) => write!(f, "configured {origin}"),
        }
    }
}
