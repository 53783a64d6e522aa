//! One overview a second for everybody who watches, made only while somebody does.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::{MissedTickBehavior, interval};

use super::handle::Console;
use super::peers::Ask;
use super::snapshot::{Overview, Snapshot};

/// Time between two overviews.
const INTERVAL: Duration = Duration::from_secs(1);

/// Somebody who watches; its place is free once it is dropped.
pub(crate) struct Watcher {
    overviews: watch::Receiver<Arc<str>>,
    _place: OwnedSemaphorePermit,
}

impl Watcher {
    /// The next overview, as JSON. One that is too late for it is left out, never queued.
    pub(crate) async fn next(&mut self) -> Option<Arc<str>> {
        self.overviews.changed().await.ok()?;
        Some(Arc::clone(&self.overviews.borrow_and_update()))
    }
}

impl Console {
    /// The state of every instance.
    pub(crate) async fn overview(&self) -> Overview {
        let everywhere = self.ask_everywhere::<Snapshot>(&Ask::Snapshot).await;
        let instances = everywhere.answers.into_iter().map(|(_, snapshot)| snapshot).collect();
        Overview { instances, silent: everywhere.silent }
    }

    /// Begins to watch; `None` = too many do.
    pub(crate) fn watch(&self) -> Option<Watcher> {
        let place = Arc::clone(&self.0.watchers).try_acquire_owned().ok()?;
        let overviews = self.0.overviews.subscribe();
        self.0.watched.notify_one();
        Some(Watcher { overviews, _place: place })
    }
}

/// Makes overviews while somebody watches, for as long as the process runs.
pub(super) async fn share_overviews(console: Console) {
    let mut ticks = interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        if console.0.overviews.receiver_count() == 0 {
            console.0.watched.notified().await;
            continue;
        }
        ticks.tick().await;
        let overview = console.overview().await;
        let json = serde_json::to_string(&overview).expect("numbers and texts become JSON");
        console.0.overviews.send_replace(json.into());
    }
}
