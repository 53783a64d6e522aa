//! A limit on the bytes in a queue, in addition to the queue's own limit on entries.

use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes in use, and how many may be.
#[derive(Debug)]
pub(crate) struct ByteBudget {
    used: AtomicUsize,
    max: usize,
}

impl ByteBudget {
    pub(crate) fn new(max: usize) -> Self {
        Self { used: AtomicUsize::new(0), max }
    }

    /// Takes `bytes` if they are free. Returns whether they were.
    pub(crate) fn try_take(&self, bytes: usize) -> bool {
        let fits = |used: usize| used.checked_add(bytes).filter(|used| *used <= self.max);
        self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).is_ok()
    }

    /// Gives back bytes that were taken.
    pub(crate) fn give_back(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn refuses_what_does_not_fit_and_takes_nothing_of_it() {
        let budget = ByteBudget::new(10);
        assert!(budget.try_take(6));
        assert!(!budget.try_take(5));
        assert!(!budget.try_take(usize::MAX));
        assert!(budget.try_take(4));
        budget.give_back(10);
        assert!(budget.try_take(10));
    }

    #[test]
    fn is_never_exceeded_by_concurrent_takers() {
        let budget = ByteBudget::new(100);
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..10_000 {
                        if budget.try_take(40) {
                            assert!(budget.used.load(Ordering::Relaxed) <= 100);
                            budget.give_back(40);
                        }
                    }
                });
            }
        });
        assert_eq!(budget.used.load(Ordering::Relaxed), 0);
    }
}
