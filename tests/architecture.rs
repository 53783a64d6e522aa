//! The house: rooms import downwards only, each foreign crate lives in its room, files stay short.
//!
//! ARCHITECTURE.md says why. What is kept by a test need not be kept by attention.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The rooms, each importing only those before it.
const ROOMS: [&str; 31] = [
    "bounded_map",
    "byte_budget",
    "clock",
    "excerpt",
    "group",
    "event",
    "telemetry",
    "shutdown",
    "supervisor",
    "failpoint",
    "lua_table",
    "frame",
    "protocol",
    "identity",
    "socket",
    "hub",
    "layer",
    "channels",
    "sources",
    "backend",
    "publish",
    "coordinator",
    "http",
    "server",
    "api",
    "config",
    "doctor",
    "dev",
    "app",
    "lib",
    "main",
];

/// Rooms that may not know each other although the order would let them.
const STRANGERS: [(&str, &str); 4] =
    [("layer", "hub"), ("layer", "socket"), ("layer", "identity"), ("api", "server")];

/// Foreign crates and the only places that know them, as beginnings of paths below `src`.
const OWNED: [(&str, &[&str]); 11] = [
    ("axum", &["http/", "server/", "api/", "dev/", "app.rs"]),
    ("hyper", &["backend/", "http/", "server/"]),
    ("hyper_util", &["backend/", "http/", "server/", "dev/"]),
    ("http_body_util", &["backend/", "api/"]),
    ("tower", &["http/", "api/"]),
    ("tower_http", &["server/", "api/"]),
    ("tokio_tungstenite", &["socket/decoder"]),
    ("jsonwebtoken", &["identity/"]),
    ("mio", &["socket/", "hub/"]),
    ("fred", &["layer/"]),
    ("rmp", &["channels/codec/msgpack/", "lua_table"]),
];

/// Longest file, and the longest that half of the files may be.
const MAX_LINES: usize = 450;
const MAX_MEDIAN: usize = 170;

struct Source {
    /// Below `src`, such as `hub/shard.rs`.
    path: String,
    text: String,
}

impl Source {
    fn room(&self) -> &str {
        let first = self.path.split('/').next().unwrap_or_default();
        match first.strip_suffix(".rs").unwrap_or(first) {
            "cmd" => "main",
            room => room,
        }
    }

    fn is_test(&self) -> bool {
        self.path.ends_with("tests.rs") || self.path.contains("/tests/")
    }

    /// The code above the unit tests, comments taken out.
    fn code(&self) -> String {
        let above = self.text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
        let lines = above.lines().filter(|line| !line.trim_start().starts_with("//"));
        lines.flat_map(|line| [line, "\n"]).collect()
    }

    /// Rooms named after `crate::`, alone or in braces, in `use` lines and in the code alike.
    fn rooms_used(&self) -> BTreeSet<String> {
        let code = self.code();
        let mut used = BTreeSet::new();
        for after in code.split("crate::").skip(1) {
            match after.strip_prefix('{') {
                None => drop(used.insert(word(after))),
                Some(list) => used.extend(list_heads(list)),
            }
        }
        used
    }
}

/// The first names of a braced list of paths, nested braces skipped.
fn list_heads(list: &str) -> Vec<String> {
    let mut heads = vec![word(list.trim_start())];
    let mut depth = 0;
    for (at, c) in list.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => heads.push(word(list[at + 1..].trim_start())),
            _ => {}
        }
    }
    heads.retain(|head| !head.is_empty());
    heads
}

fn word(text: &str) -> String {
    text.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect()
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut folders: Vec<PathBuf> = vec![root.clone()];
    let mut sources = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                let path = path.strip_prefix(&root).unwrap().display().to_string();
                sources.push(Source { path, text });
            }
        }
    }
    assert!(sources.len() > 30, "src was found: {} files", sources.len());
    sources
}

fn place(room: &str) -> Option<usize> {
    ROOMS.iter().position(|known| *known == room)
}

#[test]
fn every_file_belongs_to_a_room() {
    for source in sources() {
        assert!(place(source.room()).is_some(), "{} is in no room", source.path);
    }
}

#[test]
fn rooms_import_downwards_only() {
    for source in sources().iter().filter(|source| !source.is_test()) {
        let room = source.room();
        for used in source.rooms_used() {
            let Some(below) = place(&used) else {
                // An item of lib.rs itself: only what is above lib may use those.
                assert!(room == "lib" || room == "main", "{} uses crate::{used}", source.path);
                continue;
            };
            let allowed = room == "main" || used == room || Some(below) < place(room);
            assert!(allowed, "{}: {room} may not know {used}", source.path);
            let strangers = STRANGERS.contains(&(room, used.as_str()));
            assert!(!strangers, "{}: {room} may not know {used}", source.path);
        }
    }
}

#[test]
fn a_foreign_crate_stays_in_its_room() {
    for source in sources().iter().filter(|source| !source.is_test()) {
        let code = source.code();
        for (foreign, homes) in OWNED {
            let names = |(at, _): (usize, &str)| {
                let before = code[..at].chars().next_back();
                !before.is_some_and(|c| c.is_ascii_alphanumeric() || c == '_')
            };
            let used = code.match_indices(&format!("{foreign}::")).any(names);
            let at_home = homes.iter().any(|home| source.path.starts_with(home));
            assert!(
                !used || at_home,
                "{} knows {foreign}, which belongs to {homes:?}",
                source.path
            );
        }
    }
}

#[test]
fn the_hot_path_has_no_async_functions() {
    for source in sources() {
        let shard = ["hub/shard/", "hub/store/", "hub/deliver/", "hub/join/", "hub/receive/"];
        let hot = ["frame", "socket/", "protocol/"].into_iter().chain(shard);
        let hot: Vec<_> = hot.collect();
        if hot.iter().any(|hot| source.path.starts_with(hot)) && !source.is_test() {
            assert!(!source.code().contains("async fn"), "{} must be plain", source.path);
        }
    }
}

#[test]
fn files_are_short() {
    let mut lengths = Vec::new();
    for source in sources() {
        let length = source.text.lines().count();
        assert!(length <= MAX_LINES, "{} has {length} lines; at most {MAX_LINES}", source.path);
        lengths.push(length);
    }
    lengths.sort_unstable();
    let median = lengths[lengths.len() / 2];
    assert!(median <= MAX_MEDIAN, "the median file has {median} lines; at most {MAX_MEDIAN}");
}

#[test]
fn every_module_opens_with_its_charter() {
    for source in sources().iter().filter(|source| !source.is_test()) {
        assert!(source.text.starts_with("//! "), "{} does not say what it is for", source.path);
    }
}
