//! Waiting for conditions with a deadline, never for a fixed time.

use std::future::Future;
use std::time::Duration;

/// Long enough for a loaded machine. Only a failing test waits this long.
const DEADLINE: Duration = Duration::from_secs(20);

/// Between two checks of a condition.
const CHECK_INTERVAL: Duration = Duration::from_millis(5);

/// The output of `future`, which must be ready before the deadline.
#[track_caller]
pub(crate) fn soon<T>(what: &str, future: impl Future<Output = T>) -> impl Future<Output = T> {
    let place = std::panic::Location::caller();
    async move {
        match tokio::time::timeout(DEADLINE, future).await {
            Ok(value) => value,
            Err(_) => panic!("timed out at {place} waiting for {what}"),
        }
    }
}

/// Checks `condition` until it holds.
pub(crate) async fn eventually(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let mut checks = tokio::time::interval(CHECK_INTERVAL);
    let held = async {
        while !condition().await {
            checks.tick().await;
        }
    };
    soon(what, held).await;
}
