//! All connections of a shard, and the work to be done for them at the end of a step.
//!
//! A connection that ends is marked immediately, and removed with its memberships at the end of the
//! step ([`Connections::take_ended`]). So no group or connection disappears while something
//! delivers, joins or reads. Removing it immediately would force every loop over members to check
//! after each of them whether the group still exists.

use std::collections::HashMap;
use std::ops::{Index, IndexMut};
use std::sync::Arc;

use slab::Slab;

use super::connection::{Connection, ConnectionPhase};
use super::keys::{ConnectionKey, GroupKey, OptionalKey};
use super::losses::{RecentLoss, RecentLosses, RefusedJoin};
use crate::event::ConnectionId;
use crate::frame::Frame;
use crate::group::{GroupName, MAX_NAME_LEN};
use crate::hub::context::Context;
use crate::hub::report::Dropped;
use crate::hub::request::RequestKind;
use crate::protocol::Disconnect;
use crate::socket::Source;

/// Seconds that a closing connection has to take its close frame and answer it.
pub(in crate::hub) const CLOSING_SECONDS: u32 = 5;

/// A connection that ended without a close frame (RFC 6455 section 7.1.5), as it is counted.
const ABNORMAL: u16 = 1006;

/// All connections of a shard, found by key, id or user.
#[derive(Default)]
pub(in crate::hub) struct Connections {
    connections: Slab<Connection>,
    by_serial: HashMap<u64, ConnectionKey>,
    /// First of each user's connections; the others are linked from it.
    by_user: HashMap<Arc<str>, ConnectionKey>,
    /// Connections with something to write that is no frame of the turn.
    to_write: Vec<ConnectionKey>,
    /// Connections whose input waits and may be read.
    to_read: Vec<(ConnectionKey, u64)>,
    /// Connections whose next timer must be set.
    to_schedule: Vec<ConnectionKey>,
    ended: Vec<Ended>,
    waiting_bytes: usize,
    /// What they missed lately, those that have ended among them.
    pub(in crate::hub) losses: RecentLosses,
}

/// What has ended during a step.
pub(in crate::hub) enum Ended {
    /// The exchange of messages: memberships and queued events are dropped.
    Conversation {
        key: ConnectionKey,
        /// As counted and reported.
        code: u16,
        /// For operators.
        reason: &'static str,
        /// Queued events, by source.
        lost: Vec<(Source, u32)>,
    },
    /// The socket: the connection is removed.
    Socket(ConnectionKey),
}

impl Connections {
    pub(in crate::hub) fn insert(&mut self, mut connection: Connection) -> ConnectionKey {
        let key = self.connections.vacant_key() as ConnectionKey;
        self.by_serial.insert(connection.id.serial, key);
        let first = self.by_user.insert(Arc::clone(&connection.identity.sub), key);
        if let Some(first) = first {
            connection.next = OptionalKey::some(first);
            self[first].previous = OptionalKey::some(key);
        }
        self.connections.insert(connection);
        key
    }

    pub(in crate::hub) fn remove(&mut self, key: ConnectionKey) -> Connection {
        let connection = self.connections.remove(key as usize);
        self.waiting_bytes -= connection.counted_bytes as usize;
        self.by_serial.remove(&connection.id.serial);
        if let Some(next) = connection.next.get() {
            self[next].previous = connection.previous;
        }
        match (connection.previous.get(), connection.next.get()) {
            (None, None) => {
                self.by_user.remove(&connection.identity.sub);
            }
            (None, Some(next)) => {
                self.by_user.insert(Arc::clone(&connection.identity.sub), next);
            }
            (Some(previous), _) => self[previous].next = connection.next,
        }
        connection
    }

    pub(in crate::hub) fn get(&self, key: ConnectionKey) -> Option<&Connection> {
        self.connections.get(key as usize)
    }

    pub(in crate::hub) fn get_mut(&mut self, key: ConnectionKey) -> Option<&mut Connection> {
        self.connections.get_mut(key as usize)
    }

    pub(in crate::hub) fn find(&self, id: ConnectionId) -> Option<ConnectionKey> {
        self.by_serial.get(&id.serial).copied()
    }

    /// The connections of one user, newest first.
    pub(in crate::hub) fn of_user(&self, sub: &str) -> impl Iterator<Item = ConnectionKey> {
        let first = self.by_user.get(sub).copied();
        std::iter::successors(first, |key| self[*key].next.get())
    }

    /// Calls in flight of one user on this shard.
    pub(in crate::hub) fn calls_of_user(&self, sub: &str) -> u32 {
        self.of_user(sub).map(|key| self[key].in_flight.calls()).sum()
    }

    pub(in crate::hub) fn keys(&self) -> impl Iterator<Item = ConnectionKey> {
        self.connections.iter().map(|(key, _)| key as ConnectionKey)
    }

    pub(in crate::hub) fn is_empty(&self) -> bool {
        self.connections.is_empty()
    }

    /// Whether a connection exists and is not closing.
    pub(in crate::hub) fn is_open(&self, key: ConnectionKey) -> bool {
        self.get(key).is_some_and(Connection::is_open)
    }

    /// Opens a connection: silence counts from now on.
    pub(in crate::hub) fn open(&mut self, key: ConnectionKey, second: u32) {
        let connection = &mut self[key];
        connection.phase = ConnectionPhase::Open;
        (connection.last_input, connection.pinged) = (second, second);
        self.resume(key);
        self.reschedule(key);
    }

    /// Queues an answer; it is written at the end of the turn. Nothing follows a close frame.
    pub(in crate::hub) fn answer(&mut self, key: ConnectionKey, frame: Frame, context: &Context) {
        if !self.is_open(key) {
            return;
        }
        match self[key].socket.answer(frame) {
            Ok(()) => self.to_write.push(key),
            Err(disconnect) => self.close(key, disconnect, context),
        }
    }

    /// Closes a connection: the close frame replaces everything queued, memberships end with the
    /// step, the socket ends when the peer has answered or its time is over.
    pub(in crate::hub) fn close(
        &mut self,
        key: ConnectionKey,
        disconnect: Disconnect,
        context: &Context,
    ) {
        let Some(connection) = self.get(key).filter(|connection| connection.is_open()) else {
            return;
        };
        let Disconnect { code, reason, .. } = disconnect;
        tracing::debug!(connection = %connection.id, code, reason, "closing");
        let disconnect = match disconnect.retry {
            None if disconnect.may_return() => disconnect.within(context.config.retry_window),
            _ => disconnect,
        };
        self.close_with(key, (disconnect.code, disconnect.reason), disconnect.frame(), context);
    }

    /// As [`Connections::close`], with this frame, counted under this code, for this reason.
    pub(in crate::hub) fn close_with(
        &mut self,
        key: ConnectionKey,
        (code, reason): (u16, &'static str),
        frame: Frame,
        context: &Context,
    ) {
        let connection = &mut self[key];
        connection.phase = ConnectionPhase::Closing(context.clock.second() + CLOSING_SECONDS);
        let lost = connection.socket.finish(frame);
        self.ended.push(Ended::Conversation { key, code, reason, lost });
        self.recount(key);
        self.reschedule(key);
        self.to_write.push(key);
        // Its peer's close may be in the input that waits, or after it.
        self.resume(key);
    }

    /// Abandons a socket that has failed, with everything queued for it.
    pub(in crate::hub) fn abandon(&mut self, key: ConnectionKey) {
        let Some(connection) = self.get_mut(key).filter(|connection| !connection.is_gone()) else {
            return;
        };
        let was_open = connection.is_open();
        connection.phase = ConnectionPhase::Gone;
        if was_open {
            let lost = connection.socket.discard();
            let reason = "the network connection ended without a close";
            self.ended.push(Ended::Conversation { key, code: ABNORMAL, reason, lost });
            self.recount(key);
        }
        self.ended.push(Ended::Socket(key));
    }

    /// Updates the counted bytes after an outbox has changed. Connections whose sockets keep up
    /// have no outbox, so the usual delivery does not call this.
    pub(in crate::hub) fn recount(&mut self, key: ConnectionKey) {
        let connection = &mut self.connections[key as usize];
        let bytes = u32::try_from(connection.socket.waiting().1).unwrap_or(u32::MAX);
        let before = connection.counted_bytes as usize;
        self.waiting_bytes = self.waiting_bytes - before + bytes as usize;
        connection.counted_bytes = bytes;
    }

    /// What a connection missed of a group lately, to be added to.
    pub(in crate::hub) fn recent_loss(
        &mut self,
        (key, group): (ConnectionKey, Option<GroupKey>),
        names: impl FnOnce(GroupKey) -> Option<GroupName>,
        second: u32,
    ) -> &mut RecentLoss {
        let connection = &self.connections[key as usize];
        let entry = || RecentLoss {
            sub: Arc::clone(&connection.identity.sub),
            connection: connection.id,
            group: group.and_then(names),
            dropped: Dropped::default(),
            gap: None,
            second,
        };
        let loss = self.losses.entry((connection.id, group), entry);
        loss.second = second;
        loss
    }

    /// Notes that a connection was refused a group.
    pub(in crate::hub) fn note_refused(&mut self, key: ConnectionKey, group: &str, second: u32) {
        let sub = Arc::clone(&self.connections[key as usize].identity.sub);
        let group = group.chars().take(MAX_NAME_LEN).collect::<String>().into();
        self.losses.refuse(RefusedJoin { sub, group, second });
    }

    /// Bytes queued in all outboxes.
    pub(in crate::hub) fn waiting_bytes(&self) -> usize {
        self.waiting_bytes
    }

    /// The open connections with queued events, largest first.
    pub(in crate::hub) fn by_waiting_bytes(&self) -> Vec<(usize, ConnectionKey)> {
        let all = self.connections.iter().filter(|(_, it)| it.counted_bytes > 0 && it.is_open());
        let mut waiting: Vec<_> =
            all.map(|(key, it)| (it.counted_bytes as usize, key as ConnectionKey)).collect();
        waiting.sort_unstable_by(|one, other| other.cmp(one));
        waiting
    }

    /// Shuts a closing connection's sending side once its close frame is written.
    pub(in crate::hub) fn finish_closing(&mut self, key: ConnectionKey) {
        let connection = &mut self[key];
        let is_closing = matches!(connection.phase, ConnectionPhase::Closing(_));
        if is_closing && !connection.socket.has_waiting() && connection.socket.shut_down().is_err()
        {
            self.abandon(key);
        }
    }

    /// Schedules a connection to be written at the end of the turn, without a frame of the turn.
    pub(in crate::hub) fn write_later(&mut self, key: ConnectionKey) {
        self.to_write.push(key);
    }

    /// Schedules a connection's waiting input to be read before the shard sleeps.
    pub(in crate::hub) fn resume(&mut self, key: ConnectionKey) {
        self.to_read.push((key, self[key].id.serial));
    }

    /// Schedules a connection's next timer to be set before the shard sleeps.
    pub(in crate::hub) fn reschedule(&mut self, key: ConnectionKey) {
        self.to_schedule.push(key);
    }

    /// A request of this connection was answered.
    pub(in crate::hub) fn request_answered(&mut self, key: ConnectionKey, kind: RequestKind) {
        self[key].in_flight.end(kind);
        self.resume(key);
    }

    /// A request of this connection waits for room, so reading it pauses.
    pub(in crate::hub) fn request_stalled(&mut self, key: ConnectionKey) {
        self[key].stalled += 1;
    }

    /// A request that waited has found room. The key may belong to another connection by now.
    pub(in crate::hub) fn request_placed(&mut self, key: ConnectionKey, serial: u64) {
        if let Some(connection) = self.get_mut(key).filter(|it| it.id.serial == serial) {
            connection.stalled -= 1;
            self.to_read.push((key, serial));
        }
    }

    /// The next connection that has something to write and no links.
    pub(in crate::hub) fn next_to_write(&mut self) -> Option<ConnectionKey> {
        self.to_write.pop()
    }

    /// Whether input waits that may be read.
    pub(in crate::hub) fn has_input(&self) -> bool {
        !self.to_read.is_empty()
    }

    /// The connections, with their serials, whose input waits and may be read.
    pub(in crate::hub) fn take_to_read(&mut self) -> Vec<(ConnectionKey, u64)> {
        std::mem::take(&mut self.to_read)
    }

    /// The next connection whose timer is to be set.
    pub(in crate::hub) fn next_to_schedule(&mut self) -> Option<ConnectionKey> {
        self.to_schedule.pop()
    }

    /// Whether something ended since the last [`Connections::take_ended`].
    pub(in crate::hub) fn has_ended(&self) -> bool {
        !self.ended.is_empty()
    }

    /// What ended during this step, in order. The caller ends memberships and removes connections
    /// without a socket.
    pub(in crate::hub) fn take_ended(&mut self) -> Vec<Ended> {
        std::mem::take(&mut self.ended)
    }
}

impl Index<ConnectionKey> for Connections {
    type Output = Connection;

    fn index(&self, key: ConnectionKey) -> &Connection {
        &self.connections[key as usize]
    }
}

impl IndexMut<ConnectionKey> for Connections {
    fn index_mut(&mut self, key: ConnectionKey) -> &mut Connection {
        &mut self.connections[key as usize]
    }
}
