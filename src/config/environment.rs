//! `GROUPCAST_<SECTION>_<KEY>`: every key of the file can be given by the environment instead.
//!
//! The names are read off the serialized defaults, so that a new key has its variable at once.

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::{Table, Value};

use super::raw::Raw;
use super::{ConfigError, Variables};

/// What every variable of the gateway begins with.
const PREFIX: &str = "GROUPCAST_";

/// One key that can be set: where it stands, and its default, which tells how to read the text.
struct Leaf {
    section: String,
    /// `None` for what is a list of tables at the top, such as `grant`.
    key: Option<String>,
    default: Value,
}

/// `file` with the variables laid over it.
///
/// Each variable is first tried alone, so that an error names it and not some line of the merged
/// whole.
pub(crate) fn overlay(file: Table, variables: &Variables) -> Result<Raw, ConfigError> {
    let leaves = leaves();
    let mut merged = file;
    let mut unknown = Vec::new();
    for (name, text) in variables.iter().filter(|(name, _)| name.starts_with(PREFIX)) {
        let Some(leaf) = leaves.get(name) else {
            unknown.push(name);
            continue;
        };
        let value = leaf.read(name, text)?;
        let mut alone = Table::new();
        leaf.set(&mut alone, value.clone());
        Raw::deserialize(alone).map_err(|error| ConfigError::Variable {
            name: name.clone(),
            message: error.message().to_owned(),
        })?;
        leaf.set(&mut merged, value);
    }
    let raw = Raw::deserialize(merged)
        .map_err(|error| ConfigError::Whole { message: error.message().to_owned() })?;
    let named = secret_variables(&raw);
    match unknown.into_iter().find(|name| !named.contains(&name.as_str())) {
        None => Ok(raw),
        Some(name) => Err(ConfigError::UnknownVariable {
            name: name.clone(),
            nearest: nearest(name, leaves.keys()),
        }),
    }
}

/// The variable of every key.
fn leaves() -> BTreeMap<String, Leaf> {
    let defaults = Table::try_from(Raw::default()).expect("the defaults are plain TOML");
    let mut leaves = BTreeMap::new();
    for (section, value) in defaults {
        let Value::Table(keys) = value else {
            let name = format!("{PREFIX}{}", section.to_uppercase());
            leaves.insert(name, Leaf { section, key: None, default: value });
            continue;
        };
        for (key, default) in keys {
            let name = format!("{PREFIX}{}_{}", section.to_uppercase(), key.to_uppercase());
            leaves.insert(name, Leaf { section: section.clone(), key: Some(key), default });
        }
    }
    leaves
}

/// The names of all variables, for the documentation and its test.
#[cfg(test)]
pub(crate) fn names() -> Vec<String> {
    leaves().into_keys().collect()
}

impl Leaf {
    /// Text is taken as it is where the key holds text; anything else is a TOML value.
    fn read(&self, name: &str, text: &str) -> Result<Value, ConfigError> {
        if self.default.is_str() {
            return Ok(Value::String(text.to_owned()));
        }
        text.parse::<Value>().map_err(|_| ConfigError::Variable {
            name: name.to_owned(),
            message: format!("not {}", self.wanted()),
        })
    }

    fn wanted(&self) -> &'static str {
        match (&self.default, &self.key) {
            (Value::Array(_), Some(key))
                if !["key", "group", "history"].contains(&key.as_str()) =>
            {
                "a TOML list such as [\"a\", \"b\"]"
            }
            (Value::Array(_), _) => "a TOML list of tables such as [{ name = \"value\" }]",
            (Value::Table(_), _) => "a TOML table such as { \"X-Forwarded-Proto\" = \"https\" }",
            _ => "a whole number",
        }
    }

    fn set(&self, root: &mut Table, value: Value) {
        match &self.key {
            None => {
                root.insert(self.section.clone(), value);
            }
            Some(key) => {
                let section = root
                    .entry(self.section.clone())
                    .or_insert_with(|| Value::Table(Table::new()))
                    .as_table_mut()
                    .expect("the file was read as Raw, where sections are tables");
                section.insert(key.clone(), value);
            }
        }
    }
}

/// Variables that hold secrets, since some `secret_env` names them.
fn secret_variables(raw: &Raw) -> Vec<&str> {
    let tokens = raw.auth.key.iter().filter_map(|key| key.secret_env.as_deref());
    let backends = raw.api.key.iter().filter_map(|key| key.secret_env.as_deref());
    let signing = raw.backend.key.iter().filter_map(|key| key.secret_env.as_deref());
    tokens.chain(backends).chain(signing).collect()
}

fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a String>) -> String {
    known.min_by_key(|candidate| distance(name, candidate)).cloned().unwrap_or_default()
}

/// Levenshtein's distance, one row at a time.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.bytes().enumerate() {
            let substituted = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}
