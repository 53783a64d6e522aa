//! Which file a path leads to: through imports, and through what a module hands on.

use std::collections::BTreeMap;

use super::reader::{Found, Written, read};
use super::source::Source;

/// Re-exports of re-exports, at most so many.
const MAX_STEPS: usize = 8;

/// One file with what was found in it, unit tests left out.
pub(super) struct File {
    pub(super) source: Source,
    pub(super) module: Written,
    pub(super) found: Found,
}

/// All files, by index.
pub(super) struct Modules {
    pub(super) files: Vec<File>,
    by_module: BTreeMap<Written, usize>,
}

/// Where a path leads, as seen from a file.
#[derive(Debug, PartialEq)]
pub(super) enum Place {
    /// A path from the root of one of our crates.
    Ours(Written),
    /// Something that this project does not define, or that is defined in the file itself.
    Elsewhere(Written),
}

impl Modules {
    /// Of `sources`; files of tests are left out.
    pub(super) fn new(sources: Vec<Source>) -> Self {
        let files: Vec<File> = sources
            .into_iter()
            .filter(|source| !source.is_test())
            .map(|source| {
                let found = read(&source.path, &source.text, false);
                File { module: source.module(), source, found }
            })
            .collect();
        let by_module = files.iter().enumerate().map(|(at, file)| (file.module.clone(), at));
        Self { by_module: by_module.collect(), files }
    }

    /// What `path` refers to in `file`.
    pub(super) fn expand(&self, file: &File, path: &[String]) -> Place {
        self.expand_within(file, path, MAX_STEPS)
    }

    fn expand_within(&self, file: &File, path: &[String], steps: usize) -> Place {
        let elsewhere = || Place::Elsewhere(path.to_vec());
        let Some((first, rest)) = path.split_first() else { return elsewhere() };
        let mut module = file.module.clone();
        match first.as_str() {
            "crate" => return Place::Ours([&module[..1], rest].concat()),
            "groupcast" if module[0] == "main" => return Place::Ours(path.to_vec()),
            "self" if !rest.is_empty() => return Place::Ours([&module[..], rest].concat()),
            "super" => {
                let up = path.iter().take_while(|part| *part == "super").count();
                module.truncate(module.len().saturating_sub(up).max(1));
                return Place::Ours([&module[..], &path[up..]].concat());
            }
            _ => {}
        }
        module.push(first.clone());
        if self.by_module.contains_key(&module) {
            return Place::Ours([&module[..], rest].concat());
        }
        match file.found.imports.get(first) {
            // `use metrics::Metrics` imports a name, `use metrics` one that stands for itself.
            Some(import) if steps > 0 && import.first() != Some(first) => {
                self.expand_within(file, &[&import[..], rest].concat(), steps - 1)
            }
            _ => elsewhere(),
        }
    }

    /// The file that defines what is at `path`, which begins at a root.
    pub(super) fn file_of(&self, path: &[String]) -> Option<usize> {
        self.file_within(path, MAX_STEPS)
    }

    fn file_within(&self, path: &[String], steps: usize) -> Option<usize> {
        let prefixes = (1..=path.len()).rev();
        let known = |length: usize| Some((*self.by_module.get(&path[..length])?, length));
        let (at, length) = prefixes.into_iter().find_map(known)?;
        let file = &self.files[at];
        let Some(item) = path.get(length) else { return Some(at) };
        if file.found.defined.contains(item) || steps == 0 {
            return Some(at);
        }
        if let Some(import) = file.found.imports.get(item) {
            let whole = [&import[..], &path[length + 1..]].concat();
            return match self.expand_within(file, &whole, steps - 1) {
                Place::Ours(path) => self.file_within(&path, steps - 1),
                Place::Elsewhere(_) => None,
            };
        }
        let behind_glob = file.found.globs.iter().find_map(|glob| {
            let Place::Ours(module) = self.expand(file, glob) else { return None };
            let at = *self.by_module.get(&module)?;
            self.files[at].found.defined.contains(item).then_some(at)
        });
        Some(behind_glob.unwrap_or(at))
    }

    /// The file that `path` in `file` leads to; `None` if it is none of ours.
    pub(super) fn leads_to(&self, file: &File, path: &[String]) -> Option<usize> {
        match self.expand(file, path) {
            Place::Ours(path) => self.file_of(&path),
            Place::Elsewhere(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::made_up;
    use super::Place;

    fn path(text: &str) -> Vec<String> {
        text.split("::").map(str::to_owned).collect()
    }

    #[test]
    fn follows_a_path_through_imports_and_re_exports_to_its_definition() {
        let modules = made_up(&[
            ("src/lib.rs", "pub mod hub; pub mod layer;"),
            ("src/hub/mod.rs", "mod shard; pub use shard::{Inbox, Shard as Loop};"),
            ("src/hub/shard.rs", "pub struct Shard; pub struct Inbox; use crate::layer;"),
            ("src/layer/mod.rs", "mod memory; pub use memory::*;"),
            ("src/layer/memory.rs", "pub struct Memory; use super::super::hub::Loop;"),
        ]);
        let leads = |from: usize, to: &str| {
            let to = modules.leads_to(&modules.files[from], &path(to));
            to.map(|at| modules.files[at].source.path.as_str())
        };
        assert_eq!(leads(4, "crate::hub::Loop"), Some("src/hub/shard.rs"));
        assert_eq!(leads(4, "Loop::new"), Some("src/hub/shard.rs"));
        assert_eq!(leads(2, "layer::Memory"), Some("src/layer/memory.rs"));
        assert_eq!(leads(2, "super::Inbox"), Some("src/hub/shard.rs"));
        assert_eq!(leads(1, "shard::Inbox"), Some("src/hub/shard.rs"));
        assert_eq!(leads(2, "std::io"), None);
        assert_eq!(leads(2, "Inbox"), None, "what a file defines leads nowhere else");
    }

    #[test]
    fn resolves_the_library_by_its_name_in_the_binary() {
        let modules = made_up(&[
            ("src/lib.rs", "pub mod config;"),
            ("src/config/mod.rs", "pub struct Config;"),
            ("src/cmd/serve.rs", "use groupcast::config; use crate::cmd::failure::Failure;"),
        ]);
        let serve = modules.files.last().unwrap();
        let expanded = modules.expand(serve, &path("config::Config"));
        assert_eq!(expanded, Place::Ours(path("groupcast::config::Config")));
        let failure = modules.expand(serve, &path("Failure"));
        assert_eq!(failure, Place::Ours(path("main::cmd::failure::Failure")));
    }
}
