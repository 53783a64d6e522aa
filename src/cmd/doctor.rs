//! `groupcast doctor`: will the gateway run here, and what is in Django's channel layer?

use std::fmt::Write;
use std::process::ExitCode;

use clap::Args;
use groupcast::doctor::{self, Browser, Examination, Finding, Level, Suggestion, Survey};
use serde_json::{Value, json};

use super::{ConfigFile, Failure};

/// Groups that are listed.
const LISTED: usize = 10;

/// Columns of a line.
const WIDTH: usize = 100;

/// Try everything that the gateway needs, and say what to fix
///
/// Reads the configuration as serve does and tries limits, ports and Redis: version, speed, rights,
/// tracking, clock, memory, buffers, and what the instances of the cluster have agreed on. With
/// channels.receive it also compares the configuration with what Django keeps there. Nothing is
/// changed, and a running gateway does not notice. Exits with 1 if something fails.
///
/// With --channels it needs no configuration: it reads the channel layer that Django has today, lists
/// its groups and likely problems, and prints the lines to put into Django's settings and gateway.toml.
///
/// With --backend it also asks the connect hook once, as for a browser.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  groupcast doctor
  groupcast doctor --config /etc/groupcast/gateway.toml --json
  groupcast doctor --channels redis://127.0.0.1:6379
  groupcast doctor --channels redis://:secret@10.0.0.5:6379/2 --prefix tienda
  groupcast doctor --backend --host tienda.example --path /ws/notificaciones/ --cookie 'sessionid=…'

The address is the one in CHANNEL_LAYERS, database included. At most 10,000 keys are looked at, by
SCAN, so this may be run against a Redis in use. Each line begins with ok, warn or fail.")]
pub(super) struct Doctor {
    #[command(flatten)]
    file: ConfigFile,
    /// Look at the channel layer of Django at this Redis instead
    #[arg(long, value_name = "URL", conflicts_with = "config")]
    channels: Option<String>,
    /// Its prefix, as in CHANNEL_LAYERS
    #[arg(long, default_value = "asgi", requires = "channels")]
    prefix: String,
    #[command(flatten)]
    browser: BrowserArgs,
    /// Print one JSON object instead of lines
    #[arg(long)]
    json: bool,
}

/// The browser in whose place the hook is asked.
#[derive(Debug, Args)]
struct BrowserArgs {
    /// Ask the connect hook, as for a browser
    #[arg(long, conflicts_with = "channels")]
    backend: bool,
    /// Its Cookie header, such as 'sessionid=…' as the browser's developer tools show it
    #[arg(long, requires = "backend", value_name = "COOKIE")]
    cookie: Option<String>,
    /// The path it connects to [default: the first route's without parameters]
    #[arg(long, requires = "backend")]
    path: Option<String>,
    /// The site it is on, as in ALLOWED_HOSTS [default: backend.host, or that of backend.url]
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
        (0, warned) => writeln!(out, "\nno failures, warnings: {warned}"),
        (failed, warned) => writeln!(out, "\nfailures: {failed}, warnings: {warned}"),
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
        // Of large groups only a sample of members was read.
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
