//! A circuit breaker: after failures in a row, one request at a time tests whether the site is
//! back.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::address::Address;

/// Failures in a row that open it.
const FAILURES_TO_OPEN: u32 = 5;

/// Time until the first trial request, and between trials.
const OPEN_TIME: Duration = Duration::from_secs(1);

/// Visitors from different addresses with the same failure, after which it counts as the site's.
const VISITORS_TO_BLAME_SITE: usize = 5;

/// The outcome of a request, with regard to the site's health.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The site decided.
    Answered,
    /// The site cannot be reached, is too slow, or fails.
    SiteFailed,
    /// The site refuses this visitor's request itself: a wrong `Host`, a cookie that is too long.
    VisitorFailed {
        /// The HTTP status, or 0 without one.
        status: u16,
        /// The visitor's address; `None` = unknown.
        address: Option<Address>,
    },
}

#[derive(Debug)]
pub(super) struct Breaker {
    state: Mutex<BreakerState>,
    /// How long a trial request may take.
    timeout: Duration,
}

#[derive(Debug, Default)]
struct BreakerState {
    /// Failures in a row.
    failures: u32,
    /// No request is sent before this moment.
    open_until: Option<Instant>,
    /// Addresses of visitors that failed with `visitor_status` since the last answer.
    visitors: Vec<Option<Address>>,
    visitor_status: u16,
}

impl Breaker {
    pub(super) fn new(timeout: Duration) -> Self {
        Self { state: Mutex::default(), timeout }
    }

    /// Whether a request may be sent now. While open, this is a trial request, and no other is
    /// allowed until it has ended or timed out.
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

    /// Records the outcome of a request. Returns whether the breaker opens.
    pub(super) fn record(&self, outcome: Outcome, now: Instant) -> bool {
        let mut state = self.state.lock();
        match outcome {
            Outcome::Answered => {
                *state = BreakerState::default();
                return false;
            }
            Outcome::SiteFailed => state.failures = state.failures.saturating_add(1),
            // The site responds, so a trial has succeeded.
            Outcome::VisitorFailed { status, address } if !state.blames_site(status, address) => {
                state.open_until = None;
                return false;
            }
            Outcome::VisitorFailed { .. } => {
                state.failures = FAILURES_TO_OPEN.max(state.failures.saturating_add(1));
            }
        }
        if state.failures < FAILURES_TO_OPEN {
            return false;
        }
        state.open_until = Some(now + OPEN_TIME);
        state.failures == FAILURES_TO_OPEN
    }
}

impl BreakerState {
    /// Records a visitor's failure. Returns whether it counts as the site's.
    fn blames_site(&mut self, status: u16, address: Option<Address>) -> bool {
        if self.visitor_status != status {
            self.visitor_status = status;
            self.visitors.clear();
        }
        if self.visitors.len() < VISITORS_TO_BLAME_SITE && !self.visitors.contains(&address) {
            self.visitors.push(address);
        }
        self.visitors.len() >= VISITORS_TO_BLAME_SITE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn visitor(number: u8) -> Option<Address> {
        Some(Address::of([192, 0, 2, number].into()))
    }

    #[test]
    fn one_visitors_failures_do_not_open_it() {
        let (breaker, now) = (Breaker::new(Duration::from_secs(5)), Instant::now());
        for _ in 0..100 {
            assert!(
                !breaker.record(Outcome::VisitorFailed { status: 400, address: visitor(1) }, now)
            );
            assert!(breaker.admits(now));
        }
    }

    #[test]
    fn five_addresses_that_fail_alike_open_it() {
        let (breaker, now) = (Breaker::new(Duration::from_secs(5)), Instant::now());
        let fail =
            |status, address| breaker.record(Outcome::VisitorFailed { status, address }, now);
        for address in 0..4 {
            assert!(!fail(404, visitor(address)));
        }
        assert!(!fail(400, visitor(4)), "another status resets the count");
        for address in 0..4 {
            assert!(!fail(404, visitor(address)));
        }
        assert!(!breaker.record(Outcome::Answered, now));
        for address in 0..4 {
            assert!(!fail(404, visitor(address)), "an answer in between resets the count");
        }
        assert!(fail(404, visitor(4)));
        assert!(!breaker.admits(now));
    }

    #[test]
    fn admits_one_trial_at_a_time_after_failures_in_a_row() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let breaker = Breaker::new(Duration::from_secs(5));
        for failure in 1..=FAILURES_TO_OPEN {
            assert!(breaker.admits(start));
            assert_eq!(
                breaker.record(Outcome::SiteFailed, start),
                failure == FAILURES_TO_OPEN,
                "opening is reported once"
            );
        }
        assert!(!breaker.admits(at(999)));
        assert!(breaker.admits(at(1000)), "the trial");
        assert!(!breaker.admits(at(5999)), "the trial is still in flight");
        assert!(!breaker.record(Outcome::SiteFailed, at(2000)));
        assert!(!breaker.admits(at(2999)));
        assert!(breaker.admits(at(3000)));
        assert!(breaker.admits(at(8000)), "a trial that never ended does not block for ever");
        breaker.record(Outcome::Answered, at(8000));
        assert!(breaker.admits(at(8000)) && breaker.admits(at(8000)), "closed again");
    }

    #[test]
    fn an_answer_resets_the_count_of_failures() {
        let (breaker, now) = (Breaker::new(Duration::from_secs(5)), Instant::now());
        for _ in 0..3 {
            for _ in 1..FAILURES_TO_OPEN {
                assert!(!breaker.record(Outcome::SiteFailed, now));
            }
            breaker.record(Outcome::Answered, now);
        }
        assert!(breaker.admits(now));
    }
}
