//! A rest for a back end that fails again and again: then one question at a time finds out whether
//! it is back.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Failures in a row after which it is given a rest.
const PATIENCE: u32 = 5;

/// The rest, and the time between two attempts afterwards.
const REST: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Breaker {
    state: Mutex<State>,
    /// How long an attempt may take.
    timeout: Duration,
}

#[derive(Debug, Default)]
struct State {
    /// In a row.
    failures: u32,
    /// Nobody asks before.
    rests_until: Option<Instant>,
}

impl Breaker {
    pub(super) fn new(timeout: Duration) -> Self {
        Self { state: Mutex::default(), timeout }
    }

    /// Whether to ask now. Whoever is let through during a rest is the attempt, and nobody else is
    /// until it has ended, or should have.
    pub(super) fn admits(&self, now: Instant) -> bool {
        let mut state = self.state.lock();
        if state.rests_until.is_some_and(|until| now < until) {
            return false;
        }
        if state.failures >= PATIENCE {
            state.rests_until = Some(now + self.timeout);
        }
        true
    }

    /// Notes how a question ended; whether a rest begins by it.
    pub(super) fn note(&self, answered: bool, now: Instant) -> bool {
        let mut state = self.state.lock();
        if answered {
            *state = State::default();
            return false;
        }
        state.failures = state.failures.saturating_add(1);
        if state.failures < PATIENCE {
            return false;
        }
        state.rests_until = Some(now + REST);
        state.failures == PATIENCE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_failures_in_a_row_one_attempt_at_a_time_is_made() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let breaker = Breaker::new(Duration::from_secs(5));
        for failure in 1..=PATIENCE {
            assert!(breaker.admits(start));
            assert_eq!(breaker.note(false, start), failure == PATIENCE, "the rest is told once");
        }
        assert!(!breaker.admits(at(999)));
        assert!(breaker.admits(at(1000)), "the attempt");
        assert!(!breaker.admits(at(5999)), "it is still under way");
        assert!(!breaker.note(false, at(2000)));
        assert!(!breaker.admits(at(2999)));
        assert!(breaker.admits(at(3000)));
        assert!(breaker.admits(at(8000)), "an attempt that never ended does not block for ever");
        breaker.note(true, at(8000));
        assert!(breaker.admits(at(8000)) && breaker.admits(at(8000)), "all is well again");
    }

    #[test]
    fn an_answer_in_between_begins_the_count_again() {
        let (breaker, now) = (Breaker::new(Duration::from_secs(5)), Instant::now());
        for _ in 0..3 {
            for _ in 1..PATIENCE {
                assert!(!breaker.note(false, now));
            }
            breaker.note(true, now);
        }
        assert!(breaker.admits(now));
    }
}
