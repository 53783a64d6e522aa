//! How logs are written: one line an event, as text for people or JSON for machines.

use std::io;

use tracing_subscriber::EnvFilter;

/// Shape of the logs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSettings {
    /// A level, or directives such as `info,groupcast::hub=debug`.
    pub filter: String,
    /// For whom.
    pub format: LogFormat,
}

/// Who reads the logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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

    /// Logs from here on, for the whole process.
    pub fn start(&self) -> Result<(), LogError> {
        use tracing_subscriber::util::SubscriberInitExt as _;

        let builder = tracing_subscriber::fmt().with_env_filter(self.env_filter()?);
        match self.format {
            LogFormat::Text => {
                let ansi = io::IsTerminal::is_terminal(&io::stderr());
                builder.with_writer(io::stderr).with_ansi(ansi).finish().try_init()
            }
            LogFormat::Json => builder
                .json()
                .flatten_event(true)
                .with_current_span(true)
                .with_span_list(false)
                .with_writer(io::stdout)
                .finish()
                .try_init(),
        }
        .map_err(LogError::AlreadySet)
    }

    fn env_filter(&self) -> Result<EnvFilter, LogError> {
        EnvFilter::try_new(&self.filter)
            .map_err(|source| LogError::Filter { filter: self.filter.clone(), source })
    }
}
