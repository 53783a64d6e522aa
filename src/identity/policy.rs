//! Authorisation by grants of the configuration and of the token. Nothing is allowed by default.

use std::borrow::Cow;

use crate::group::{GroupName, GroupPattern};

use super::{GrantRule, Identity, Operation, PatternTemplate};

/// The configuration's grants, by operation.
#[derive(Debug, Clone, Default)]
pub struct Policy {
    /// By [`Operation`]; with each template the origin of its rule.
    rules: [Vec<(Box<str>, PatternTemplate)>; Operation::ALL.len()],
}

/// A grant that may allow an operation. Decisions and explanations both iterate over these.
#[derive(Debug, Clone, Copy)]
pub(super) enum Candidate<'a> {
    TokenGroup(&'a GroupName),
    TokenGrant(&'a GroupPattern),
    Rule(&'a str, &'a PatternTemplate),
}

impl Policy {
    /// Groups the configuration's grants by operation.
    pub fn new(grants: &[GrantRule]) -> Self {
        let mut policy = Self::default();
        for rule in grants {
            for operation in &rule.operations {
                let named =
                    |template: &PatternTemplate| (rule.origin.as_str().into(), template.clone());
                let templates = rule.names.iter().map(named);
                policy.rules[*operation as usize].extend(templates);
            }
        }
        policy
    }

    /// Whether `identity` may do `operation` on `name`: a group's, or a call's for
    /// [`Operation::Call`].
    ///
    /// Allocates only where a rule holds both a variable and a `*`.
    pub fn may(&self, identity: &Identity, operation: Operation, name: &str) -> bool {
        self.candidates(identity, operation).any(|candidate| candidate.allows(identity, name))
    }

    /// Whether a membership from an earlier token is allowed by this one: the group may be joined,
    /// or is joined by the server on connect.
    pub fn may_still_hold(
        &self,
        identity: &Identity,
        on_connect: &[GroupName],
        group: &GroupName,
    ) -> bool {
        on_connect.contains(group) || self.may(identity, Operation::Join, group.as_str())
    }

    /// Every grant of `operation`, in the order of checking.
    pub(super) fn candidates<'a>(
        &'a self,
        identity: &'a Identity,
        operation: Operation,
    ) -> impl Iterator<Item = Candidate<'a>> {
        let groups = match operation {
            Operation::Join => identity.token_groups(),
            _ => &[],
        };
        let grants =
            identity.token_grants().iter().filter(move |(granted, _)| *granted == operation);
        let rules = self.rules[operation as usize].iter();
        groups
            .iter()
            .map(Candidate::TokenGroup)
            .chain(grants.map(|(_, pattern)| Candidate::TokenGrant(pattern)))
            .chain(rules.map(|(origin, template)| Candidate::Rule(origin, template)))
    }
}

impl Candidate<'_> {
    /// Whether it allows `name`, for both [`Policy::may`] and [`Policy::explain`].
    pub(super) fn allows(&self, identity: &Identity, name: &str) -> bool {
        match self {
            Self::TokenGroup(group) => group.as_str() == name,
            Self::TokenGrant(pattern) => pattern.matches(name),
            Self::Rule(_, template) => {
                template.matches(name, &|variable| identity.value(variable).map(Cow::Borrowed))
            }
        }
    }
}
