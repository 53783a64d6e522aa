//! `GROUPCAST_<SECTION>_<KEY>`: every key of the file can be given as a variable instead.
//!
//! The names are derived from the serialized defaults, so that every new key has its variable.

use std::collections::BTreeMap;

use serde::Deserialize;
use strsim::damerau_levenshtein;
use toml::{Table, Value};

use super::raw::Raw;
use super::{ConfigError, Variables};

/// The prefix of every variable of the gateway.
const PREFIX: &str = "GROUPCAST_";

/// Characters of a name per difference at which another name still counts as its misspelling.
const LENGTH_PER_TYPO: usize = 6;

/// The most differences of a misspelling.
const MAX_TYPOS: usize = 3;

/// A key that a variable can set, with its default, whose type decides how the text is parsed.
struct ConfigKey {
    section: String,
    /// `None` for a list of tables at the top, such as `grant`.
    key: Option<String>,
    default: Value,
}

/// The file with the variables applied.
pub(crate) struct Overlaid {
    pub(crate) raw: Raw,
    /// Variables with the prefix that name neither a key nor a secret.
    pub(crate) ignored: Vec<String>,
}

/// Applies the variables to the file.
///
/// Each variable is first checked alone, so that an error names it and not a line of the whole. A
/// name that is almost a key's is an error; any other is ignored, since others use the prefix, too:
/// Kubernetes sets `GROUPCAST_PORT` and more for a Service called groupcast.
pub(crate) fn overlay(file: Table, variables: &Variables) -> Result<Overlaid, ConfigError> {
    let keys = keys_by_variable();
    let mut merged = file;
    let mut unknown = Vec::new();
    for (name, text) in variables.iter().filter(|(name, _)| name.starts_with(PREFIX)) {
        let Some(key) = keys.get(name) else {
            unknown.push(name);
            continue;
        };
        let value = key.read(name, text)?;
        let mut alone = Table::new();
        key.set(&mut alone, value.clone());
        Raw::deserialize(alone).map_err(|error| ConfigError::Variable {
            name: name.clone(),
            message: error.message().to_owned(),
        })?;
        key.set(&mut merged, value);
    }
    let mut secrets = Vec::new();
    merged.values().for_each(|value| secret_variables(value, &mut secrets));
    unknown.retain(|name| !secrets.contains(name));
    for name in &unknown {
        if let Some(similar) = keys.keys().find(|key| is_misspelt(name, key)) {
            return Err(ConfigError::MisspeltVariable {
                name: (*name).clone(),
                similar: similar.clone(),
            });
        }
    }
    let ignored = unknown.into_iter().cloned().collect();
    let raw = Raw::deserialize(merged)
        .map_err(|error| ConfigError::Whole { message: error.message().to_owned() })?;
    Ok(Overlaid { raw, ignored })
}

fn keys_by_variable() -> BTreeMap<String, ConfigKey> {
    let defaults = Table::try_from(Raw::default()).expect("the defaults are plain TOML");
    let mut all = BTreeMap::new();
    for (section, value) in defaults {
        let Value::Table(keys) = value else {
            let name = format!("{PREFIX}{}", section.to_uppercase());
            all.insert(name, ConfigKey { section, key: None, default: value });
            continue;
        };
        for (key, default) in keys {
            let name = format!("{PREFIX}{}_{}", section.to_uppercase(), key.to_uppercase());
            let section = section.clone();
            all.insert(name, ConfigKey { section, key: Some(key), default });
        }
    }
    all
}

/// The names of all variables, for the documentation and its test.
#[cfg(test)]
pub(crate) fn names() -> Vec<String> {
    keys_by_variable().into_keys().collect()
}

impl ConfigKey {
    /// Text is taken literally where the key holds text; anything else is a TOML value.
    fn read(&self, name: &str, text: &str) -> Result<Value, ConfigError> {
        if self.default.is_str() {
            return Ok(Value::String(text.to_owned()));
        }
        text.parse::<Value>().map_err(|_| ConfigError::Variable {
            name: name.to_owned(),
            message: format!("expected {}", self.expected()),
        })
    }

    fn expected(&self) -> &'static str {
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

/// Collects the variables that hold secrets: all that a `secret_env` names.
fn secret_variables(value: &Value, into: &mut Vec<String>) {
    match value {
        Value::Table(table) => {
            into.extend(table.get("secret_env").and_then(Value::as_str).map(str::to_owned));
            table.values().for_each(|value| secret_variables(value, into));
        }
        Value::Array(values) => values.iter().for_each(|value| secret_variables(value, into)),
        _ => {}
    }
}

/// Whether `name` is probably a misspelling of `key`: few differences for its length.
fn is_misspelt(name: &str, key: &str) -> bool {
    let (name, key) = (&name[PREFIX.len()..], &key[PREFIX.len()..]);
    let typos = (key.len() / LENGTH_PER_TYPO).clamp(1, MAX_TYPOS);
    // A much longer name is a different one, and comparing takes quadratic time.
    name.len().abs_diff(key.len()) <= typos && damerau_levenshtein(name, key) <= typos
}
