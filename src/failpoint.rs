//! Points at which tests abort or stop this process, to check that nothing is lost or sent twice.
//!
//! Only in debug builds: `FAILPOINT=before-commit:abort:3` aborts the process when it passes that
//! point for the third time; `stop` stops it as `kill -STOP` does. Release builds have none.

/// Passes the failpoint of this name.
#[cfg(not(debug_assertions))]
pub(crate) fn pass(_: &str) {}

/// Passes the failpoint of this name.
#[cfg(debug_assertions)]
pub(crate) fn pass(place: &str) {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    use nix::sys::signal::{Signal, raise};

    struct Planned {
        place: String,
        signal: Signal,
        nth: u64,
    }

    fn planned() -> Option<Planned> {
        let text = std::env::var("FAILPOINT").ok()?;
        let (place, rest) = text.split_once(':')?;
        let (action, nth) = rest.split_once(':')?;
        let signal = match action {
            "abort" => Signal::SIGKILL,
            "stop" => Signal::SIGSTOP,
            _ => return None,
        };
        Some(Planned { place: place.to_owned(), signal, nth: nth.parse().ok()? })
    }

    static PLANNED: OnceLock<Option<Planned>> = OnceLock::new();
    static PASSED: AtomicU64 = AtomicU64::new(0);

    let Some(planned) = PLANNED.get_or_init(planned) else { return };
    if planned.place == place && PASSED.fetch_add(1, Ordering::Relaxed) + 1 == planned.nth {
        // The process ends, or continues from here after SIGCONT.
        let _ = raise(planned.signal);
    }
}
