//! What a shard wants done elsewhere, waiting for room in the one bounded channel.

use std::collections::VecDeque;

use tokio::sync::mpsc::{Sender, error::TrySendError};

use super::command::Request;
use super::members::{Groups, SeatKey};
use crate::group::GroupName;

/// Requests under way per connection before it is not read any more.
pub(super) const MAX_IN_FLIGHT: u8 = 16;

/// The shard's side of the channel.
///
/// Bounded without a loss: a connection whose request finds no room is not read until it does, so
/// there is at most one of its own waiting per connection, and one about it; releases are at most the groups once held.
pub(super) struct Outgoing {
    sender: Sender<Request>,
    shard: usize,
    waiting: VecDeque<(SeatKey, u64, Request)>,
    released: Vec<GroupName>,
    /// Connections of which a request has found room since the last look.
    pub(super) placed: Vec<(SeatKey, u64)>,
}

impl Outgoing {
    pub(super) fn new(sender: Sender<Request>, shard: usize) -> Self {
        Self { sender, shard, waiting: VecDeque::new(), released: Vec::new(), placed: Vec::new() }
    }

    /// Sends `request` for the seat with this serial; `false` = it waits, and so must the seat.
    pub(super) fn request(&mut self, seat: SeatKey, serial: u64, request: Request) -> bool {
        if !self.waiting.is_empty() {
            self.waiting.push_back((seat, serial, request));
            return false;
        }
        match self.sender.try_send(request) {
            Ok(()) => true,
            Err(TrySendError::Full(request)) => {
                self.waiting.push_back((seat, serial, request));
                false
            }
            // Nobody serves requests any more: the gateway ends, and so will the seat.
            Err(TrySendError::Closed(_)) => true,
        }
    }

    /// Notes that the last member of `group` on this shard is gone.
    pub(super) fn release(&mut self, group: GroupName) {
        self.released.push(group);
    }

    /// Requests of all shards in the channel, and this one's that wait for room in it.
    pub(super) fn len(&self) -> usize {
        self.sender.max_capacity() - self.sender.capacity() + self.waiting.len()
    }

    pub(super) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty() || !self.released.is_empty()
    }

    /// Sends what waits, as far as there is room.
    ///
    /// A group that has found a member again is not released: its join may have gone out before.
    pub(super) fn send(&mut self, groups: &Groups) {
        while let Some((seat, serial, request)) = self.waiting.pop_front() {
            match self.sender.try_send(request) {
                Ok(()) => self.placed.push((seat, serial)),
                Err(TrySendError::Full(request)) => {
                    self.waiting.push_front((seat, serial, request));
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
