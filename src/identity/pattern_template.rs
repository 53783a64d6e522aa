//! Templates with `*` as a wildcard, for grants.

use std::borrow::Cow;
use std::fmt;

use crate::group::GroupPattern;

use super::{FillError, Template, TemplateError};

/// A [`Template`] in which `*` matches any run of characters, for grants.
///
/// Only the configuration can contain `*`; a value with one is refused.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct PatternTemplate {
    template: Template,
    kind: PatternKind,
}

/// How a pattern template is matched, determined once.
#[derive(Clone, PartialEq, Eq, Hash)]
enum PatternKind {
    /// No variable: a pattern like any other.
    Fixed(GroupPattern),
    /// Variables and no `*`: compared part by part, without an allocation.
    Exact,
    /// Both: filled, then matched.
    Mixed,
}

impl PatternTemplate {
    /// Parses a template that may contain `*`.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let template = Template::parse_parts(text)?;
        let kind = if template.names().next().is_none() {
            let pattern = GroupPattern::parse(text);
            PatternKind::Fixed(
                pattern.expect("literals were checked against a pattern's characters"),
            )
        } else if text.contains('*') {
            PatternKind::Mixed
        } else {
            PatternKind::Exact
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

    /// Fills in the values that `value` returns.
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
            PatternKind::Fixed(pattern) => pattern.matches(name),
            PatternKind::Exact => self.template.names_exactly(name, value),
            PatternKind::Mixed => self.fill(value).is_ok_and(|pattern| pattern.matches(name)),
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
