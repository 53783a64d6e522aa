//! Templates in which `*` may stand, for grants.

use std::borrow::Cow;
use std::fmt;

use crate::group::GroupPattern;

use super::{FillError, Template, TemplateError};

/// Like [`Template`], but `*` may stand in it for any run of characters: for grants.
///
/// The `*` is always the configuration's own; a value can never bring one.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct PatternTemplate {
    template: Template,
    kind: Kind,
}

/// How a pattern template is matched, found out once.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Kind {
    /// No variable: a pattern like any other.
    Fixed(GroupPattern),
    /// Variables and no `*`: compared part by part, without an allocation.
    Exact,
    /// Both: filled, then matched.
    Mixed,
}

impl PatternTemplate {
    /// Reads a template that may hold `*`.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let template = Template::parse_parts(text)?;
        let kind = if template.names().next().is_none() {
            let pattern = GroupPattern::parse(text);
            Kind::Fixed(pattern.expect("literals were checked against a pattern's characters"))
        } else if text.contains('*') {
            Kind::Mixed
        } else {
            Kind::Exact
        };
        Ok(Self { template, kind })
    }

    /// The template as written.
    pub fn as_str(&self) -> &str {
        self.template.as_str()
    }

    /// Names of its variables, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.template.names()
    }

    /// Puts the values in that `value` answers.
    pub fn fill<'v>(
        &self,
        value: &dyn Fn(&str) -> Option<Cow<'v, str>>,
    ) -> Result<GroupPattern, FillError> {
        let text = self.template.fill_text(value)?;
        Ok(GroupPattern::parse(&text).expect("literals and values were checked"))
    }

    /// Whether the filled pattern matches `name`; a template that cannot be filled matches nothing.
    pub fn matches<'v>(&self, name: &str, value: &dyn Fn(&str) -> Option<Cow<'v, str>>) -> bool {
        match &self.kind {
            Kind::Fixed(pattern) => pattern.matches(name),
            Kind::Exact => self.template.names_exactly(name, value),
            Kind::Mixed => self.fill(value).is_ok_and(|pattern| pattern.matches(name)),
        }
    }
}

impl fmt::Debug for PatternTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.template, f)
    }
}

impl fmt::Display for PatternTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.template, f)
    }
}
