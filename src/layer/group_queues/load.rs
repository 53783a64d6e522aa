//! What one queue has, how much it may have, and how long that takes to serve.

use std::time::{Duration, Instant};

/// A queue may hold one for each of so many that are free for all. So one flood fills a third of
/// the room, two fill half of it, and there is always room for a group that had nothing.
const FREE_FOR_ONE: usize = 2;

/// A queue that lost messages takes none until so many times what it has is free: few gaps for a
/// flood, each of many messages.
const FREE_TO_RESUME: usize = 8;

/// Weight of one interval in the average, as a divisor.
const SMOOTHING: u32 = 8;

#[derive(Debug, Default)]
pub(super) struct QueueLoad {
    pub(super) messages: usize,
    pub(super) bytes: usize,
    /// Weight that it may still send in its turn; less than zero = it has sent in advance.
    pub(super) credit: i64,
    /// Whether what comes is lost.
    sheds: bool,
    /// The oldest message arrived then or later.
    since: Option<Instant>,
    served: Option<Instant>,
    /// Between two messages served while others waited, on average; zero = not known yet.
    interval: Duration,
}

impl QueueLoad {
    /// Whether it takes one more message, if so many messages and bytes are free for all.
    pub(super) fn admits(&mut self, bytes: usize, (free, free_bytes): (usize, usize)) -> bool {
        let factor = if self.sheds { FREE_TO_RESUME } else { FREE_FOR_ONE };
        self.sheds = !self.fits(bytes, factor, (free, free_bytes));
        !self.sheds
    }

    /// The same of one that waits instead of being lost.
    pub(super) fn has_room(&self, bytes: usize, free: (usize, usize)) -> bool {
        self.fits(bytes, FREE_FOR_ONE, free)
    }

    /// A message larger than the share goes alone.
    fn fits(&self, bytes: usize, factor: usize, (free, free_bytes): (usize, usize)) -> bool {
        self.messages * factor < free
            && (self.messages == 0 || (self.bytes + bytes) * factor < free_bytes)
    }

    pub(super) fn add(&mut self, bytes: usize) {
        if self.messages == 0 {
            self.since = Some(Instant::now());
            self.served = None;
        }
        self.messages += 1;
        self.bytes += bytes;
    }

    /// Takes away the message served, which had come at `since`.
    pub(super) fn remove(&mut self, bytes: usize, since: Instant) {
        self.messages -= 1;
        self.bytes -= bytes;
        self.since = Some(since);
        let now = Instant::now();
        if let Some(served) = self.served.replace(now) {
            let interval = now - served;
            self.interval = match self.interval {
                Duration::ZERO => interval,
                known => (known * (SMOOTHING - 1) + interval) / SMOOTHING,
            };
        }
    }

    /// Takes away messages that were dropped.
    pub(super) fn shed(&mut self, messages: usize, bytes: usize) {
        self.messages -= messages;
        self.bytes -= bytes;
    }

    /// How long `count` more would wait, as far as can be foreseen.
    pub(super) fn wait(&self, count: usize) -> Duration {
        if self.messages == 0 {
            return Duration::ZERO;
        }
        let oldest = self.since.map_or(Duration::ZERO, |since| since.elapsed());
        let waiting = u32::try_from(self.messages + count).unwrap_or(u32::MAX);
        oldest.max(self.interval.saturating_mul(waiting))
    }
}
