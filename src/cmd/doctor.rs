//! `groupcast doctor`: checks this machine, Redis and Django's channel layer.

use std::fmt::Write;
use std::process::ExitCode;

use clap::Args;
use groupcast::doctor::{self, Browser, Examination, Finding, Level, Suggestion, Survey};
use serde_json::{Value, json};

use super::{ConfigFile, Failure};

/// How many groups are listed.
const LISTED: usize = 10;

/// Columns of an output line.
const WIDTH: usize = 100;

/// Check everything that the gateway needs, and advise what to fix
///
/// Reads the configuration as serve does, and checks limits, ports and Redis: version, latency,
/// rights, key tracking, clock, memory, buffers and the settings that the cluster has agreed on.
/// With channels.receive it also compares the configuration with the keys of Django's channel
/// layer. Changes nothing and does not disturb a running gateway. Exits with 1 if a check fails.
///
/// With --channels it needs no configuration: it reads the existing channel layer of Django, lists
/// its groups and likely problems, and prints lines for Django's settings and for gateway.toml.
///
/// With --backend it also sends one request to the connect hook, as for a browser.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  groupcast doctor
  groupcast doctor --config /etc/groupcast/gateway.toml --json
  groupcast doctor --channels redis://127.0.0.1:6379
  groupcast doctor --channels redis://:secret@10.0.0.5:6379/2 --prefix shop
  groupcast doctor --backend --host shop.example --path /ws/notifications/ --cookie 'sessionid=…'

The address is the one in CHANNEL_LAYERS, including the database. At most 10,000 keys are read, by
SCAN, so this is safe for a Redis in use. Each line begins with ok, warn or fail.")]
pub(super) struct Doctor {
    #[command(flatten)]
    file: ConfigFile,
    /// Examine Django's channel layer in this Redis instead
    #[arg(long, value_name = "URL", conflicts_with = "config")]
    channels: Option<String>,
    /// Its prefix, as in CHANNEL_LAYERS
    #[arg(long, default_value = "asgi", requires = "channels")]
    prefix: String,
    #[command(flatten)]
    browser: BrowserArgs,
    /// Print one JSON object instead of text
    #[arg(long)]
    json: bool,
}

/// The browser for which the hook is asked.
#[derive(Debug, Args)]
struct BrowserArgs {
    /// Send one request to the connect hook, as for a browser
    #[arg(long, conflicts_with = "channels")]
    backend: bool,
    /// The browser's Cookie header, such as 'sessionid=…' (see its developer tools)
    #[arg(long, requires = "backend", value_name = "COOKIE")]
    cookie: Option<String>,
    /// The WebSocket path [default: the first route without parameters]
    #[arg(long, requires = "backend")]
    path: Option<String>,
    /// The Host header, one of ALLOWED_HOSTS [default: backend.host, or that of backend.url]
    #[arg(long, requires = "backend")]
    host: Option<String>,
}

impl Doctor {
    pub(super) fn run(self) -> Result<ExitCode, Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(Failure::start)?;
        let examination = match &self.channels {
            Some(url) => runtime.block_on(doctor::survey(url, &self.prefix)),
            None => {
                let config = self.file.load()?;
                config.check_serves().map_err(Failure::configuration)?;
                runtime.block_on(doctor::examine(&config, self.browser.into_browser().as_ref()))
            }
        };
        let examination = examination.map_err(Failure::configuration)?;
        let suggestion = self.channels.as_deref().zip(examination.survey.as_ref());
        let suggestion = suggestion.map(|(url, survey)| Suggestion::new(url, survey));
        if self.json {
            println!("{:#}", as_json(&examination, suggestion.as_ref()));
        } else {
            print!("{}", as_text(&examination, suggestion.as_ref()));
        }
        let failed = examination.findings.iter().any(|finding| finding.level == Level::Fail);
        Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }
}

impl BrowserArgs {
    fn into_browser(self) -> Option<Browser> {
        let Self { backend, cookie, path, host } = self;
        backend.then_some(Browser { cookie, path, host })
    }
}

fn as_json(examination: &Examination, suggestion: Option<&Suggestion>) -> Value {
    json!({
        "findings": examination.findings,
        "survey": examination.survey,
        "channel_capacity": suggestion.map(|suggestion| &suggestion.channel_capacity),
        "gateway_toml": suggestion.map(|suggestion| &suggestion.gateway_toml),
    })
}

fn as_text(examination: &Examination, suggestion: Option<&Suggestion>) -> String {
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
        (0, 0) => writeln!(out, "\nno problems found"),
        (0, warned) => writeln!(out, "\nno failures; warnings: {warned}"),
        (failed, warned) => writeln!(out, "\nfailures: {failed}, warnings: {warned}"),
    };
    out
}

/// Appends one finding. Writing to a `String` cannot fail.
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
    if finding.level != Level::Ok {
        paragraph(&" ".repeat(front.len()), &format!("see: {}", finding.page), out);
    }
}

/// `text` after `front`, wrapped to a terminal's width and aligned.
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
        // Only a sample of the members of a large group was read.
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
    fn wraps_lines_at_the_width_of_a_terminal() {
        let long = "word ".repeat(40);
        let mut out = String::new();
        line(&Finding::warn("memory", long.trim(), "one thing"), &mut out);
        let lines: Vec<_> = out.lines().collect();
        assert!(lines.iter().all(|line| line.chars().count() <= WIDTH), "{out}");
        assert!(lines[0].starts_with("warn  memory            word"), "{out}");
        assert!(lines[1].starts_with("                        word"), "{out}");
        let front = " ".repeat(24);
        let last = [format!("{front}do: one thing"), format!("{front}see: docs/redis.md#sizing")];
        assert_eq!(lines[lines.len() - 2..], last);
        assert_eq!(out.matches("word").count(), 40);
    }
}
