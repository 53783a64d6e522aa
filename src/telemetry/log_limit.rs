//! Limits log lines caused by external input to one per second.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Shortest time between two lines.
const INTERVAL: Duration = Duration::from_secs(1);

/// A moment before the first use.
static ORIGIN: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Allows one line of a kind per second. Suppressed events are counted in metrics.
#[derive(Debug, Default)]
pub(crate) struct LogLimit {
    /// Milliseconds after the origin until which lines are suppressed.
    closed_until: AtomicU64,
}

impl LogLimit {
    /// Whether a line may be written now. If so, further lines are suppressed for a second.
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
