//! What a shard wants done elsewhere, waiting for room in the one bounded channel.

use std::collections::VecDeque;

use tokio::sync::mpsc::{Sender, error::TrySendError};

use super::connections::{ConnectionKey, Connections};
use super::groups::Groups;
use crate::group::GroupName;
use crate::hub::request::Request;

/// The shard's side of the channel.
///
/// Bounded without a loss: a connection whose request finds no room is not read until it does, so
/// there is at most one of its own waiting per connection, and one about it; releases are at most
/// the groups once held.
pub(in crate::hub) struct RequestQueue {
    sender: Sender<Request>,
    shard: usize,
    waiting: VecDeque<(ConnectionKey, u64, Request)>,
    released: Vec<GroupName>,
}

impl RequestQueue {
    pub(in crate::hub) fn new(sender: Sender<Request>, shard: usize) -> Self {
        Self { sender, shard, waiting: VecDeque::new(), released: Vec::new() }
    }

    /// Sends a request for a connection, which waits with it if there is no room.
    pub(in crate::hub) fn request(
        &mut self,
        connections: &mut Connections,
        connection: ConnectionKey,
        request: Request,
    ) {
        let request = match self.waiting.is_empty() {
            true => self.sender.try_send(request),
            false => Err(TrySendError::Full(request)),
        };
        // Closed: the gateway ends, and the connection with it.
        if let Err(TrySendError::Full(request)) = request {
            let serial = connections[connection].id.serial;
            connections.request_stalled(connection);
            self.waiting.push_back((connection, serial, request));
        }
    }

    /// Notes that the last member of `group` on this shard is gone.
    pub(in crate::hub) fn release(&mut self, group: GroupName) {
        self.released.push(group);
    }

    /// Requests of all shards in the channel, and this one's that wait for room in it.
    pub(in crate::hub) fn len(&self) -> usize {
        self.sender.max_capacity() - self.sender.capacity() + self.waiting.len()
    }

    pub(in crate::hub) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty() || !self.released.is_empty()
    }

    /// Sends what waits, as far as there is room.
    ///
    /// A group that has found a member again is not released: its join may have gone out before.
    pub(in crate::hub) fn send(&mut self, connections: &mut Connections, groups: &Groups) {
        while let Some((connection, serial, request)) = self.waiting.pop_front() {
            match self.sender.try_send(request) {
                Ok(()) => connections.request_placed(connection, serial),
                Err(TrySendError::Full(request)) => {
                    self.waiting.push_front((connection, serial, request));
                    return;
                }
                Err(TrySendError::Closed(_)) => {}
            }
        }
        if self.waiting.capacity() > 1024 {
            self.waiting = VecDeque::new();
        }
        self.released.retain(|name| groups.find(name).is_none());
        if self.released.is_empty() {
            return;
        }
        let release =
            Request::Release { shard: self.shard, groups: std::mem::take(&mut self.released) };
        if let Err(TrySendError::Full(Request::Release { groups, .. })) =
            self.sender.try_send(release)
        {
            self.released = groups;
        }
    }
}
