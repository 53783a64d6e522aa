//! Rooms, their order and the size of files: what ARCHITECTURE.md promises, checked on the source.
//!
//! Each check takes sources and returns complaints, so that its own tests can show that it fails.

mod circles;
mod crates;
mod exposed;
mod modules;
mod reader;
mod rooms;
mod shards;
mod sizes;
mod source;
mod types;

use std::sync::LazyLock;

use modules::Modules;
use source::{Source, read_all};

/// Fails with all complaints at once: someone who moves code wants to see them all.
#[track_caller]
fn assert_none(complaints: &[String]) {
    assert!(complaints.is_empty(), "{} complaints:\n{}", complaints.len(), complaints.join("\n"));
}

/// The modules of `files`, each a path and a text.
fn made_up(files: &[(&str, &str)]) -> Modules {
    Modules::new(files.iter().map(|(path, text)| Source::new(path, text)).collect())
}

/// The modules of this repository, read once.
fn real() -> &'static Modules {
    static REAL: LazyLock<Modules> = LazyLock::new(|| Modules::new(read_all("src", "rs")));
    &REAL
}
