//! Files, functions and lines are short enough to be read.

use super::assert_none;
use super::reader::read;
use super::source::{Source, read_all, root};

const MAX_FILE: usize = 450;
const MAX_MEDIAN: usize = 170;
const MAX_FUNCTION: usize = 70;
const MAX_COLUMNS: usize = 100;
const MAX_DOCUMENT: usize = 150;

fn length(source: &Source) -> usize {
    source.text.lines().count()
}

fn long_files(sources: &[Source]) -> Vec<String> {
    let long = sources.iter().filter(|source| length(source) > MAX_FILE);
    long.map(|source| format!("{} has {} lines", source.path, length(source))).collect()
}

fn median(sources: &[Source]) -> usize {
    let mut lengths: Vec<usize> = sources.iter().map(length).collect();
    lengths.sort_unstable();
    lengths[lengths.len() / 2]
}

fn long_functions(sources: &[Source]) -> Vec<String> {
    let mut complaints = Vec::new();
    for Source { path, text } in sources {
        let functions = read(path, text, true).functions;
        let long = functions.iter().filter(|function| function.lines > MAX_FUNCTION);
        complaints.extend(long.map(|function| {
            format!("{path}:{} {} has {} lines", function.line, function.name, function.lines)
        }));
    }
    complaints
}

fn long_lines(sources: &[Source]) -> Vec<String> {
    let mut complaints = Vec::new();
    for Source { path, text } in sources {
        for (at, line) in text.lines().enumerate() {
            let columns = line.chars().count();
            if columns > MAX_COLUMNS {
                complaints.push(format!("{path}:{} has {columns} columns", at + 1));
            }
        }
    }
    complaints
}

/// All Rust of the repository: library, commands, tests and load test.
fn rust() -> Vec<Source> {
    ["src", "tests", "loadtest"].iter().flat_map(|folder| read_all(folder, "rs")).collect()
}

#[test]
fn files_have_at_most_450_lines_and_a_median_of_170() {
    assert_none(&long_files(&rust()));
    assert_none(&long_files(&read_all("src", "lua")));
    assert!(median(&read_all("src", "rs")) <= MAX_MEDIAN);
}

#[test]
fn the_architecture_document_has_at_most_150_lines() {
    let document = std::fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let lines = document.lines().count();
    assert!(lines <= MAX_DOCUMENT, "{lines} lines");
}

#[test]
fn functions_have_at_most_70_lines() {
    assert_none(&long_functions(&rust()));
}

#[test]
fn lines_have_at_most_100_columns() {
    let mut sources = rust();
    sources.extend(read_all("src", "lua"));
    sources.extend(["tests", "loadtest"].iter().flat_map(|folder| read_all(folder, "py")));
    sources.retain(|source| !source.path.starts_with("tests/docs/"));
    assert_none(&long_lines(&sources));
}

#[test]
fn finds_a_file_a_function_and_a_line_one_over_the_limit() {
    let file = |lines: usize| [Source::new("src/a.rs", &"\n".repeat(lines))];
    assert_none(&long_files(&file(450)));
    assert_eq!(long_files(&file(451)), ["src/a.rs has 451 lines"]);
    let function = |lines: usize| {
        let text = format!("impl A {{\n\nfn f() {{{}}}\n}}", "\n".repeat(lines - 1));
        [Source::new("src/a.rs", &text)]
    };
    assert_none(&long_functions(&function(70)));
    assert_eq!(long_functions(&function(71)), ["src/a.rs:3 f has 71 lines"]);
    let line = |columns: usize| [Source::new("src/a.rs", &"ñ".repeat(columns))];
    assert_none(&long_lines(&line(100)));
    assert_eq!(long_lines(&line(101)), ["src/a.rs:1 has 101 columns"]);
}

#[test]
fn counts_functions_of_tests_as_well() {
    let text = format!("#[cfg(test)]\nmod tests {{\n#[test]\nfn f() {{{}}}\n}}", "\n".repeat(71));
    assert_eq!(long_functions(&[Source::new("src/a.rs", &text)]).len(), 1);
}

#[test]
fn computes_the_median_length() {
    let sources = [3, 1, 200].map(|lines| Source::new("src/a.rs", &"\n".repeat(lines)));
    assert_eq!(median(&sources), 3);
}
