//! A circuit breaker: after failures in a row, one request at a time tests whether the site is back.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Failures in a row that open it.
const FAILURES_TO_OPEN: u32 = 5;

/// Time until the first trial request, and between two.
const OPEN_TIME: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Breaker {
    state: Mutex<BreakerState>,
    /// How long a trial request may take.
    timeout: Duration,
}

#[derive(Debug, Default)]
struct BreakerState {
    /// In a row.
    failures: u32,
    /// No request before this moment.
    open_until: Option<Instant>,
}

impl Breaker {
    pub(super) fn new(timeout: Duration) -> Self {
        Self { state: Mutex::default(), timeout }
    }

    /// Whether a request may be sent now. While open, that is a trial request, and no other is admitted
    /// until it has ended, or should have.
    pub(super) fn admits(&self, now: Instant) -> bool {
        let mut state = self.state.lock();
        if state.open_until.is_some_and(|until| now < until) {
            return false;
        }
        if state.failures >= FAILURES_TO_OPEN {
            state.open_until = Some(now + self.timeout);
        }
        true
    }

    /// Records the outcome of a request. Whether the breaker opens by it.
    pub(super) fn record(&self, answered: bool, now: Instant) -> bool {
        let mut state = self.state.lock();
        if answered {
            *state = BreakerState::default();
            return false;
        }
        state.failures = state.failures.saturating_add(1);
        if state.failures < FAILURES_TO_OPEN {
            return false;
        }
        state.open_until = Some(now + OPEN_TIME);
        state.failures == FAILURES_TO_OPEN
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn admits_one_trial_at_a_time_after_failures_in_a_row() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let breaker = Breaker::new(Duration::from_secs(5));
        for failure in 1..=FAILURES_TO_OPEN {
            assert!(breaker.admits(start));
            assert_eq!(
                breaker.record(false, start),
                failure == FAILURES_TO_OPEN,
                "opening is reported once"
            );
        }
        assert!(!breaker.admits(at(999)));
        assert!(breaker.admits(at(1000)), "the trial");
        assert!(!breaker.admits(at(5999)), "the trial is still in flight");
        assert!(!breaker.record(false, at(2000)));
        assert!(!breaker.admits(at(2999)));
        assert!(breaker.admits(at(3000)));
        assert!(breaker.admits(at(8000)), "a trial that never ended does not block for ever");
        breaker.record(true, at(8000));
        assert!(breaker.admits(at(8000)) && breaker.admits(at(8000)), "closed again");
    }

    #[test]
    fn an_answer_resets_the_count_of_failures() {
        let (breaker, now) = (Breaker::new(Duration::from_secs(5)), Instant::now());
        for _ in 0..3 {
            for _ in 1..FAILURES_TO_OPEN {
                assert!(!breaker.record(false, now));
            }
            breaker.record(true, now);
        }
        assert!(breaker.admits(now));
    }
}
