//! A limit on log lines about what foreign input causes: one a second, however much of it arrives.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Shortest time between two lines.
const INTERVAL: Duration = Duration::from_secs(1);

/// Any moment that is not after the first use.
static ORIGIN: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Lets one line of a kind pass each second. What it holds back is counted in metrics.
#[derive(Debug, Default)]
pub(crate) struct LogLimit {
    /// Milliseconds after the origin before which nothing passes.
    closed_until: AtomicU64,
}

impl LogLimit {
    /// Whether a line may be written now; the next one then waits for a second.
    pub(crate) fn allows(&self) -> bool {
        self.allows_at(ORIGIN.elapsed())
    }

    fn allows_at(&self, now: Duration) -> bool {
        let next = (now + INTERVAL).as_millis() as u64;
        let open = |until: u64| (u128::from(until) <= now.as_millis()).then_some(next);
        self.closed_until.fetch_update(Ordering::Relaxed, Ordering::Relaxed, open).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn allows_one_line_a_second() {
        let limit = LogLimit::default();
        let allowed = |millis| limit.allows_at(Duration::from_millis(millis));
        let times = [0, 1, 999, 1000, 1500, 5000, 5999, 6000];
        assert_eq!(times.map(allowed), [true, false, false, true, false, true, false, true]);
    }
}
