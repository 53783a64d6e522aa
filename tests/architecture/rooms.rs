//! Rooms and their order; what some rooms must never know.

use std::collections::BTreeSet;

use super::modules::{Modules, Place};
use super::source::{Source, read_all, root};
use super::{assert_none, made_up, real};

/// The rooms, each importing only those before it.
pub(super) const ROOMS: [&str; 40] = [
    "bounded_map",
    "byte_budget",
    "address",
    "fair_queue",
    "recent_answer",
    "clock",
    "excerpt",
    "failpoint",
    "lua_table",
    "finding",
    "group",
    "event",
    "telemetry",
    "shutdown",
    "supervisor",
    "frame",
    "protocol",
    "identity",
    "socket",
    "hub",
    "tls",
    "layer",
    "amqp",
    "channels",
    "sources",
    "celery",
    "backend",
    "publish",
    "coordinator",
    "console",
    "http",
    "server",
    "api",
    "config",
    "dev",
    "doctor",
    "app",
    "lib",
    "cmd",
    "main",
];

/// Rooms that may not know each other although the order would let them.
const APART: [(&str, &str); 3] = [("layer", "hub"), ("layer", "socket"), ("layer", "identity")];

/// Words that must not occur in the code of a room, in any case.
const WORDS: [(&str, &[&str]); 3] = [("hub", &DJANGO), ("layer", &DJANGO), ("socket", &DJANGO)];

/// Words of one kind of user, which other rooms translate.
const DJANGO: [&str; 4] = ["django", "channels_redis", "asgi", "celery"];

fn place(room: &str) -> Option<usize> {
    let room = if room == "main" { "cmd" } else { room };
    ROOMS.iter().position(|known| *known == room)
}

fn files_without_room(modules: &Modules) -> Vec<String> {
    let homeless = modules.files.iter().filter(|file| place(file.source.room()).is_none());
    homeless.map(|file| format!("{} is in no room", file.source.path)).collect()
}

fn rooms_without_files(modules: &Modules) -> Vec<String> {
    let known: BTreeSet<&str> = modules.files.iter().map(|file| file.source.room()).collect();
    let missing = ROOMS.into_iter().filter(|room| *room != "cmd" && !known.contains(room));
    missing.map(|room| format!("the room {room} has no file")).collect()
}

/// Imports upwards, and those between rooms that are kept apart.
fn forbidden_imports(modules: &Modules) -> Vec<String> {
    let mut complaints = BTreeSet::new();
    for file in &modules.files {
        let room = file.source.room();
        let imported = file.found.imports.values().chain(&file.found.globs);
        for path in imported.chain(&file.found.mentioned) {
            let Place::Ours(path) = modules.expand(file, path) else { continue };
            let Some(used) = used_room(modules, &path) else { continue };
            let upwards = used != room && place(used) > place(room);
            if upwards || APART.contains(&(room, used)) {
                let path = path.join("::");
                complaints.insert(format!("{}: {room} may not know {path}", file.source.path));
            }
        }
    }
    complaints.into_iter().collect()
}

/// The room that a path from a root leads into: by its name, not by who defines the item.
fn used_room<'a>(modules: &'a Modules, path: &[String]) -> Option<&'a str> {
    let prefix = &path[..path.len().min(2)];
    Some(modules.files[modules.file_of(prefix)?].source.room())
}

fn forbidden_words(sources: &[Source]) -> Vec<String> {
    let mut complaints = Vec::new();
    for source in sources.iter().filter(|source| !source.is_test()) {
        let words = WORDS.iter().filter(|(room, _)| *room == source.room());
        let words: Vec<&str> = words.flat_map(|(_, words)| words.iter().copied()).collect();
        for (at, line) in source.text.lines().enumerate() {
            let line = line.to_ascii_lowercase();
            let found = words.iter().filter(|word| line.contains(*word));
            complaints.extend(found.map(|word| format!("{}:{}: {word}", source.path, at + 1)));
        }
    }
    complaints
}

fn files_without_charter(modules: &Modules) -> Vec<String> {
    let silent = modules.files.iter().filter(|file| {
        let first = file.source.text.lines().next().unwrap_or_default();
        first.strip_prefix("//! ").is_none_or(|charter| charter.split(' ').count() < 2)
    });
    silent.map(|file| format!("{} does not say what it is for", file.source.path)).collect()
}

/// Rooms of ARCHITECTURE.md's table, in its order.
fn documented_rooms(document: &str) -> Vec<String> {
    let table = document.split("| room | responsibility |").nth(1).unwrap_or_default();
    let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    let first = |row: &str| row.split('|').nth(1).unwrap_or_default().to_owned();
    let names = |cell: String| {
        let names = cell.split(',').map(|name| name.trim().trim_matches('`').to_owned());
        names.collect::<Vec<_>>()
    };
    rows.map(first).flat_map(names).collect()
}

#[test]
fn every_file_belongs_to_a_room_and_every_room_has_files() {
    assert_none(&files_without_room(real()));
    assert_none(&rooms_without_files(real()));
}

#[test]
fn every_rule_is_about_rooms_that_exist() {
    let apart = APART.iter().flat_map(|(room, other)| [room, other]);
    let named = apart.chain(WORDS.iter().map(|(room, _)| room));
    let unknown = named.filter(|room| place(room).is_none());
    assert_none(&unknown.map(|room| format!("{room} is no room")).collect::<Vec<_>>());
}

#[test]
fn rooms_import_only_earlier_rooms() {
    assert_none(&forbidden_imports(real()));
}

#[test]
fn the_rooms_that_carry_events_do_not_know_django() {
    let mut sources = read_all("src", "rs");
    sources.extend(read_all("src", "lua"));
    assert_none(&forbidden_words(&sources));
}

#[test]
fn every_file_begins_with_its_charter() {
    assert_none(&files_without_charter(real()));
}

#[test]
fn the_architecture_document_lists_the_rooms_in_their_order() {
    let document = std::fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    assert_eq!(documented_rooms(&document), ROOMS);
}

#[test]
fn finds_files_outside_of_rooms_and_rooms_without_files() {
    let modules = made_up(&[("src/attic.rs", "")]);
    assert_eq!(files_without_room(&modules), ["src/attic.rs is in no room"]);
    assert_eq!(rooms_without_files(&modules).len(), ROOMS.len() - 1);
}

#[test]
fn finds_upward_imports_in_use_items_code_and_macros() {
    let hub = ("src/hub/mod.rs", "pub struct Hub;");
    let upwards = ["use crate::hub::Hub;", "fn f() { crate::hub::f() }", "m!(crate::hub::X);"];
    for text in upwards {
        let found = forbidden_imports(&made_up(&[hub, ("src/event.rs", text)]));
        assert_eq!(found.len(), 1, "{text}: {found:?}");
    }
    let lists = ("src/event.rs", "use crate::{hub::{Hub}, group};");
    assert_eq!(forbidden_imports(&made_up(&[hub, lists])).len(), 1);
    let downwards = [hub, ("src/layer/mod.rs", ""), ("src/server.rs", "use crate::hub::Hub;")];
    assert_none(&forbidden_imports(&made_up(&downwards)));
    let apart = ("src/layer/mod.rs", "use crate::hub::Hub;");
    assert_eq!(forbidden_imports(&made_up(&[hub, apart])).len(), 1);
}

#[test]
fn items_of_the_library_root_are_for_the_binary_only() {
    let library = ("src/lib.rs", "pub fn run() {} pub mod hub;");
    let below = ("src/hub/mod.rs", "use crate::run;");
    assert_eq!(forbidden_imports(&made_up(&[library, below])).len(), 1);
    let above = ("src/cmd/serve.rs", "use groupcast::run;");
    assert_none(&forbidden_imports(&made_up(&[library, above])));
}

#[test]
fn finds_a_forbidden_word_in_comments_and_lua() {
    let sources =
        [Source::new("src/layer/a.rs", "// Django's"), Source::new("src/layer/b.lua", "'asgi:'")];
    assert_eq!(forbidden_words(&sources), ["src/layer/a.rs:1: django", "src/layer/b.lua:1: asgi"]);
}

#[test]
fn finds_a_file_without_a_charter() {
    let files = [("src/frame.rs", "use std::io;"), ("src/group.rs", "//! Names of groups.")];
    assert_eq!(files_without_charter(&made_up(&files)).len(), 1);
}
