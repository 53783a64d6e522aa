//! Waiting for conditions, never for times.

use std::future::Future;
use std::time::Duration;

/// Long enough for a loaded machine; nobody waits for it but a test that fails.
const DEADLINE: Duration = Duration::from_secs(20);

/// Between two looks at a condition that nothing announces.
const LOOK: Duration = Duration::from_millis(5);

/// What comes of `future`, which must be there before the deadline.
#[track_caller]
pub(crate) fn soon<T>(what: &str, future: impl Future<Output = T>) -> impl Future<Output = T> {
    let place = std::panic::Location::caller();
    async move {
        match tokio::time::timeout(DEADLINE, future).await {
            Ok(value) => value,
            Err(_) => panic!("waited in vain at {place} for {what}"),
        }
    }
}

/// Looks at `condition` until it holds.
pub(crate) async fn eventually(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let mut looks = tokio::time::interval(LOOK);
    let held = async {
        while !condition().await {
            looks.tick().await;
        }
    };
    soon(what, held).await;
}
