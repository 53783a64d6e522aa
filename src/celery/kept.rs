//! Keeps the newest tasks in the layer's Redis, so that operators still see them after a restart.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::{MissedTickBehavior, interval};

use super::workers::{TaskStatus, WorkerRecord};
use crate::layer::Redis;

/// Between two looks at whether there is something to keep.
const INTERVAL: Duration = Duration::from_secs(5);

/// Every instance hears the same events, so one of them writes in this time.
const TURN: Duration = Duration::from_secs(4);

/// How long tasks are kept after the last that was heard of.
const KEPT: Duration = Duration::from_secs(7 * 86_400);

/// The names of what is kept, and of the turn to write it.
const TASKS: &str = "celery-tasks";
const WRITER: &str = "celery-tasks-writer";

/// Restores what an earlier process kept, then keeps what is new, for as long as the process runs.
pub(super) async fn keep(record: WorkerRecord, redis: Redis) {
    let mut ticks = interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while !restore(&record, &redis).await {
        ticks.tick().await;
    }
    let mut kept = 0;
    loop {
        ticks.tick().await;
        let heard = record.heard();
        if heard != kept && write(&record, &redis).await {
            kept = heard;
        }
    }
}

/// Returns whether Redis has answered.
async fn restore(record: &WorkerRecord, redis: &Redis) -> bool {
    let Ok(earlier) = redis.cached(TASKS).await else { return false };
    let tasks = earlier.as_deref().map(serde_json::from_slice::<Vec<TaskStatus>>);
    match tasks.transpose() {
        Ok(tasks) => record.restore(tasks.unwrap_or_default()),
        // Of another release: there is nothing to lose but what it showed.
        Err(error) => tracing::info!(%error, "tasks of an earlier process not restored"),
    }
    true
}

/// Returns whether it was written, by this instance.
async fn write(record: &WorkerRecord, redis: &Redis) -> bool {
    let turn = redis.claim(WRITER, Bytes::from_static(b"taken"), TURN).await;
    if !matches!(turn, Ok(None)) {
        return false;
    }
    let tasks = serde_json::to_vec(&record.snapshot().tasks).expect("texts and numbers");
    redis.cache(TASKS, tasks.into(), KEPT).await.is_ok()
}
