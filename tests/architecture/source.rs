//! Files of the repository, and which room each belongs to.

use std::fs;
use std::path::{Path, PathBuf};

/// One file.
pub(super) struct Source {
    /// From the root of the repository, such as `src/hub/shard.rs`.
    pub(super) path: String,
    pub(super) text: String,
}

impl Source {
    pub(super) fn new(path: &str, text: &str) -> Self {
        Self { path: path.to_owned(), text: text.to_owned() }
    }

    /// The part below `src`.
    pub(super) fn below_src(&self) -> &str {
        self.path.strip_prefix("src/").unwrap_or(&self.path)
    }

    /// The first part of the path below `src`; the commands belong to the binary.
    pub(super) fn room(&self) -> &str {
        let first = self.below_src().split('/').next().unwrap_or_default();
        match first.strip_suffix(".rs").unwrap_or(first) {
            "cmd" => "main",
            room => room,
        }
    }

    /// Whether the file has nothing but tests.
    pub(super) fn is_test(&self) -> bool {
        self.path.ends_with("tests.rs") || self.path.contains("/tests/")
    }

    /// The path of its module, which begins with the name of its crate.
    pub(super) fn module(&self) -> Vec<String> {
        let stem = self.below_src().trim_end_matches(".rs");
        let stem = stem.trim_end_matches("/mod");
        let (root, stem) = match stem {
            "lib" => ("groupcast", ""),
            "main" => ("main", ""),
            stem if stem == "cmd" || stem.starts_with("cmd/") => ("main", stem),
            stem => ("groupcast", stem),
        };
        let parts = stem.split('/').filter(|part| !part.is_empty());
        std::iter::once(root).chain(parts).map(str::to_owned).collect()
    }
}

/// The root of the repository.
pub(super) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All files below `folder` whose names end in `.<extension>`; there must be some.
pub(super) fn read_all(folder: &str, extension: &str) -> Vec<Source> {
    let mut folders: Vec<PathBuf> = vec![root().join(folder)];
    let mut sources = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|found| found == extension) {
                let text = fs::read_to_string(&path).unwrap();
                let path = path.strip_prefix(root()).unwrap().display().to_string();
                sources.push(Source { path, text });
            }
        }
    }
    assert!(!sources.is_empty(), "{folder} has no file that ends in .{extension}");
    sources.sort_by(|a, b| a.path.cmp(&b.path));
    sources
}

#[test]
fn derives_room_and_module_from_the_path() {
    for (path, room, module) in [
        ("src/lib.rs", "lib", "groupcast"),
        ("src/main.rs", "main", "main"),
        ("src/cmd/mod.rs", "main", "main::cmd"),
        ("src/cmd/serve.rs", "main", "main::cmd::serve"),
        ("src/frame.rs", "frame", "groupcast::frame"),
        ("src/hub/mod.rs", "hub", "groupcast::hub"),
        ("src/hub/store/groups.rs", "hub", "groupcast::hub::store::groups"),
    ] {
        let source = Source::new(path, "");
        assert_eq!((source.room(), source.module().join("::").as_str()), (room, module), "{path}");
    }
}
