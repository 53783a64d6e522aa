//! Whether the tasks and threads on which every event depends get on with their work.
//!
//! One that has begun a step and finished none for ten seconds is stuck: in a loop without end, or
//! waiting for something that never comes. Only time in which the watcher itself ran counts, so a
//! pause of the whole process is no fault of theirs. Waiting for Redis is no step.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

/// Time between two looks.
const INTERVAL: Duration = Duration::from_secs(1);

/// Looks in a row that find the same unfinished step.
const STUCK_AFTER: u32 = 10;

/// The steps of one task or thread. Clones share them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Progress(Arc<StepCount>);

#[derive(Debug, Default)]
struct StepCount {
    begun: AtomicU64,
    finished: AtomicU64,
}

impl Progress {
    /// A step begins.
    pub(crate) fn begin(&self) {
        self.0.begun.fetch_add(1, Ordering::Relaxed);
    }

    /// The step is finished.
    pub(crate) fn finish(&self) {
        self.0.finished.fetch_add(1, Ordering::Relaxed);
    }

    /// The number of the step that is not finished, if there is one.
    fn unfinished(&self) -> Option<u64> {
        let finished = self.0.finished.load(Ordering::Relaxed);
        (self.0.begun.load(Ordering::Relaxed) != finished).then_some(finished)
    }
}

/// Looks at the progress of all.
#[derive(Debug)]
pub(crate) struct ProgressWatch {
    watched: Vec<Watched>,
    stuck: watch::Sender<Option<String>>,
}

#[derive(Debug)]
struct Watched {
    name: String,
    progress: Progress,
    /// The unfinished step found last, and by how many looks in a row.
    found: (Option<u64>, u32),
}

impl ProgressWatch {
    /// A watch of these, by name.
    pub(crate) fn new(watched: impl IntoIterator<Item = (String, Progress)>) -> Self {
        let watched = watched.into_iter();
        let watched =
            watched.map(|(name, progress)| Watched { name, progress, found: (None, 0) }).collect();
        Self { watched, stuck: watch::Sender::default() }
    }

    /// The name of one that is stuck, as it changes.
    pub(crate) fn stuck(&self) -> watch::Receiver<Option<String>> {
        self.stuck.subscribe()
    }

    /// Looks each second, for as long as the process runs.
    pub(crate) async fn run(mut self) {
        let mut ticks = interval(INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.look();
        }
    }

    fn look(&mut self) {
        let mut stuck = None;
        for watched in &mut self.watched {
            let step = watched.progress.unfinished();
            let (known, looks) = watched.found;
            let looks = if step.is_some() && step == known { looks + 1 } else { 0 };
            watched.found = (step, looks);
            if looks >= STUCK_AFTER {
                stuck.get_or_insert_with(|| watched.name.clone());
            }
        }
        if *self.stuck.borrow() != stuck {
            match &stuck {
                Some(name) => tracing::error!(name, "no progress for 10 s"),
                None => tracing::info!("all make progress again"),
            }
            self.stuck.send_replace(stuck);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_one_that_finishes_nothing_although_it_has_begun() {
        let (idle, busy, hanging) = <(Progress, Progress, Progress)>::default();
        let all = [("idle", &idle), ("busy", &busy), ("hanging", &hanging)];
        let named = all.map(|(name, progress)| (name.to_owned(), progress.clone()));
        let mut watch = ProgressWatch::new(named);
        let stuck = watch.stuck();
        busy.begin();
        hanging.begin();
        for _ in 0..STUCK_AFTER {
            assert_eq!(*stuck.borrow(), None);
            watch.look();
            busy.finish();
            busy.begin();
        }
        watch.look();
        assert_eq!(stuck.borrow().as_deref(), Some("hanging"));
        hanging.finish();
        watch.look();
        assert_eq!(*stuck.borrow(), None);
    }
}
