//! Stored states and their events.

use bytes::Bytes;
use serde_json::{Value, json};

use crate::celery::CelerySettings;
use crate::celery::state::{Shown, StateError, guarded, of_value};
use crate::layer::MAX_VALUE;

const ID: &str = "d0f2";

fn shown(results: bool, errors: bool) -> CelerySettings {
    CelerySettings { show_results: results, show_errors: errors, ..CelerySettings::default() }
}

fn read(settings: &CelerySettings, value: &str) -> Result<Value, StateError> {
    let value = Bytes::copy_from_slice(value.as_bytes());
    of_value(settings, ID, Some(&value))
        .map(|shown| serde_json::from_slice(shown.event.json()).expect("an event is JSON"))
}

/// What Celery 5.7 published for a task that ran, and for one that failed, was retried or revoked.
fn recorded(kind: &str) -> Vec<String> {
    let text = include_str!("../../../tests/golden/celery-results.json");
    let all: Value = serde_json::from_str(text).expect("the recording is JSON");
    let messages = all[kind].as_array().expect("the recording has this kind");
    let payload = |message: &Value| message["payload"].as_str().unwrap_or_default().to_owned();
    messages.iter().map(payload).collect()
}

#[test]
fn shows_progress_and_hides_results_by_default() {
    let events =
        recorded("one_task_stream").into_iter().map(|value| read(&shown(false, false), &value));
    let expected = [
        json!({"type": "task.state", "id": ID, "state": "STARTED"}),
        json!({"type": "task.state", "id": ID, "state": "PROGRESS",
               "progress": {"current": 1, "total": 2}}),
        json!({"type": "task.state", "id": ID, "state": "SUCCESS"}),
    ];
    assert_eq!(events.collect::<Result<Vec<_>, _>>(), Ok(expected.to_vec()));
}

#[test]
fn shows_results_where_they_are_switched_on() {
    let last = recorded("one_task_stream").pop().expect("three states");
    let event = read(&shown(true, false), &last).expect("a state");
    assert_eq!(event["result"], json!({"ok": true, "suma": 5}));
}

#[test]
fn never_shows_a_traceback() {
    for value in recorded("failure_retry_revoked") {
        assert!(!value.contains("\"traceback\": null") || value.contains("REVOKED"), "{value}");
        for settings in [shown(false, false), shown(true, true)] {
            let event = read(&settings, &value).expect("a state").to_string();
            assert!(!event.contains("Traceback") && !event.contains(".py"), "{event}");
        }
    }
}

#[test]
fn shows_errors_where_they_are_switched_on() {
    let failure = recorded("failure_retry_revoked").swap_remove(0);
    let bare = json!({"type": "task.state", "id": ID, "state": "FAILURE"});
    assert_eq!(read(&shown(true, false), &failure), Ok(bare));
    let event = read(&shown(false, true), &failure).expect("a state");
    assert_eq!(event["error"], json!({"type": "ValueError", "message": "algo salió mal"}));
}

#[test]
fn is_pending_while_nothing_is_stored() {
    let Shown { event, .. } = of_value(&shown(false, false), ID, None).expect("a state");
    let json: Value = serde_json::from_slice(event.json()).expect("an event is JSON");
    assert_eq!(json, json!({"type": "task.state", "id": ID, "state": "PENDING"}));
}

#[test]
fn keeps_states_that_a_site_invents() {
    let value = r#"{"status":"CUTTING","result":{"page":3}}"#;
    let event = read(&shown(false, false), value).expect("a state");
    assert_eq!((&event["state"], &event["progress"]), (&json!("CUTTING"), &json!({"page": 3})));
}

#[test]
fn leaves_out_what_no_event_can_hold() {
    let large = format!(r#"{{"status":"SUCCESS","result":"{}"}}"#, "x".repeat(100_000));
    let deep = format!(r#"{{"status":"SUCCESS","result":{}{}}}"#, "[".repeat(64), "]".repeat(64));
    let half = r#"{"status":"SUCCESS","result":"\ud83d"}"#.to_owned();
    let expected = json!({"type": "task.state", "id": ID, "state": "SUCCESS", "omitted": "result"});
    for value in [large, deep, half] {
        assert_eq!(read(&shown(true, false), &value), Ok(expected.clone()));
    }
}

#[test]
fn knows_the_state_of_a_value_that_was_cut() {
    let mut value = r#"{"status": "SUCCESS", "result": ""#.to_owned();
    value.push_str(&"x".repeat(MAX_VALUE - value.len()));
    let event = read(&shown(true, false), &value).expect("a state");
    assert_eq!((&event["state"], &event["omitted"]), (&json!("SUCCESS"), &json!("result")));
    let event = read(&shown(false, false), &value).expect("a state");
    assert_eq!((&event["state"], event.get("omitted")), (&json!("SUCCESS"), None));
}

#[test]
fn discards_what_is_no_state() {
    let pickle = "\u{80}\u{4}.";
    assert!(matches!(read(&shown(false, false), pickle), Err(StateError::NotJson(0xc2))));
    let compressed = "\0celery-compressed\0application/json\0x";
    assert!(matches!(read(&shown(false, false), compressed), Err(StateError::NotJson(0))));
    let long = format!(r#"{{"status":"{}"}}"#, "x".repeat(101));
    for value in ["{", "{}", r#"{"status":5}"#, r#"{"status":""}"#, r#"{"status":"A"}{"#, &long] {
        let error = read(&shown(false, false), value);
        assert!(matches!(error, Err(StateError::Malformed(_))), "{value}: {error:?}");
    }
}

#[test]
fn a_panic_while_decoding_discards_that_value_alone() {
    let decoded = guarded(|| -> Result<(), StateError> { panic!("on purpose") });
    assert_eq!(decoded, Err(StateError::Malformed("it made the decoder panic".to_owned())));
}
