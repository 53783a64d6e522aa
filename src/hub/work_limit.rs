//! Limits the publications that wait in a shard to what it delivers in some 20 ms.
//!
//! In front of shards groups take turns; in a shard's inbox they do not. What waits there delays
//! every group, so it must be little, and enough for a turn to write many frames at once.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

/// The work that may wait.
const WAITING: Duration = Duration::from_millis(20);

/// Publications that may wait however long they take: fewer would make frames of a large group go
/// one by one.
const MIN_WAITING: usize = 32;

/// Publications that may wait in a shard that has not delivered yet.
const FIRST_WAITING: usize = 256;

/// The sending side.
#[derive(Debug, Clone)]
pub(super) struct WorkLimit(Arc<Semaphore>);

/// The shard's side: it measures what a publication takes.
#[derive(Debug)]
pub(super) struct WorkMeter {
    room: Arc<Semaphore>,
    /// Publications that may wait, as far as that could be enforced.
    allowed: usize,
    most: usize,
    /// Publications delivered in this turn.
    delivered: usize,
    /// What one takes, an average of the latest turns, nanoseconds; 0 = not known yet.
    cost: u64,
}

/// A limit of at most so many publications, and its meter.
pub(super) fn work_limit(most: usize) -> (WorkLimit, WorkMeter) {
    let allowed = FIRST_WAITING.min(most);
    let room = Arc::new(Semaphore::new(allowed));
    let meter = WorkMeter { room: Arc::clone(&room), allowed, most, delivered: 0, cost: 0 };
    (WorkLimit(room), meter)
}

impl WorkLimit {
    /// Takes room for a publication if there is any, or if the shard has ended.
    pub(super) fn try_take(&self) -> bool {
        match self.0.try_acquire() {
            Ok(room) => {
                room.forget();
                true
            }
            Err(_) => self.0.is_closed(),
        }
    }

    /// What room is acquired of. It is closed when the shard has ended.
    pub(super) fn room(&self) -> &Semaphore {
        &self.0
    }
}

impl WorkMeter {
    /// Counts a publication that the shard has taken.
    pub(super) fn count(&mut self) {
        self.delivered += 1;
    }

    /// Gives back the room of the publications of a turn, which began then.
    pub(super) fn end_turn(&mut self, began: Instant) {
        if self.delivered > 0 {
            self.give_back(began.elapsed());
        }
    }

    fn give_back(&mut self, elapsed: Duration) {
        let delivered = std::mem::take(&mut self.delivered);
        let cost = elapsed.as_nanos() as u64 / delivered as u64;
        self.cost = if self.cost == 0 { cost } else { (3 * self.cost + cost) / 4 };
        let fitting = WAITING.as_nanos() as u64 / self.cost.max(1);
        let wanted = (fitting as usize).clamp(MIN_WAITING.min(self.most), self.most);
        // Room that is taken comes back only here, so less room is reached in steps.
        let freed = (delivered + wanted).saturating_sub(self.allowed);
        self.allowed = self.allowed - delivered + freed;
        self.room.add_permits(freed);
    }
}

/// Who waits for room must not wait for a shard that has ended.
impl Drop for WorkMeter {
    fn drop(&mut self) {
        self.room.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turn(limit: &WorkLimit, meter: &mut WorkMeter, micros_each: u64) -> usize {
        let mut taken = 0;
        while limit.try_take() {
            taken += 1;
        }
        (0..taken).for_each(|_| meter.count());
        meter.give_back(Duration::from_micros(micros_each * taken as u64));
        taken
    }

    #[test]
    fn lets_as_much_wait_as_is_delivered_in_twenty_milliseconds() {
        let (limit, mut meter) = work_limit(4096);
        assert_eq!(turn(&limit, &mut meter, 100), FIRST_WAITING);
        assert_eq!(turn(&limit, &mut meter, 100), 200);
        for _ in 0..30 {
            turn(&limit, &mut meter, 400);
        }
        assert_eq!(turn(&limit, &mut meter, 400), 50);
        for _ in 0..30 {
            turn(&limit, &mut meter, 10_000);
        }
        assert_eq!(turn(&limit, &mut meter, 10_000), MIN_WAITING);
        for _ in 0..60 {
            turn(&limit, &mut meter, 1);
        }
        assert_eq!(turn(&limit, &mut meter, 1), 4096);
    }

    #[tokio::test]
    async fn does_not_make_anybody_wait_for_a_shard_that_has_ended() {
        let (limit, meter) = work_limit(1);
        assert!(limit.try_take());
        assert!(!limit.try_take());
        let waiting = tokio::spawn({
            let limit = limit.clone();
            async move { limit.room().acquire().await.is_err() }
        });
        drop(meter);
        assert!(waiting.await.unwrap());
        assert!(limit.try_take());
    }
}
