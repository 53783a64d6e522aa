//! Group names with variables for `sub`, claims and path parameters, such as `user_{sub}`.

use std::borrow::Cow;
use std::fmt;

use crate::excerpt::excerpt;
use crate::group::{GroupName, MAX_NAME_LEN, is_legal};

use super::limits::EXCERPT;

/// A group name with variables in it.
///
/// Values are inserted unchanged or not at all: a value that makes an illegal name is an error,
/// never rewritten, since two users with the same rewritten name would share a group. A separator
/// that values may contain (`{a}_{b}` with `1_2` and `3`) makes names ambiguous; choose another.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Template {
    text: Box<str>,
    parts: Box<[TemplatePart]>,
}

#[derive(Clone, PartialEq, Eq, Hash)]
enum TemplatePart {
    Literal(Box<str>),
    Variable(Box<str>),
}

/// Why a text is not a template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// The text is empty.
    #[error("template is empty; write a name such as \"user_{{sub}}\"")]
    Empty,
    /// An unmatched brace.
    #[error("template {0:?} has an unmatched brace; variables are written {{name}}")]
    Brace(String),
    /// A variable has no name, or one with other characters.
    #[error(
        "template {template:?} names the variable {variable:?}; letters, digits, '_' and '-' are \
         allowed"
    )]
    Variable {
        /// The whole text.
        template: String,
        /// The text between the braces.
        variable: String,
    },
    /// Two adjacent variables, so that different values could make the same name.
    #[error("template {0:?} has two variables without a character between them")]
    Adjacent(String),
    /// A `*` where one group is required.
    #[error("template {0:?} holds '*'; it must name one group")]
    Star(String),
    /// A character that no group name can hold.
    #[error("template {template:?} holds {found:?}; letters, digits, '_', '.' and '-' are allowed")]
    Illegal {
        /// The whole text.
        template: String,
        /// The first character that is not allowed.
        found: char,
    },
    /// Too long without any values.
    #[error(
        "template {template:?} has {len} characters beside its variables; a group name has at most \
         {MAX_NAME_LEN}"
    )]
    TooLong {
        /// The whole text.
        template: String,
        /// Its characters outside variables, `*` not counted.
        len: usize,
    },
}

/// Why a template could not be filled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FillError {
    /// The variable has no value.
    #[error("template {template:?} needs {{{variable}}}, which is missing")]
    Absent {
        /// The template as written.
        template: String,
        /// The variable.
        variable: String,
    },
    /// The value would make an illegal name.
    #[error(
        "template {template:?} cannot take {value:?} for {{{variable}}}; 1 to 99 of letters, \
         digits, '_', '.', '-' are allowed"
    )]
    Value {
        /// The template as written.
        template: String,
        /// The variable.
        variable: String,
        /// An excerpt of its value.
        value: String,
    },
    /// The values are legal, but the name is too long.
    #[error(
        "template {template:?} makes a name of {len} bytes; at most {MAX_NAME_LEN} are allowed"
    )]
    TooLong {
        /// The template as written.
        template: String,
        /// Length of the name, bytes.
        len: usize,
    },
}

impl Template {
    /// Parses a template that names one group.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        if text.contains('*') {
            return Err(TemplateError::Star(excerpt(text, EXCERPT)));
        }
        Self::parse_parts(text)
    }

    /// The template as written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Names of its variables, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            TemplatePart::Variable(name) => Some(&**name),
            TemplatePart::Literal(_) => None,
        })
    }

    /// Fills in the values that `value` returns.
    pub fn fill<'v>(
        &self,
        value: &dyn Fn(&str) -> Option<Cow<'v, str>>,
    ) -> Result<GroupName, FillError> {
        let name = self.fill_text(value)?;
        let len = name.len();
        GroupName::parse(&name)
            .map_err(|_| FillError::TooLong { template: self.text.to_string(), len })
    }

    /// Parses a template in which `*` is an ordinary character.
    pub(super) fn parse_parts(text: &str) -> Result<Self, TemplateError> {
        if text.is_empty() {
            return Err(TemplateError::Empty);
        }
        let whole = || excerpt(text, EXCERPT);
        let mut parts = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            let (literal, variable) = match rest.split_once('{') {
                Some((literal, tail)) => {
                    let (name, tail) =
                        tail.split_once('}').ok_or_else(|| TemplateError::Brace(whole()))?;
                    rest = tail;
                    (literal, Some(name))
                }
                None => (std::mem::take(&mut rest), None),
            };
            if let Some(found) = literal.chars().find(|c| *c != '*' && !is_legal(*c)) {
                return Err(match found {
                    '}' => TemplateError::Brace(whole()),
                    found => TemplateError::Illegal { template: whole(), found },
                });
            }
            if !literal.is_empty() {
                parts.push(TemplatePart::Literal(literal.into()));
            }
            let Some(name) = variable else { continue };
            if !is_variable(name) {
                let variable = excerpt(name, EXCERPT);
                return Err(TemplateError::Variable { template: whole(), variable });
            }
            if matches!(parts.last(), Some(TemplatePart::Variable(_))) {
                return Err(TemplateError::Adjacent(whole()));
            }
            parts.push(TemplatePart::Variable(name.into()));
        }
        let template = Self { text: text.into(), parts: parts.into() };
        match template.literal_len() {
            len if len > MAX_NAME_LEN => Err(TemplateError::TooLong { template: whole(), len }),
            _ => Ok(template),
        }
    }

    fn literal_len(&self) -> usize {
        let characters = self.parts.iter().flat_map(|part| match part {
            TemplatePart::Literal(literal) => literal.chars(),
            TemplatePart::Variable(_) => "".chars(),
        });
        characters.filter(|c| *c != '*').count()
    }

    /// The text with values filled in; its length is not checked.
    pub(super) fn fill_text<'v>(
        &self,
        value: &dyn Fn(&str) -> Option<Cow<'v, str>>,
    ) -> Result<String, FillError> {
        let mut filled = String::with_capacity(self.text.len() + 16);
        for part in &self.parts {
            let variable = match part {
                TemplatePart::Literal(literal) => {
                    filled.push_str(literal);
                    continue;
                }
                TemplatePart::Variable(variable) => variable,
            };
            let (template, variable_name) = (|| self.text.to_string(), || variable.to_string());
            let Some(value) = value(variable) else {
                return Err(FillError::Absent { template: template(), variable: variable_name() });
            };
            if !is_value(&value) {
                let value = excerpt(&value, EXCERPT);
                return Err(FillError::Value {
                    template: template(),
                    variable: variable_name(),
                    value,
                });
            }
            filled.push_str(&value);
        }
        Ok(filled)
    }

    /// Whether the filled template equals `name`, without allocating.
    pub(super) fn names_exactly<'v>(
        &self,
        name: &str,
        value: &dyn Fn(&str) -> Option<Cow<'v, str>>,
    ) -> bool {
        let rest = self.parts.iter().try_fold(name, |rest, part| match part {
            TemplatePart::Literal(literal) => rest.strip_prefix(&**literal),
            TemplatePart::Variable(variable) => {
                let value = value(variable).filter(|value| is_value(value))?;
                rest.strip_prefix(&*value)
            }
        });
        rest.is_some_and(str::is_empty)
    }
}

/// Whether `name` is a legal variable. `-` is allowed for claims such as `tenant-id`.
fn is_variable(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'))
}

/// Whether `value` may be filled in: not empty, and without `*` or braces.
fn is_value(value: &str) -> bool {
    !value.is_empty() && value.len() <= MAX_NAME_LEN && value.chars().all(is_legal)
}

impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.text, f)
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
