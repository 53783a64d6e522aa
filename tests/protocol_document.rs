//! The tables of `docs/protocol.md` agree with the code.

use std::collections::BTreeSet;

use groupcast::protocol::{Code, Disconnect};

const DOCUMENT: &str = include_str!("../docs/protocol.md");

/// The rows of the table below the heading that begins with `heading`, without markup.
fn table(heading: &str) -> Vec<Vec<String>> {
    let section = DOCUMENT.split("\n## ").find(|section| section.starts_with(heading)).unwrap();
    let rows = section.lines().filter(|line| line.starts_with('|'));
    let cells = |row: &str| {
        let cells = row.trim_matches('|').split('|');
        cells.map(|cell| cell.trim().trim_matches('`').to_owned()).collect::<Vec<_>>()
    };
    // The first two lines are the head of the table.
    rows.skip(2).map(cells).collect()
}

fn yes(cell: &str) -> bool {
    match cell {
        "yes" => true,
        "no" => false,
        other => panic!("{other:?} is neither yes nor no"),
    }
}

#[test]
fn documents_exactly_the_close_codes_of_the_implementation() {
    let written: BTreeSet<_> = table("6.")
        .into_iter()
        .map(|row| (row[0].parse::<u16>().unwrap(), row[1].clone(), yes(&row[2])))
        .collect();
    let known: BTreeSet<_> =
        Disconnect::ALL.iter().map(|d| (d.code, d.reason.to_owned(), d.may_return())).collect();
    assert_eq!(written, known);
}

#[test]
fn documents_exactly_the_error_codes_of_the_implementation() {
    let written: BTreeSet<_> =
        table("8.").into_iter().map(|row| (row[0].clone(), yes(&row[1]))).collect();
    let known: BTreeSet<_> =
        Code::ALL.iter().map(|code| (code.as_str().to_owned(), code.may_retry())).collect();
    assert_eq!(written, known);
}

#[test]
fn every_close_reason_fits_its_frame_with_the_longest_window() {
    for disconnect in Disconnect::ALL {
        let frame = disconnect.within(std::time::Duration::from_secs(24 * 3600)).frame();
        assert!(frame.len() <= 2 + 2 + 123, "{disconnect:?}");
    }
}
