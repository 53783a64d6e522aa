//! Inside a room no two files use each other, directly or by way of others.
//!
//! A file uses another by a path, and by calling a method that the other gives to a type of a third
//! (a type whose methods are spread over files is as tangled as its files are).

use std::collections::{BTreeMap, BTreeSet};

use super::modules::{Modules, Place};
use super::source::Source;
use super::{assert_none, made_up, real};

/// Files of a room, by index, and those that each of them uses.
type Graph = BTreeMap<usize, BTreeSet<usize>>;

/// One complaint for each circle of each room.
fn circles(modules: &Modules) -> Vec<String> {
    let mut rooms: BTreeMap<&str, Graph> = BTreeMap::new();
    let methods = spread_methods(modules);
    for (at, file) in modules.files.iter().enumerate() {
        let mut uses = BTreeSet::new();
        for path in file.found.used.iter().chain(&file.found.mentioned) {
            let Place::Ours(path) = modules.expand(file, path) else { continue };
            // A module that is imported is used by the paths that begin with it.
            let used = modules.file_of(&path).filter(|to| modules.files[*to].module != path);
            uses.extend(used);
        }
        uses.extend(file.found.called.iter().filter_map(|method| methods.get(method)));
        uses.remove(&at);
        uses.retain(|to| modules.files[*to].source.room() == file.source.room());
        rooms.entry(file.source.room()).or_default().insert(at, uses);
    }
    let mut complaints = Vec::new();
    for graph in rooms.values() {
        complaints.extend(tangles(graph).iter().map(|tangle| show(modules, graph, tangle)));
    }
    complaints
}

/// Methods of unmistakable names that are given to a type outside of the type's own file.
fn spread_methods(modules: &Modules) -> BTreeMap<String, usize> {
    let mut places: BTreeMap<&str, Vec<(usize, bool)>> = BTreeMap::new();
    for (at, file) in modules.files.iter().enumerate() {
        for (of, method) in &file.found.methods {
            let spread = !file.found.defined.contains(of);
            places.entry(method).or_default().push((at, spread));
        }
    }
    let alone = places.into_iter().filter_map(|(method, places)| match places[..] {
        [(at, true)] => Some((method.to_owned(), at)),
        _ => None,
    });
    alone.collect()
}

/// Sets of files each of which reaches all others of its set.
fn tangles(graph: &Graph) -> Vec<BTreeSet<usize>> {
    let reached: BTreeMap<usize, BTreeSet<usize>> =
        graph.keys().map(|&from| (from, reach(graph, from))).collect();
    let mut tangles: Vec<BTreeSet<usize>> = Vec::new();
    for &at in graph.keys().filter(|at| reached[at].contains(at)) {
        if !tangles.iter().any(|tangle| tangle.contains(&at)) {
            let both = reached[&at].iter().filter(|to| reached[to].contains(&at));
            tangles.push(both.copied().collect());
        }
    }
    tangles
}

/// What can be come to from `from`, itself only by a circle.
fn reach(graph: &Graph, from: usize) -> BTreeSet<usize> {
    let mut reached = BTreeSet::new();
    let mut open = vec![from];
    while let Some(at) = open.pop() {
        for &to in &graph[&at] {
            if reached.insert(to) {
                open.push(to);
            }
        }
    }
    reached
}

fn show(modules: &Modules, graph: &Graph, tangle: &BTreeSet<usize>) -> String {
    let name = |at: &usize| modules.files[*at].source.below_src().to_owned();
    let line = |at: &usize| {
        let uses: Vec<String> = graph[at].intersection(tangle).map(name).collect();
        format!("  {} uses {}", name(at), uses.join(", "))
    };
    let lines: Vec<String> = tangle.iter().map(line).collect();
    format!("a circle of {} files:\n{}", tangle.len(), lines.join("\n"))
}

#[test]
fn no_room_has_a_circle_of_files() {
    assert_none(&circles(real()));
}

#[test]
fn finds_two_files_that_use_each_other() {
    let a = ("src/hub/a.rs", "use super::b::B; pub struct A(B);");
    let b = ("src/hub/b.rs", "pub struct B; fn f() { super::a::g(); }");
    let c = ("src/hub/c.rs", "use super::a::A;");
    let found = circles(&made_up(&[a, b, c]));
    assert_eq!(found, ["a circle of 2 files:\n  hub/a.rs uses hub/b.rs\n  hub/b.rs uses hub/a.rs"]);
    assert_none(&circles(&made_up(&[a, ("src/hub/b.rs", "pub struct B;"), c])));
}

#[test]
fn re_exports_make_no_circle() {
    let root = ("src/hub/mod.rs", "mod a; mod b; pub use a::A;");
    let files = [root, ("src/hub/a.rs", "pub struct A;"), ("src/hub/b.rs", "use super::A;")];
    assert_none(&circles(&made_up(&files)));
}

#[test]
fn finds_the_use_of_a_function_named_as_its_module() {
    let a = ("src/hub/a.rs", "use super::check; pub struct A; fn f() { check::check() }");
    let b = ("src/hub/check.rs", "use super::a::A; pub fn check() {}");
    assert_eq!(circles(&made_up(&[a, b])).len(), 1);
    let importing = ("src/hub/a.rs", "use super::check; pub struct A;");
    assert_none(&circles(&made_up(&[importing, b])));
}

#[test]
fn finds_methods_in_two_files_that_call_each_other() {
    let root = ("src/hub/mod.rs", "struct Shard; impl Shard { fn turn(&mut self) {} }");
    let read = ("src/hub/read.rs", "impl Shard { fn receive(&mut self) { self.answer_all(); } }");
    let write = ("src/hub/write.rs", "impl Shard { fn answer_all(&mut self) { self.receive(); } }");
    assert_eq!(circles(&made_up(&[root, read, write])).len(), 1);
}

#[test]
fn ignores_circles_between_rooms() {
    let files = [Source::new("src/hub/a.rs", "use crate::layer::B; pub struct A;")];
    let mut sources = Vec::from(files);
    sources.push(Source::new("src/layer.rs", "use crate::hub::a::A; pub struct B;"));
    assert_none(&circles(&Modules::new(sources)));
}
