//! Foreign crates: which rooms may know each of them.

use std::collections::BTreeSet;
use std::fs;

use super::modules::{File, Modules, Place};
use super::source::root;
use super::{assert_none, made_up, real};

/// Crates that any room may use: data, errors, randomness, time and logging.
const EVERYWHERE: [&str; 11] = [
    "aws_lc_rs",
    "bytes",
    "data_encoding",
    "futures_util",
    "parking_lot",
    "percent_encoding",
    "serde",
    "serde_json",
    "thiserror",
    "tokio",
    "tracing",
];

/// The only places that know each of the others, as beginnings of paths below `src`.
const HOMES: [(&str, &[&str]); 27] = [
    ("async_rs", &["amqp/"]),
    ("axum", &["api/", "app.rs", "dev/", "http/", "server/"]),
    ("clap", &["cmd/", "main.rs"]),
    ("dashmap", &["hub/", "layer/"]),
    ("fred", &["layer/"]),
    ("http_body_util", &["api/", "backend/"]),
    ("hyper", &["backend/", "http/", "server/"]),
    ("hyper_util", &["backend/", "dev/", "http/"]),
    ("jsonwebtoken", &["identity/"]),
    ("lapin", &["amqp/"]),
    ("metrics", &["telemetry/"]),
    ("metrics_exporter_prometheus", &["telemetry/"]),
    ("mio", &["hub/", "socket/"]),
    ("nix", &["doctor/", "failpoint.rs", "server/"]),
    ("rmp", &["channels/codec/msgpack/", "lua_table.rs"]),
    ("rustls_native_certs", &["tls/"]),
    ("slab", &["hub/", "socket/"]),
    ("socket2", &["http/", "socket/"]),
    ("strsim", &["config/"]),
    ("tokio_rustls", &["tls/"]),
    ("tokio_tungstenite", &["socket/decoder/"]),
    ("toml", &["config/"]),
    ("tower", &["api/", "http/"]),
    ("tower_http", &["api/"]),
    ("tracing_appender", &["telemetry/"]),
    ("tracing_subscriber", &["telemetry/"]),
    ("utoipa", &["api/", "http/"]),
];

/// Dependencies of Cargo.toml, spelt as in Rust.
fn dependencies(manifest: &str) -> BTreeSet<String> {
    let section = manifest.split("\n[dependencies]\n").nth(1).unwrap_or_default();
    let lines = section.lines().take_while(|line| !line.starts_with('['));
    let name = |line: &str| line.split(['=', '.', ' ']).next().map(|name| name.replace('-', "_"));
    lines.filter_map(name).filter(|name| !name.is_empty() && !name.starts_with('#')).collect()
}

fn foreign<'a>(modules: &Modules, file: &File, known: &'a BTreeSet<String>) -> BTreeSet<&'a str> {
    let paths = file.found.used.iter().chain(file.found.imports.values());
    let paths = paths.chain(&file.found.globs).chain(&file.found.mentioned);
    let mut crates = BTreeSet::new();
    for path in paths {
        // A name alone may be a variable; a crate is followed by what is used of it.
        let Place::Elsewhere(path) = modules.expand(file, path) else { continue };
        if path.len() > 1 && !file.found.defined.contains(&path[0]) {
            crates.extend(known.get(&path[0]).map(String::as_str));
        }
    }
    crates
}

/// Uses of a crate outside of its homes.
fn strays(modules: &Modules, known: &BTreeSet<String>, homes: &[(&str, &[&str])]) -> Vec<String> {
    let mut complaints = Vec::new();
    for file in &modules.files {
        let path = file.source.below_src();
        for name in foreign(modules, file, known) {
            let listed = homes.iter().find(|(listed, _)| *listed == name);
            if let Some((_, homes)) = listed.filter(|(_, homes)| !begins(path, homes)) {
                complaints.push(format!("{path} knows {name}, whose rooms are {homes:?}"));
            }
        }
    }
    complaints
}

/// Homes in which their crate is not used.
fn deserted(modules: &Modules, known: &BTreeSet<String>, homes: &[(&str, &[&str])]) -> Vec<String> {
    let mut unused: BTreeSet<(&str, &str)> = BTreeSet::new();
    for (name, homes) in homes {
        unused.extend(homes.iter().map(|home| (*name, *home)));
    }
    for file in &modules.files {
        let crates = foreign(modules, file, known);
        let path = file.source.below_src();
        unused.retain(|(name, home)| !(crates.contains(name) && path.starts_with(home)));
    }
    unused.iter().map(|(name, home)| format!("{home} does not use {name}")).collect()
}

fn begins(path: &str, homes: &[&str]) -> bool {
    homes.iter().any(|home| path.starts_with(home))
}

/// Dependencies that are in neither table.
fn unlisted(known: &BTreeSet<String>, listed: &[&str]) -> Vec<String> {
    let unknown = known.iter().filter(|name| !listed.contains(&name.as_str()));
    unknown.map(|name| format!("{name} is in no table: which rooms may know it?")).collect()
}

fn known() -> BTreeSet<String> {
    dependencies(&fs::read_to_string(root().join("Cargo.toml")).unwrap())
}

#[test]
fn foreign_crates_stay_in_their_rooms() {
    assert_none(&strays(real(), &known(), &HOMES));
}

#[test]
fn every_home_of_a_crate_uses_it() {
    assert_none(&deserted(real(), &known(), &HOMES));
}

#[test]
fn every_dependency_has_its_rooms() {
    let listed: Vec<&str> = HOMES.iter().map(|(name, _)| *name).chain(EVERYWHERE).collect();
    assert_none(&unlisted(&known(), &listed));
}

#[test]
fn finds_a_crate_outside_of_its_rooms() {
    let known = BTreeSet::from(["fred".to_owned(), "mio".to_owned()]);
    let homes: [(&str, &[&str]); 2] = [("fred", &["layer/"]), ("mio", &["hub/", "socket/"])];
    let files = [
        ("src/layer/mod.rs", "use fred::Client;"),
        ("src/hub/mod.rs", "mod metrics; fn f(poll: &mio::Poll) { metrics::mio(poll) }"),
        ("src/hub/look.rs", "use fred::Client;"),
        ("src/socket/mod.rs", "fn f(fred: u8) -> u8 { fred }"),
    ];
    let expected = [r#"hub/look.rs knows fred, whose rooms are ["layer/"]"#];
    assert_eq!(strays(&made_up(&files), &known, &homes), expected);
}

#[test]
fn requires_rooms_for_a_new_dependency() {
    let manifest = "[package]\n[dependencies]\n# Why.\nhyper-util = \"1\"\n\
        serde.workspace = true\n\n\
        [lints]\nx = 1\n";
    let known = dependencies(manifest);
    assert_eq!(known, BTreeSet::from(["hyper_util".to_owned(), "serde".to_owned()]));
    assert_eq!(unlisted(&known, &["serde"]).len(), 1);
    assert_none(&unlisted(&known, &["serde", "hyper_util"]));
}

#[test]
fn finds_homes_that_do_not_use_their_crate() {
    let known = BTreeSet::from(["mio".to_owned()]);
    let files = [("src/hub/mod.rs", "use mio::Poll;"), ("src/socket/mod.rs", "fn f(mio: u8) {}")];
    let homes: [(&str, &[&str]); 1] = [("mio", &["hub/", "socket/"])];
    assert_eq!(deserted(&made_up(&files), &known, &homes), ["socket/ does not use mio"]);
}
