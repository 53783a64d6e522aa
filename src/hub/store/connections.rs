//! All connections of a shard, and the work that the end of a step owes them.
//!
//! A connection that ends is marked where it happens and taken out at the end of the step
//! ([`Connections::take_ended`]), with its memberships. So nothing that delivers, joins or reads
//! sees a group or a connection disappear under it. The alternative, ending it at once, made every
//! loop over members ask after each of them whether the group was still there.

use std::collections::HashMap;
use std::ops::{Index, IndexMut};
use std::sync::Arc;

use slab::Slab;

use super::connection::{Connection, ConnectionPhase};
use super::keys::ConnectionKey;
use crate::event::ConnectionId;
use crate::frame::Frame;
use crate::hub::context::Context;
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
    /// First of each user's connections; the others hang on it.
    by_user: HashMap<Arc<str>, ConnectionKey>,
    /// Have something to write that is linked to no frame of the turn.
    to_write: Vec<ConnectionKey>,
    /// Their input waits and may be read.
    to_read: Vec<(ConnectionKey, u64)>,
    /// Their next timer is to be set.
    to_schedule: Vec<ConnectionKey>,
    ended: Vec<Ended>,
    waiting_bytes: usize,
}

/// What has ended during a step.
pub(in crate::hub) enum Ended {
    /// A conversation: memberships and what waits for them go.
    Conversation {
        key: ConnectionKey,
        /// As counted and reported.
        code: u16,
        /// Events that waited, by source.
        lost: Vec<(Source, u32)>,
    },
    /// The socket: the connection goes.
    Socket(ConnectionKey),
}

impl Connections {
    pub(in crate::hub) fn insert(&mut self, mut connection: Connection) -> ConnectionKey {
        let key = self.connections.vacant_key() as ConnectionKey;
        self.by_serial.insert(connection.id.serial, key);
        let first = self.by_user.insert(Arc::clone(&connection.identity.sub), key);
        if let Some(first) = first {
            connection.next = Some(first);
            self[first].previous = Some(key);
        }
        self.connections.insert(connection);
        key
    }

    pub(in crate::hub) fn remove(&mut self, key: ConnectionKey) -> Connection {
        let connection = self.connections.remove(key as usize);
        self.waiting_bytes -= connection.counted_bytes;
        self.by_serial.remove(&connection.id.serial);
        if let Some(next) = connection.next {
            self[next].previous = connection.previous;
        }
        match (connection.previous, connection.next) {
            (None, None) => {
                self.by_user.remove(&connection.identity.sub);
            }
            (None, Some(next)) => {
                self.by_user.insert(Arc::clone(&connection.identity.sub), next);
            }
            (Some(previous), next) => self[previous].next = next,
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
        std::iter::successors(first, |key| self[*key].next)
    }

    /// Calls of one user under way from here.
    pub(in crate::hub) fn calls_of_user(&self, sub: &str) -> u32 {
        self.of_user(sub).map(|key| self[key].in_flight.calls()).sum()
    }

    pub(in crate::hub) fn keys(&self) -> impl Iterator<Item = ConnectionKey> {
        self.connections.iter().map(|(key, _)| key as ConnectionKey)
    }

    pub(in crate::hub) fn is_empty(&self) -> bool {
        self.connections.is_empty()
    }

    /// Whether a connection is there and not at its end.
    pub(in crate::hub) fn is_open(&self, key: ConnectionKey) -> bool {
        self.get(key).is_some_and(Connection::is_open)
    }

    /// The conversation begins: from now on silence counts.
    pub(in crate::hub) fn open(&mut self, key: ConnectionKey, second: u32) {
        let connection = &mut self[key];
        connection.phase = ConnectionPhase::Open;
        (connection.heard, connection.pinged) = (second, second);
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

    /// Ends a conversation: the close frame takes the place of what waits, memberships end with the
    /// step, the socket when the peer has answered or its time is over.
    pub(in crate::hub) fn close(
        &mut self,
        key: ConnectionKey,
        disconnect: Disconnect,
        context: &Context,
    ) {
        let Some(connection) = self.get(key).filter(|connection| connection.is_open()) else {
            return;
        };
        tracing::debug!(connection = %connection.id, code = disconnect.code, reason = disconnect.reason, "closing");
        let disconnect = match disconnect.retry {
            None if disconnect.may_return() => disconnect.within(context.config.retry_window),
            _ => disconnect,
        };
        self.close_with(key, disconnect.code, disconnect.frame(), context);
    }

    /// As [`Connections::close`], with this frame, counted under this code.
    pub(in crate::hub) fn close_with(
        &mut self,
        key: ConnectionKey,
        code: u16,
        frame: Frame,
        context: &Context,
    ) {
        let connection = &mut self[key];
        connection.phase = ConnectionPhase::Closing(context.clock.second() + CLOSING_SECONDS);
        let lost = connection.socket.finish(frame);
        self.ended.push(Ended::Conversation { key, code, lost });
        self.recount(key);
        self.reschedule(key);
        self.to_write.push(key);
        // Its peer's close may stand in what waits, or behind it.
        self.resume(key);
    }

    /// Gives up a socket that is of no more use, with all that waits for it.
    pub(in crate::hub) fn abandon(&mut self, key: ConnectionKey) {
        let Some(connection) = self.get_mut(key).filter(|connection| !connection.is_gone()) else {
            return;
        };
        let was_open = connection.is_open();
        connection.phase = ConnectionPhase::Gone;
        if was_open {
            let lost = connection.socket.discard();
            self.ended.push(Ended::Conversation { key, code: ABNORMAL, lost });
            self.recount(key);
        }
        self.ended.push(Ended::Socket(key));
    }

    /// Counts what waits for a connection, after its outbox has changed. Connections whose sockets
    /// keep up have none, so the usual delivery does not come here.
    pub(in crate::hub) fn recount(&mut self, key: ConnectionKey) {
        let connection = &mut self.connections[key as usize];
        let bytes = connection.socket.waiting().1;
        self.waiting_bytes = self.waiting_bytes - connection.counted_bytes + bytes;
        connection.counted_bytes = bytes;
    }

    /// Bytes that wait in all outboxes.
    pub(in crate::hub) fn waiting_bytes(&self) -> usize {
        self.waiting_bytes
    }

    /// The open connections for which something waits, largest first.
    pub(in crate::hub) fn by_waiting_bytes(&self) -> Vec<(usize, ConnectionKey)> {
        let all = self.connections.iter().filter(|(_, it)| it.counted_bytes > 0 && it.is_open());
        let mut waiting: Vec<_> =
            all.map(|(key, it)| (it.counted_bytes, key as ConnectionKey)).collect();
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

    /// Has a connection written at the end of the turn although no frame of the turn is for it.
    pub(in crate::hub) fn write_later(&mut self, key: ConnectionKey) {
        self.to_write.push(key);
    }

    /// Has a connection's input read before the shard sleeps.
    pub(in crate::hub) fn resume(&mut self, key: ConnectionKey) {
        self.to_read.push((key, self[key].id.serial));
    }

    /// Has a connection's next timer set before the shard sleeps.
    pub(in crate::hub) fn reschedule(&mut self, key: ConnectionKey) {
        self.to_schedule.push(key);
    }

    /// A request of this connection was answered: one less is under way.
    pub(in crate::hub) fn request_answered(&mut self, key: ConnectionKey, kind: RequestKind) {
        self[key].in_flight.end(kind);
        self.resume(key);
    }

    /// A request of this connection waits for room, and so must the connection.
    pub(in crate::hub) fn request_stalled(&mut self, key: ConnectionKey) {
        self[key].stalled += 1;
    }

    /// A request that waited has found room; the connection may be another's by now.
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

    /// What ended during this step, in order. The caller ends the memberships and removes what has
    /// no socket any more.
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
