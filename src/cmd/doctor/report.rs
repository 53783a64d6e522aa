//! Findings and a survey, as lines for people or as JSON for programs.

use std::fmt::Write;

use groupcast::channels::doctor::{Examination, Finding, Level, Survey};
use serde_json::{Value, json};

use super::suggestion::Suggestion;

/// Groups that are listed.
const LISTED: usize = 10;

/// Columns of a line.
const WIDTH: usize = 100;

pub(super) fn json(examination: &Examination, suggestion: Option<&Suggestion>) -> Value {
    json!({
        "findings": examination.findings,
        "survey": examination.survey,
        "channel_capacity": suggestion.map(|suggestion| &suggestion.channel_capacity),
        "gateway_toml": suggestion.map(|suggestion| &suggestion.gateway_toml),
    })
}

pub(super) fn text(examination: &Examination, suggestion: Option<&Suggestion>) -> String {
    let mut out = String::new();
    for finding in &examination.findings {
        line(finding, &mut out);
    }
    if let Some(survey) = &examination.survey {
        groups(survey, &mut out);
    }
    if let Some(suggestion) = suggestion {
        let _ = write!(
            out,
            "\nIn Django, CHANNEL_LAYERS[\"default\"][\"CONFIG\"]:\n\n    \
             \"channel_capacity\": {},\n\nIn gateway.toml:\n\n",
            suggestion.channel_capacity
        );
        for line in suggestion.gateway_toml.lines() {
            let _ = writeln!(out, "{}", format!("    {line}").trim_end());
        }
    }
    let count =
        |level| examination.findings.iter().filter(|finding| finding.level == level).count();
    let _ = match (count(Level::Fail), count(Level::Warn)) {
        (0, 0) => writeln!(out, "\nall well"),
        (0, warned) => writeln!(out, "\nit works; {warned} to think about"),
        (failed, warned) => writeln!(out, "\n{failed} to mend, {warned} to think about"),
    };
    out
}

/// Writing to a `String` cannot fail.
fn line(finding: &Finding, out: &mut String) {
    let (level, advice) = match finding.level {
        Level::Ok => ("ok", "note"),
        Level::Warn => ("warn", "do"),
        Level::Fail => ("fail", "do"),
    };
    let front = format!("{level:<6}{:<18}", finding.what);
    paragraph(&front, &finding.found, out);
    if !finding.advice.is_empty() {
        paragraph(&" ".repeat(front.len()), &format!("{advice}: {}", finding.advice), out);
    }
}

/// `text` behind `front`, in lines of a terminal's width that begin below each other.
fn paragraph(front: &str, text: &str, out: &mut String) {
    let _ = write!(out, "{front}");
    let mut column = front.len();
    for (index, word) in text.split(' ').enumerate() {
        let length = word.chars().count();
        if index > 0 && column + 1 + length > WIDTH {
            let _ = write!(out, "\n{:1$}", "", front.len());
            column = front.len();
        } else if index > 0 {
            out.push(' ');
            column += 1;
        }
        out.push_str(word);
        column += length;
    }
    out.push('\n');
}

fn groups(survey: &Survey, out: &mut String) {
    if survey.groups.is_empty() && survey.pubsub.is_empty() {
        return;
    }
    let _ = writeln!(out, "\n{:<40}{:>9}{:>7}{:>10}", "group", "members", "dead", "gateways");
    for group in survey.groups.iter().take(LISTED) {
        // Of large groups only some members were looked at.
        let some = if group.whole { "" } else { "+" };
        let _ = writeln!(
            out,
            "{:<40}{:>9}{:>7}{:>10}",
            group.name,
            group.members,
            format!("{}{some}", group.dead),
            group.gateways
        );
    }
    for (group, listeners) in survey.pubsub.iter().take(LISTED) {
        let _ = writeln!(out, "{group:<40}{listeners:>9}  processes, by pub/sub");
    }
    let more =
        survey.groups.len().saturating_sub(LISTED) + survey.pubsub.len().saturating_sub(LISTED);
    if more > 0 {
        let _ = writeln!(out, "and {more} more");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_as_wide_as_a_terminal_and_lose_nothing() {
        let long = "palabra ".repeat(40);
        let mut out = String::new();
        line(&Finding::warn("memory", long.trim(), "una sola cosa"), &mut out);
        let lines: Vec<_> = out.lines().collect();
        assert!(lines.iter().all(|line| line.chars().count() <= WIDTH), "{out}");
        assert!(lines[0].starts_with("warn  memory            palabra"), "{out}");
        assert!(lines[1].starts_with("                        palabra"), "{out}");
        assert_eq!(lines.last(), Some(&"                        do: una sola cosa"));
        assert_eq!(out.matches("palabra").count(), 40);
    }
}
