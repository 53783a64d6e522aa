//! A progress line on stderr, overwritten in place on terminals.

use std::io::{self, IsTerminal, Write, stderr};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

/// Shortest time between two updates: short enough to show progress, long enough for a log file.
const ON_TERMINAL: Duration = Duration::from_millis(200);
const IN_FILE: Duration = Duration::from_secs(5);

static LAST: Mutex<Option<Instant>> = Mutex::new(None);

/// Shows `text`, unless the line was changed just now.
pub fn show(text: &str) {
    let Ok(mut last) = LAST.lock() else { return };
    let terminal = stderr().is_terminal();
    let interval = if terminal { ON_TERMINAL } else { IN_FILE };
    if last.is_some_and(|at| at.elapsed() < interval) {
        return;
    }
    *last = Some(Instant::now());
    if terminal {
        eprint!("\r\x1b[K{text}");
        let _ = stderr().flush();
    } else {
        eprintln!("{text}");
    }
}

/// Shows `text` in any case: the beginning of a step.
pub fn step(text: &str) {
    if let Ok(mut last) = LAST.lock() {
        *last = None;
    }
    show(text);
}

/// Waits for `time`, and shows how much is left of it.
pub fn wait(time: Duration, doing: &str) -> io::Result<()> {
    let until = Instant::now() + time;
    while let Some(left) = until.checked_duration_since(Instant::now()) {
        show(&format!("{doing}: {:.0} s left", left.as_secs_f32()));
        thread::sleep(left.min(Duration::from_millis(500)));
    }
    Ok(())
}

/// Sleeps until `moment`, or not at all if it is past.
pub fn sleep_until(moment: Instant) {
    thread::sleep(moment.saturating_duration_since(Instant::now()));
}

/// Clears the line, for what is printed next.
pub fn end() {
    if stderr().is_terminal() {
        eprint!("\r\x1b[K");
    }
}
