//! Compares what was received with what was expected, some values of which cannot be known.

use std::collections::BTreeMap;

use serde_json::Value;

/// Values seen under the names of `<any:name>`.
pub(crate) type Seen = BTreeMap<String, Value>;

/// Fails unless `actual` is `expected`, in which the strings `<string>`, `<number>`, `<any>` and
/// `<any:name>` stand for values of their kind (docs/transcripts/README.md).
#[track_caller]
pub(crate) fn assert_like(actual: &Value, expected: &Value, seen: &mut Seen) {
    assert!(is_like(actual, expected, seen), "got      {actual}\nexpected {expected}");
}

fn is_like(actual: &Value, expected: &Value, seen: &mut Seen) -> bool {
    match (expected, actual) {
        (Value::String(text), _) if text.starts_with('<') => stands_for(text, actual, seen),
        (Value::Object(expected), Value::Object(actual)) => {
            expected.len() == actual.len()
                && expected
                    .iter()
                    .all(|(name, e)| actual.get(name).is_some_and(|a| is_like(a, e, seen)))
        }
        (Value::Array(expected), Value::Array(actual)) => {
            expected.len() == actual.len()
                && expected.iter().zip(actual).all(|(e, a)| is_like(a, e, seen))
        }
        _ => expected == actual,
    }
}

fn stands_for(placeholder: &str, actual: &Value, seen: &mut Seen) -> bool {
    match placeholder {
        "<string>" => actual.is_string(),
        "<number>" => actual.is_number(),
        "<any>" => true,
        named if named.starts_with("<any:") => {
            seen.entry(named.to_owned()).or_insert_with(|| actual.clone()) == actual
        }
        unknown => panic!("{unknown} is no placeholder of what is received"),
    }
}
