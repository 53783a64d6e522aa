//! A name means one thing: no type of one room is called as a type of another.

use std::collections::{BTreeMap, BTreeSet};

use super::modules::Modules;
use super::{assert_none, made_up, real};

const SCHEMA: &str = "a schema of the HTTP API bears the name of what it describes";

/// Names that several rooms may use, and why.
const SHARED: [(&str, &str); 7] = [
    ("ConnectionId", SCHEMA),
    ("Event", SCHEMA),
    ("GroupName", SCHEMA),
    ("Member", SCHEMA),
    ("Send", SCHEMA),
    ("Settings", "each room's part of the configuration, written with its room: `hub::Settings`"),
    ("Shared", "what the clones of one handle share, private to the file of the handle"),
];

/// Names of types with the rooms that define them, where there are several.
fn shared(modules: &Modules) -> BTreeMap<String, BTreeSet<String>> {
    let mut rooms: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for file in &modules.files {
        for (name, _) in &file.found.types {
            rooms.entry(name.clone()).or_default().insert(file.source.room().to_owned());
        }
    }
    rooms.retain(|_, rooms| rooms.len() > 1);
    rooms
}

fn unexplained(modules: &Modules, reasons: &[(&str, &str)]) -> Vec<String> {
    let shared = shared(modules);
    let unlisted = shared.iter().filter(|(name, _)| !reasons.iter().any(|(n, _)| n == name));
    let unlisted = unlisted.map(|(name, rooms)| format!("{name} is a type of {rooms:?}"));
    let needless = reasons.iter().filter(|(name, _)| !shared.contains_key(*name));
    let needless = needless.map(|(name, _)| format!("{name} is a type of one room at most"));
    unlisted.chain(needless).collect()
}

#[test]
fn no_type_name_is_used_in_two_rooms() {
    assert_none(&unexplained(real(), &SHARED));
}

#[test]
fn finds_namesakes_without_a_reason_and_reasons_without_namesakes() {
    let files = [
        ("src/hub/a.rs", "struct Word; struct Settings;"),
        ("src/hub/b.rs", "enum Word {}"),
        ("src/layer/a.rs", "pub type Settings = u8; fn f() { struct Word; }"),
    ];
    let modules = made_up(&files);
    assert_eq!(unexplained(&modules, &[]), [r#"Settings is a type of {"hub", "layer"}"#]);
    assert_none(&unexplained(&modules, &[("Settings", "each room has its own")]));
    let needless = [("Settings", "each room has its own"), ("Word", "why not")];
    assert_eq!(unexplained(&modules, &needless), ["Word is a type of one room at most"]);
}
