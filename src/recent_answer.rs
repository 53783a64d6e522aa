//! An answer that serves all who ask within a few seconds, so that many cost as much as one.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::Semaphore;

/// The newest answer to one question.
pub(crate) struct RecentAnswer<T> {
    known: Mutex<Option<(Instant, Arc<T>)>>,
    /// One asks, the others wait for what it finds.
    asking: Semaphore,
}

impl<T> RecentAnswer<T> {
    /// Nobody has asked yet.
    pub(crate) fn new() -> Self {
        Self { known: Mutex::new(None), asking: Semaphore::new(1) }
    }

    /// The newest answer, if it is younger than `fresh`, else that of `ask`.
    pub(crate) async fn get(&self, fresh: Duration, ask: impl Future<Output = T>) -> Arc<T> {
        let _turn = self.asking.acquire().await;
        if let Some((at, known)) = &*self.known.lock()
            && at.elapsed() < fresh
        {
            return Arc::clone(known);
        }
        let answer = Arc::new(ask.await);
        *self.known.lock() = Some((Instant::now(), Arc::clone(&answer)));
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_asks_for_all() {
        let (answer, hour) = (RecentAnswer::new(), Duration::from_secs(3600));
        let ask = |value| answer.get(hour, async move { value });
        let (one, other) = tokio::join!(ask(1), ask(2));
        assert_eq!((*one, *other), (1, 1));
        assert_eq!(*answer.get(Duration::ZERO, async { 3 }).await, 3, "the old one is too old");
    }
}
