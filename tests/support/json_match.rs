//! Compares JSON with an expectation in which placeholders stand for unpredictable values.

use std::collections::BTreeMap;

use serde_json::Value;

/// The values found for `<any:name>`, by name.
pub(crate) type Placeholders = BTreeMap<String, Value>;

/// Fails unless `actual` is `expected`, in which the strings `<string>`, `<number>`, `<any>` and
/// `<any:name>` stand for values of their kind (docs/transcripts/README.md).
#[track_caller]
pub(crate) fn assert_json_matches(actual: &Value, expected: &Value, seen: &mut Placeholders) {
    assert!(matches(actual, expected, seen), "got      {actual}\nexpected {expected}");
}

fn matches(actual: &Value, expected: &Value, seen: &mut Placeholders) -> bool {
    match (expected, actual) {
        (Value::String(text), _) if text.starts_with('<') => {
            placeholder_matches(text, actual, seen)
        }
        (Value::Object(expected), Value::Object(actual)) => {
            expected.len() == actual.len()
                && expected
                    .iter()
                    .all(|(name, e)| actual.get(name).is_some_and(|a| matches(a, e, seen)))
        }
        (Value::Array(expected), Value::Array(actual)) => {
            expected.len() == actual.len()
                && expected.iter().zip(actual).all(|(e, a)| matches(a, e, seen))
        }
        _ => expected == actual,
    }
}

fn placeholder_matches(placeholder: &str, actual: &Value, seen: &mut Placeholders) -> bool {
    match placeholder {
        "<string>" => actual.is_string(),
        "<number>" => actual.is_number(),
        "<any>" => true,
        named if named.starts_with("<any:") => {
            seen.entry(named.to_owned()).or_insert_with(|| actual.clone()) == actual
        }
        unknown => panic!("unknown placeholder in an expected frame: {unknown}"),
    }
}
