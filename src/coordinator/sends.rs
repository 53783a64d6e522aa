//! Publishes the sends of browsers: in order for each connection, those of many connections
//! together.
//!
//! One batch costs one round trip to Redis. While it is on its way, later sends of its connections
//! wait and those of others go with the next one, so neither distance nor a busy connection limits
//! the others.

use std::collections::{HashMap, VecDeque};
use std::panic::resume_unwind;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinSet};

use super::send_batch::publish;
use crate::event::ConnectionId;
use crate::hub::{Hub, Send};
use crate::publish::Publisher;

/// Sends that may wait before connections stop being read.
const WAITING: usize = 4096;

/// Most sends in a batch: as many publications without history as the layer sends by one script.
const MAX_BATCH: usize = 256;

/// Batches on their way. With 20 ms to Redis they carry 100,000 sends a second, or 12,000 to groups
/// with history, of which a script takes 32.
const MAX_IN_FLIGHT: usize = 8;

/// Sends of all connections, and the batches on their way.
pub(super) struct SendQueue {
    hub: Hub,
    publisher: Arc<Publisher>,
    waiting: WaitingSends<Box<Send>>,
    batches: JoinSet<Vec<ConnectionId>>,
}

/// Sends that wait, by connection.
struct WaitingSends<T> {
    lines: HashMap<ConnectionId, ConnectionLine<T>>,
    /// Connections with sends that wait and none on their way, the next one first.
    turns: VecDeque<ConnectionId>,
    count: usize,
}

/// The sends of one connection.
struct ConnectionLine<T> {
    waiting: VecDeque<T>,
    /// Whether a batch with sends of the connection is on its way.
    is_on_its_way: bool,
}

impl SendQueue {
    pub(super) fn new(hub: Hub, publisher: Arc<Publisher>) -> Self {
        Self { hub, publisher, waiting: WaitingSends::default(), batches: JoinSet::new() }
    }

    /// Serves until the hub has ended and everything is published.
    pub(super) async fn serve(&mut self, mut sends: mpsc::Receiver<Box<Send>>) {
        let mut received = Vec::with_capacity(MAX_BATCH);
        let mut is_open = true;
        while is_open || !self.batches.is_empty() {
            tokio::select! {
                count = sends.recv_many(&mut received, MAX_BATCH),
                    if is_open && self.waiting.count < WAITING =>
                {
                    is_open = count > 0;
                    received.drain(..).for_each(|send| self.waiting.push(send.to, send));
                }
                Some(ended) = self.batches.join_next() => self.end(ended),
            }
            self.begin_batches();
        }
    }

    fn begin_batches(&mut self) {
        while self.batches.len() < MAX_IN_FLIGHT {
            let (connections, batch) = self.waiting.take(MAX_BATCH);
            if batch.is_empty() {
                return;
            }
            let (hub, publisher) = (self.hub.clone(), Arc::clone(&self.publisher));
            self.batches.spawn(async move {
                publish(batch, &hub, &publisher).await;
                connections
            });
        }
    }

    fn end(&mut self, ended: Result<Vec<ConnectionId>, JoinError>) {
        match ended {
            Ok(connections) => connections.into_iter().for_each(|of| self.waiting.arrived(of)),
            // Only the end of the runtime cancels a batch.
            Err(error) if error.is_cancelled() => {}
            Err(error) => resume_unwind(error.into_panic()),
        }
    }
}

impl<T> Default for WaitingSends<T> {
    fn default() -> Self {
        Self { lines: HashMap::new(), turns: VecDeque::new(), count: 0 }
    }
}

impl<T> WaitingSends<T> {
    fn push(&mut self, of: ConnectionId, send: T) {
        let line = self.lines.entry(of).or_insert_with(|| {
            self.turns.push_back(of);
            ConnectionLine { waiting: VecDeque::new(), is_on_its_way: false }
        });
        line.waiting.push_back(send);
        self.count += 1;
    }

    /// Takes at most so many sends, of each connection in turn, and marks those connections.
    fn take(&mut self, most: usize) -> (Vec<ConnectionId>, Vec<T>) {
        let count = self.turns.len().min(most);
        let connections: Vec<_> = self.turns.drain(..count).collect();
        let mut taken = Vec::with_capacity(self.count.min(most));
        let mut is_more = true;
        while is_more && taken.len() < most {
            is_more = false;
            for of in &connections {
                let Some(line) = self.lines.get_mut(of) else { continue };
                line.is_on_its_way = true;
                let next = if taken.len() < most { line.waiting.pop_front() } else { None };
                is_more |= next.is_some();
                taken.extend(next);
            }
        }
        self.count -= taken.len();
        (connections, taken)
    }

    /// The batch with sends of this connection is published or refused.
    fn arrived(&mut self, of: ConnectionId) {
        let Some(line) = self.lines.get_mut(&of) else { return };
        line.is_on_its_way = false;
        match line.waiting.is_empty() {
            true => drop(self.lines.remove(&of)),
            false => self.turns.push_back(of),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connection(serial: u64) -> ConnectionId {
        ConnectionId { instance: "k3f5a2bq".parse().unwrap(), serial }
    }

    fn queue(sends: &[(u64, u32)]) -> WaitingSends<u32> {
        let mut queue = WaitingSends::default();
        sends.iter().for_each(|(of, send)| queue.push(connection(*of), *send));
        queue
    }

    #[test]
    fn takes_from_each_connection_in_turn_and_keeps_the_order_of_each() {
        let mut queue = queue(&[(1, 10), (1, 11), (1, 12), (2, 20), (3, 30), (3, 31)]);
        let (connections, taken) = queue.take(5);
        assert_eq!(taken, [10, 20, 30, 11, 31]);
        assert_eq!(connections, [1, 2, 3].map(connection));
        assert_eq!(queue.count, 1);
    }

    #[test]
    fn keeps_back_what_follows_a_batch_that_is_on_its_way() {
        let mut queue = queue(&[(1, 10), (1, 11), (2, 20)]);
        assert_eq!(queue.take(1).1, [10]);
        queue.push(connection(1), 12);
        assert_eq!(queue.take(9).1, [20]);
        assert!(queue.take(9).1.is_empty());
        queue.arrived(connection(2));
        queue.arrived(connection(1));
        assert_eq!(queue.take(9).1, [11, 12]);
        queue.arrived(connection(1));
        assert!(queue.lines.is_empty() && queue.turns.is_empty(), "nothing is left of them");
    }
}
