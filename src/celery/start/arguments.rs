//! The declared shape of a task's arguments, and checks them against it.
//!
//! What passes is written anew from what was read, so a worker reads what was checked here: no
//! member twice, no lone surrogate, no number or depth that Python refuses.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::excerpt::{VALUE, excerpt};

/// Length of a text and items of an array or object, unless declared.
const MAX_LENGTH: f64 = 1000.0;

/// A member with this name is an instruction to kombu's decoder, which fails at what it does not
/// know: the task could not be decoded.
const KOMBU_TYPE: &str = "__type__";

/// The types of JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum JsonKind {
    String,
    Integer,
    Number,
    Boolean,
    Object,
    Array,
    /// Whatever it is.
    Any,
}

/// What one argument may be.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ArgumentShape {
    pub(crate) kind: JsonKind,
    /// Whether it may be missing or null.
    pub(crate) is_optional: bool,
    /// Least value of a number, or fewest characters or items.
    pub(crate) min: Option<f64>,
    /// Greatest value of a number, or most characters or items.
    pub(crate) max: Option<f64>,
}

/// The arguments that a browser gave, or what is wrong with them. Members of these `names` name the
/// call, unless there are arguments of that name.
pub(super) fn checked(
    shapes: &BTreeMap<String, ArgumentShape>,
    data: Option<&RawValue>,
    names: &[&str],
) -> Result<Map<String, Value>, String> {
    let value = data.map_or(Ok(Value::Null), |data| serde_json::from_str(data.get()));
    let mut given = match value {
        Ok(Value::Object(given)) => given,
        Ok(Value::Null) => Map::new(),
        Ok(other) => return Err(format!("the arguments are {}, not an object", kind(&other))),
        Err(error) => return Err(format!("the arguments cannot be read: {error}")),
    };
    given.retain(|name, _| shapes.contains_key(name) || !names.contains(&name.as_str()));
    for name in given.keys() {
        if !shapes.contains_key(name) {
            let known: Vec<_> = shapes.keys().map(String::as_str).collect();
            let (name, known) = (excerpt(name, VALUE), known.join(", "));
            return Err(format!("argument {name:?} is not known; {known} are"));
        }
    }
    for (name, shape) in shapes {
        shape.check(given.get(name)).map_err(|problem| format!("argument {name:?} {problem}"))?;
    }
    Ok(given)
}

impl ArgumentShape {
    fn check(&self, value: Option<&Value>) -> Result<(), String> {
        let Some(value) = value.filter(|value| !(self.is_optional && value.is_null())) else {
            return if self.is_optional { Ok(()) } else { Err("is missing".to_owned()) };
        };
        if !self.kind.is_of(value) {
            return Err(format!("is {}; {} is expected", kind(value), self.kind.text()));
        }
        self.check_size(value)?;
        if has_member(value, KOMBU_TYPE) {
            return Err(format!("has a member {KOMBU_TYPE:?}, which is Celery's own"));
        }
        Ok(())
    }

    fn check_size(&self, value: &Value) -> Result<(), String> {
        let (size, of, most) = match value {
            Value::Number(number) => (number.as_f64().unwrap_or_default(), "", None),
            Value::String(text) => (text.chars().count() as f64, " characters", Some(MAX_LENGTH)),
            Value::Array(items) => (items.len() as f64, " items", Some(MAX_LENGTH)),
            Value::Object(members) => (members.len() as f64, " members", Some(MAX_LENGTH)),
            Value::Null | Value::Bool(_) => return Ok(()),
        };
        match (self.min, self.max.or(most)) {
            (Some(min), _) if size < min => {
                Err(format!("is {size}{of}; at least {min} is allowed"))
            }
            (_, Some(max)) if size > max => Err(format!("is {size}{of}; at most {max} is allowed")),
            _ => Ok(()),
        }
    }
}

impl JsonKind {
    fn is_of(self, value: &Value) -> bool {
        match self {
            Self::String => value.is_string(),
            Self::Integer => value.is_i64() || value.is_u64(),
            Self::Number => value.is_number(),
            Self::Boolean => value.is_boolean(),
            Self::Object => value.is_object(),
            Self::Array => value.is_array(),
            Self::Any => true,
        }
    }

    fn text(self) -> &'static str {
        match self {
            Self::String => "a string",
            Self::Integer => "an integer",
            Self::Number => "a number",
            Self::Boolean => "true or false",
            Self::Object => "an object",
            Self::Array => "an array",
            Self::Any => "anything",
        }
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// Whether there is such a member at any depth, of which JSON here has 128 at most.
fn has_member(value: &Value, name: &str) -> bool {
    match value {
        Value::Object(object) => {
            object.contains_key(name) || object.values().any(|value| has_member(value, name))
        }
        Value::Array(values) => values.iter().any(|value| has_member(value, name)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(kind: JsonKind) -> ArgumentShape {
        ArgumentShape { kind, is_optional: false, min: None, max: None }
    }

    fn check(text: &str) -> Result<Value, String> {
        let sized = ArgumentShape { min: Some(1.0), max: Some(9.0), ..shape(JsonKind::Integer) };
        let optional = ArgumentShape { is_optional: true, ..shape(JsonKind::String) };
        let shapes = BTreeMap::from([
            ("photo".to_owned(), sized),
            ("title".to_owned(), optional.clone()),
            ("more".to_owned(), ArgumentShape { kind: JsonKind::Any, ..optional }),
        ]);
        let data = RawValue::from_string(text.to_owned()).expect("the test's JSON is legal");
        checked(&shapes, Some(&data), &[]).map(Value::Object)
    }

    #[test]
    fn takes_what_has_the_declared_shape() {
        for text in [
            r#"{"photo":7}"#,
            r#"{"photo":7,"title":"ñ","more":[1,{"a":null}]}"#,
            r#"{"photo":7,"title":null}"#,
        ] {
            assert_eq!(check(text).unwrap(), serde_json::from_str::<Value>(text).unwrap());
        }
        assert_eq!(check(r#"{"photo":1,"photo":2}"#).unwrap(), serde_json::json!({"photo": 2}));
    }

    #[test]
    fn names_what_has_not() {
        let deep = format!(r#"{{"photo":7,"more":{}{}}}"#, "[".repeat(200), "]".repeat(200));
        let long = format!(r#"{{"photo":7,"title":"{}"}}"#, "x".repeat(1001));
        for (text, word) in [
            ("[]", "not an object"),
            ("null", "\"photo\" is missing"),
            (r#"{"photo":"7"}"#, "is a string; an integer is expected"),
            (r#"{"photo":7.5}"#, "an integer is expected"),
            (r#"{"photo":123456789012345678901234567890}"#, "an integer is expected"),
            (r#"{"photo":0}"#, "at least 1 is allowed"),
            (r#"{"photo":10}"#, "at most 9 is allowed"),
            (r#"{"photo":7,"sub":"8"}"#, "\"sub\" is not known; more, photo, title are"),
            (r#"{"photo":7,"title":"\ud800"}"#, "cannot be read"),
            (r#"{"photo":7,"more":1e999}"#, "cannot be read"),
            (r#"{"photo":7,"more":[{"__type__":"uuid","__value__":"x"}]}"#, "Celery's own"),
            (&deep, "cannot be read"),
            (&long, "at most 1000"),
        ] {
            let error = check(text).unwrap_err();
            assert!(error.contains(word), "{text:.40}: {error}");
        }
    }
}
