//! How logs are written: one line an event, as text for people or JSON for machines.

use std::io;

use serde::{Deserialize, Serialize};
use tracing_appender::non_blocking::{NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::EnvFilter;

/// Lines that wait for a slow reader of the log: about a megabyte.
///
/// A pipe that nobody reads must not stop shards: more lines than this are dropped.
const WAITING_LINES: usize = 8192;

/// Shape of the logs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSettings {
    /// A level, or directives such as `info,groupcast::hub=debug`.
    pub filter: String,
    /// For whom.
    pub format: LogFormat,
}

/// Who reads the logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// People. To stderr, so that a command's own output can be piped.
    Text,
    /// Machines. To stdout, one object a line; the first one names the listeners' addresses.
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
        /// What the reader says.
        source: tracing_subscriber::filter::ParseError,
    },
    /// Somebody else logs in this process already.
    #[error("logging is already set up in this process")]
    AlreadySet(#[source] tracing_subscriber::util::TryInitError),
}

/// Keeps the log being written; what waits is written when it is dropped, within a second.
#[derive(Debug)]
#[must_use = "the log ends when this is dropped"]
pub struct LogGuard(#[expect(dead_code, reason = "held for its drop")] WorkerGuard);

impl Default for LogSettings {
    fn default() -> Self {
        Self { filter: "info".to_owned(), format: LogFormat::Text }
    }
}

impl LogSettings {
    /// Whether the filter can be read.
    pub fn check(&self) -> Result<(), LogError> {
        self.env_filter().map(drop)
    }

    /// Logs from here on, for the whole process, from a thread of its own.
    pub fn start(&self) -> Result<LogGuard, LogError> {
        use tracing_subscriber::util::SubscriberInitExt as _;

        let builder = tracing_subscriber::fmt().with_env_filter(self.env_filter()?);
        let (writer, guard) = match self.format {
            LogFormat::Text => writer(io::stderr()),
            LogFormat::Json => writer(io::stdout()),
        };
        match self.format {
            LogFormat::Text => {
                let ansi = io::IsTerminal::is_terminal(&io::stderr());
                builder.with_writer(writer).with_ansi(ansi).finish().try_init()
            }
            LogFormat::Json => builder
                .json()
                .flatten_event(true)
                .with_current_span(true)
                .with_span_list(false)
                .with_writer(writer)
                .finish()
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

fn writer(to: impl io::Write + Send + 'static) -> (NonBlocking, WorkerGuard) {
    NonBlockingBuilder::default().lossy(true).buffered_lines_limit(WAITING_LINES).finish(to)
}
