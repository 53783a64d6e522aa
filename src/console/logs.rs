//! The newest warnings and errors of all instances.

use serde::Serialize;

use super::handle::Console;
use super::peers::Ask;
use crate::telemetry::LogLine;

/// Lines in one answer.
const LINES: usize = 200;

/// The newest lines of all instances.
#[derive(Debug, Serialize)]
pub(crate) struct LogPage {
    /// Newest first.
    pub(crate) lines: Vec<InstanceLine>,
    /// Instances that did not answer in time.
    pub(crate) silent: Vec<String>,
}

/// A line with its instance.
#[derive(Debug, Serialize)]
pub(crate) struct InstanceLine {
    pub(crate) instance: String,
    #[serde(flatten)]
    pub(crate) line: LogLine,
}

impl Console {
    /// The newest warnings and errors.
    pub(crate) async fn log(&self) -> LogPage {
        let all = self.ask_everywhere::<Vec<LogLine>>(&Ask::Log).await;
        let named = |(instance, lines): (String, Vec<LogLine>)| {
            let own = move |line| InstanceLine { instance: instance.clone(), line };
            lines.into_iter().map(own).collect::<Vec<_>>()
        };
        let mut lines: Vec<_> = all.answers.into_iter().flat_map(named).collect();
        lines.sort_by_key(|it| std::cmp::Reverse(it.line.at));
        lines.truncate(LINES);
        LogPage { lines, silent: all.silent }
    }
}
