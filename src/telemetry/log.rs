//! Logs: one line per event, as text for people or JSON for machines.

use std::io;

use serde::{Deserialize, Serialize};
use tracing_appender::non_blocking::{NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use super::log_ring::LogRing;
use crate::excerpt::printable;

/// Lines queued for a slow reader of the log: about a megabyte.
///
/// A pipe that is not read must not stop shards: more lines than this are dropped.
const WAITING_LINES: usize = 8192;

/// Shape of the logs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSettings {
    /// A level, or directives such as `info,groupcast::hub=debug`.
    pub filter: String,
    /// The format.
    pub format: LogFormat,
}

/// The format of the logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// For people. Written to stderr, so that a command's own output can be piped.
    Text,
    /// For machines. Written to stdout, one object per line; the first one has the listeners'
    /// addresses.
    Json,
}

/// Why logging cannot start.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The filter cannot be read.
    #[error(
        "log filter {filter:?} is not usable; a level such as info, or info,groupcast::hub=debug"
    )]
    Filter {
        /// As given.
        filter: String,
        /// The parser's error.
        source: tracing_subscriber::filter::ParseError,
    },
    /// A logger was already installed in this process.
    #[error("logging is already set up in this process")]
    AlreadySet(#[source] tracing_subscriber::util::TryInitError),
}

/// Keeps the log open. Dropping it writes queued lines, within a second.
#[derive(Debug)]
#[must_use = "the log ends when this is dropped"]
pub struct LogGuard(#[expect(dead_code, reason = "held for its drop")] WorkerGuard);

impl Default for LogSettings {
    fn default() -> Self {
        Self { filter: "info".to_owned(), format: LogFormat::Text }
    }
}

impl LogSettings {
    /// Checks the filter.
    pub fn check(&self) -> Result<(), LogError> {
        self.env_filter().map(drop)
    }

    /// Starts logging for the whole process, on a separate thread.
    pub fn start(&self) -> Result<LogGuard, LogError> {
        use tracing_subscriber::layer::SubscriberExt as _;
        use tracing_subscriber::util::SubscriberInitExt as _;

        let builder = tracing_subscriber::fmt().with_env_filter(self.env_filter()?);
        let (writer, guard) = match self.format {
            LogFormat::Text => writer(io::stderr()),
            LogFormat::Json => writer(io::stdout()),
        };
        match self.format {
            LogFormat::Text => {
                let ansi = io::IsTerminal::is_terminal(&io::stderr());
                builder.with_writer(writer).with_ansi(ansi).finish().with(LogRing).try_init()
            }
            LogFormat::Json => builder
                .json()
                .flatten_event(true)
                .with_current_span(true)
                .with_span_list(false)
                .with_writer(writer)
                .finish()
                .with(LogRing)
                .try_init(),
        }
        .map_err(LogError::AlreadySet)?;
        Ok(LogGuard(guard))
    }

    fn env_filter(&self) -> Result<EnvFilter, LogError> {
        EnvFilter::try_new(&self.filter)
            .map_err(|source| LogError::Filter { filter: self.filter.clone(), source })
    }
}

fn writer(to: impl io::Write + Send + 'static) -> (PrintableLines, WorkerGuard) {
    let builder = NonBlockingBuilder::default().lossy(true).buffered_lines_limit(WAITING_LINES);
    let (writer, guard) = builder.finish(to);
    (PrintableLines(writer), guard)
}

/// Writes each event as one printable line. A path, an origin or an answer of the back end must not
/// forge or reverse a line, or control the operator's terminal.
#[derive(Clone)]
struct PrintableLines(NonBlocking);

impl<'a> MakeWriter<'a> for PrintableLines {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl io::Write for PrintableLines {
    /// The subscriber writes one complete event per call.
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        self.0.write_all(printable_line(&String::from_utf8_lossy(event)).as_bytes())?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// `event` without line breaks but the last, and without escape sequences except colours.
fn printable_line(event: &str) -> String {
    let text = event.strip_suffix('\n').unwrap_or(event);
    let mut line = String::with_capacity(event.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let length = colour_len(rest);
        if length > 0 {
            line.push_str(&rest[..length]);
            rest = &rest[length..];
        } else {
            line.push(printable(c));
            rest = &rest[c.len_utf8()..];
        }
    }
    line.push('\n');
    line
}

/// The length of the colour escape sequence at the beginning of `text`; 0 = none.
fn colour_len(text: &str) -> usize {
    let Some(parameters) = text.strip_prefix("\u{1b}[") else { return 0 };
    let length = parameters.find(|c: char| !c.is_ascii_digit() && c != ';');
    match length {
        Some(length) if parameters[length..].starts_with('m') => 2 + length + 1,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::printable_line;

    #[test]
    fn writes_an_event_as_one_unchanged_line() {
        let forged = "INFO path=/a\nERROR forged\r\u{202e}gpj\u{85}\u{2028}x\n";
        assert_eq!(printable_line(forged), "INFO path=/a ERROR forged  gpj  x\n");
        assert_eq!(printable_line("{\"a\":\"añ\u{9}o\"}\n"), "{\"a\":\"añ o\"}\n");
    }

    #[test]
    fn keeps_colours_and_replaces_other_escape_sequences() {
        assert_eq!(printable_line("\u{1b}[32m INFO\u{1b}[0m\n"), "\u{1b}[32m INFO\u{1b}[0m\n");
        let title = "\u{1b}]0;title\u{7}\u{1b}[2J\u{1b}[";
        assert_eq!(printable_line(title), " ]0;title  [2J [\n");
    }
}
