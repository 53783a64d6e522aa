//! What waits on other instances, and reporting to them what waits here.
//!
//! An instance without members of a group accepts publications of it quickly, however late they are
//! where its members are. Heartbeats would report that once a second; by then a flood has put a
//! second of work before everybody. So an instance that is behind says so ten times a second.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use fred::interfaces::PubsubInterface;
use parking_lot::Mutex;
use tokio::time::{MissedTickBehavior, interval};

use super::backlog::MessageBacklog;
use super::history_store::HistoryStore;
use crate::event::{InstanceId, Target};
use crate::layer::group_queues::{BucketSalt, QueueKey};
use crate::layer::lag_report::LagReport;

/// Longest wait of what is accepted. With some 40 ms in a shard, and the way over Redis, an event
/// reaches its sockets within 250 ms.
pub(super) const MAX_WAIT: Duration = Duration::from_millis(150);

/// Between two reports of an instance that is behind.
const INTERVAL: Duration = Duration::from_millis(100);

/// How long a report counts: an instance that has ended, or lost Redis, reports nothing more.
const VALID: Duration = Duration::from_millis(500);

/// Most instances whose reports are remembered.
const MAX_INSTANCES: usize = 256;

/// The queues of other instances that are behind.
#[derive(Debug, Default)]
pub(super) struct PeerLags(Mutex<HashMap<InstanceId, PeerLag>>);

#[derive(Debug)]
struct PeerLag {
    reported: Instant,
    salt: BucketSalt,
    waits: HashMap<Option<QueueKey>, Duration>,
}

impl PeerLags {
    /// Takes the report of another instance.
    pub(super) fn report(&self, of: InstanceId, LagReport { salt, waits }: LagReport) {
        let mut known = self.0.lock();
        known.retain(|_, lag| lag.is_valid());
        if waits.is_empty() {
            known.remove(&of);
        } else if known.len() < MAX_INSTANCES || known.contains_key(&of) {
            let waits = waits.into_iter().collect();
            known.insert(of, PeerLag { reported: Instant::now(), salt, waits });
        }
    }

    /// How long a publication for `target` would wait on the slowest of them.
    pub(super) fn wait_of(&self, target: &Target) -> Duration {
        let known = self.0.lock();
        let valid = known.iter().filter(|(_, lag)| lag.is_valid());
        let waits = valid.map(|(instance, lag)| lag.wait_of(*instance, target));
        waits.max().unwrap_or_default()
    }
}

impl PeerLag {
    fn is_valid(&self) -> bool {
        self.reported.elapsed() < VALID
    }

    fn wait_of(&self, instance: InstanceId, target: &Target) -> Duration {
        let queue = match target {
            Target::User(sub) => Some(QueueKey::of_user_salted(sub.as_bytes(), &self.salt)),
            Target::Connection(id) if id.instance != instance => return Duration::ZERO,
            Target::Group(_) | Target::Connection(_) | Target::All => QueueKey::of(target),
        };
        self.waits.get(&queue).copied().unwrap_or_default()
    }
}

/// Reports to the other instances what waits here.
pub(super) struct LagReporter {
    pub(super) backlog: MessageBacklog,
    /// The way to the others.
    pub(super) histories: Arc<HistoryStore>,
}

impl LagReporter {
    /// Reports while anything is behind, and once when nothing is any more.
    pub(super) async fn run(self) {
        let HistoryStore { names, codec, commands, redis_health, .. } = &*self.histories;
        let mut ticks = interval(INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut was_behind = false;
        loop {
            ticks.tick().await;
            let waits = self.backlog.late(MAX_WAIT, LagReport::MAX_QUEUES);
            let is_behind = !waits.is_empty();
            if (!is_behind && !was_behind) || !redis_health.is_answering() {
                continue;
            }
            was_behind = is_behind;
            let report = LagReport { salt: QueueKey::salt(), waits };
            let channel = names.questions();
            let bytes = Bytes::from(codec.lag(channel, &report));
            // What is not answered is not repeated: the next one is newer.
            let _ = commands.publish::<i64, _, _>(channel, bytes).await;
        }
    }
}
