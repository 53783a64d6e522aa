//! A shard is a plain loop: nothing that touches one is asynchronous.

use super::modules::Modules;
use super::{assert_none, made_up, real};

/// What shards run, as beginnings of paths below `src`.
const SHARDS: [&str; 4] = ["frame", "hub/", "protocol/", "socket/"];

/// The hub's interface for other rooms, which may wait for a shard, and the sender of its inbox.
const HANDLES: [&str; 2] = ["hub/handle", "hub/inbox"];

/// Lines that are asynchronous where nothing may be, and paths that match no file.
fn asynchronous(modules: &Modules, shards: &[&str], handles: &[&str]) -> Vec<String> {
    let all = shards.iter().chain(handles);
    let unmatched = all.filter(|beginning| {
        !modules.files.iter().any(|file| file.source.below_src().starts_with(**beginning))
    });
    let mut complaints: Vec<String> =
        unmatched.map(|beginning| format!("no file begins with {beginning}")).collect();
    for file in &modules.files {
        let path = file.source.below_src();
        let within = |places: &[&str]| places.iter().any(|place| path.starts_with(place));
        if within(shards) && !within(handles) {
            let lines = file.found.asynchronous.iter();
            complaints.extend(lines.map(|line| format!("{path}:{line} is asynchronous")));
        }
    }
    complaints
}

#[test]
fn nothing_that_touches_a_shard_is_asynchronous() {
    assert_none(&asynchronous(real(), &SHARDS, &HANDLES));
}

#[test]
fn finds_every_kind_of_asynchronous_code() {
    for text in [
        "async fn f() {}",
        "fn f() { g(async {}) }",
        "fn f() { g(async || ()) }",
        "fn f() { spawn!(async move { 1 }) }",
        "impl A { async fn f() {} }",
        "fn f() { h!(x.await) }",
    ] {
        let found = asynchronous(&made_up(&[("src/hub/shard.rs", text)]), &["hub/"], &[]);
        assert_eq!(found, ["hub/shard.rs:1 is asynchronous"], "{text}");
    }
}

#[test]
fn handles_and_tests_may_await_a_shard() {
    let test = "#[cfg(test)] mod tests { async fn f() {} }";
    let files = [("src/hub/handle.rs", "async fn f() {}"), ("src/hub/shard.rs", test)];
    assert_none(&asynchronous(&made_up(&files), &["hub/"], &["hub/handle.rs"]));
}

#[test]
fn finds_a_path_that_matches_no_file() {
    let modules = made_up(&[("src/hub/shard.rs", "")]);
    let found = asynchronous(&modules, &["hub/", "hub/group"], &["hub/handle.rs"]);
    assert_eq!(found, ["no file begins with hub/group", "no file begins with hub/handle.rs"]);
}
