//! The newest warnings and errors of the process, for operators who have no access to its log.

use std::collections::VecDeque;
use std::fmt::{self, Write};
use std::sync::LazyLock;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use crate::clock;
use crate::excerpt::excerpt;

/// Lines that are kept.
const LINES: usize = 200;

/// Longest text of one line, characters: 200 lines are an answer of at most 100 KB.
const MAX_TEXT: usize = 400;

/// Of the process, as the log itself is.
static RING: LazyLock<Mutex<VecDeque<LogLine>>> = LazyLock::new(Mutex::default);

/// A line of the log.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct LogLine {
    /// Milliseconds since 1970.
    pub(crate) at: u64,
    /// Whether it is an error, not a warning.
    pub(crate) is_error: bool,
    /// The room that wrote it.
    pub(crate) room: String,
    /// The message and its fields, cut.
    pub(crate) text: String,
}

/// Keeps warnings and errors as they are logged.
///
/// The rest is not looked at: the level is part of an event's static description. The paths that
/// carry events log nothing, so a line here costs them nothing.
pub(super) struct LogRing;

/// The newest lines, oldest first.
pub(crate) fn recent_lines() -> Vec<LogLine> {
    RING.lock().iter().cloned().collect()
}

impl<S: Subscriber> Layer<S> for LogRing {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let level = *event.metadata().level();
        if level > Level::WARN {
            return;
        }
        let mut text = LineText::default();
        event.record(&mut text);
        let target = event.metadata().target();
        let room = target.split("::").nth(1).unwrap_or(target);
        let line = LogLine {
            at: clock::since_epoch().as_millis() as u64,
            is_error: level == Level::ERROR,
            room: room.to_owned(),
            text: excerpt(&format!("{}{}", text.message, text.fields), MAX_TEXT),
        };
        let mut ring = RING.lock();
        if ring.len() == LINES {
            ring.pop_front();
        }
        ring.push_back(line);
    }
}

/// The text of an event.
#[derive(Default)]
struct LineText {
    message: String,
    fields: String,
}

impl Visit for LineText {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a string cannot fail.
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.fields, " {name}={value:?}"),
        };
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        let _ = match field.name() {
            "message" => write!(self.message, "{value}"),
            name => write!(self.fields, " {name}={value:?}"),
        };
    }
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    #[test]
    fn keeps_the_newest_warnings_and_errors() {
        let subscriber = tracing_subscriber::registry().with(LogRing);
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!("not kept");
            for number in 0..LINES {
                tracing::warn!(number, "kept");
            }
            tracing::error!(cause = "x\ny", "the last");
        });
        let lines = recent_lines();
        assert_eq!(lines.len(), LINES);
        let last = &lines[LINES - 1];
        assert!(last.is_error && last.text.starts_with("the last cause="), "{last:?}");
        assert!(!last.text.contains('\n'));
        assert!(lines.iter().all(|line| !line.text.contains("not kept")));
    }
}
