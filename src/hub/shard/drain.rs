//! Closes all connections at a rate.

use std::time::{Duration, Instant};

use crate::hub::context::Context;
use crate::hub::store::{ConnectionKey, Connections};
use crate::protocol::Disconnect;

/// A drain in progress.
pub(super) struct Draining {
    queue: Vec<ConnectionKey>,
    rate: u32,
    began: Instant,
    closed: u64,
    window: Duration,
    deadline: Instant,
}

impl Draining {
    /// Starts to close all connections, `rate` per second, each with `window` to reconnect in.
    pub(super) fn begin(
        connections: &Connections,
        now: Instant,
        rate: u32,
        window: Duration,
        grace: Duration,
    ) -> Self {
        let queue = connections.keys().collect();
        Self { queue, rate, began: now, closed: 0, window, deadline: now + grace }
    }

    /// Closes as many connections as are due by the rate.
    pub(super) fn close_due(&mut self, connections: &mut Connections, context: &Context) {
        let elapsed = context.clock.now().duration_since(self.began);
        let due = (elapsed.as_secs_f64() * f64::from(self.rate)) as u64 + 1;
        let count = (due.saturating_sub(self.closed) as usize).min(self.queue.len());
        self.closed += count as u64;
        for key in self.queue.split_off(self.queue.len() - count) {
            connections.close(key, Disconnect::DRAINING.within(self.window), context);
        }
    }

    pub(super) fn is_over(&self, now: Instant) -> bool {
        now >= self.deadline
    }
}
