//! A connection's place in a shard: the connection and what the hub knows of it.

use std::collections::HashMap;
use std::ops::{Index, IndexMut};
use std::sync::Arc;

use slab::Slab;

use super::confirm::Vouched;
use super::members::{Membership, SeatKey};
use super::outgoing::MAX_IN_FLIGHT;
use super::report::Dropped;
use super::turn::FrameChain;
use crate::event::ConnectionId;
use crate::identity::Identity;
use crate::protocol::Encoding;
use crate::socket::ClientSocket;
use crate::telemetry::Protocol;

/// End of a chain of one user's seats.
const NONE: SeatKey = SeatKey::MAX;

/// One connection's place.
///
/// In this order in memory: a delivery touches the chain, the encoding, the phase, the count and the
/// beginning of the connection, which are its first bytes, and the system call between two seats
/// leaves little of either in the nearest cache.
#[repr(C)]
pub(super) struct Connection {
    /// What this turn has for it.
    pub(super) chain: FrameChain,
    pub(super) encoding: Encoding,
    pub(super) phase: Phase,
    pub(super) sent: u64,
    pub(super) connection: ClientSocket,
    pub(super) id: ConnectionId,
    pub(super) identity: Identity,
    pub(super) route: u16,
    /// Values of the route's path parameters; almost always none.
    pub(super) parameters: Option<Box<[(String, String)]>>,
    pub(super) memberships: Vec<Membership>,
    /// The back end's word that it rests on; none with a token.
    pub(super) vouched: Option<Box<Vouched>>,
    /// Requests under way; reading pauses at a bound, so they need no queue of their own.
    pub(super) in_flight: u8,
    /// Its requests that wait for room in the channel.
    pub(super) stalled: u32,
    /// Whether `auth_due` was said for the present token.
    pub(super) warned: bool,
    pub(super) budget: Budget,
    /// Second of the shard's clock: arrival, last word heard, last ping, next look.
    pub(super) since: u32,
    pub(super) heard: u32,
    pub(super) pinged: u32,
    pub(super) due: u32,
    /// What it did not get, once there is something.
    pub(super) dropped: Option<Box<Dropped>>,
    /// The user's other seats.
    next: SeatKey,
    previous: SeatKey,
}

/// How far a connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Its first memberships are not answered yet; it is not read.
    Arriving,
    /// It converses.
    Open,
    /// Its close frame is under way; what it says is discarded, until this second at most.
    Closing(u32),
}

/// Frames that a connection may still send: a token bucket in thousandths of a frame.
#[derive(Debug, Clone, Copy)]
pub(super) struct Budget {
    left: u32,
    /// Milliseconds of the shard's clock, wrapping after 49 days: differences hold all the same.
    filled: u32,
}

impl Budget {
    pub(super) fn full(burst: u32, now_ms: u64) -> Self {
        Self { left: burst.saturating_mul(1000), filled: now_ms as u32 }
    }

    /// Takes one frame; whether there was one to take.
    pub(super) fn take(&mut self, rate: u32, burst: u32, now_ms: u64) -> bool {
        let passed = (now_ms as u32).wrapping_sub(self.filled);
        self.filled = now_ms as u32;
        let full = burst.saturating_mul(1000);
        self.left = self.left.saturating_add(passed.saturating_mul(rate)).min(full);
        match self.left.checked_sub(1000) {
            Some(left) => {
                self.left = left;
                true
            }
            None => false,
        }
    }
}

/// All seats of a shard, found by key, connection or user.
#[derive(Default)]
pub(super) struct Connections {
    seats: Slab<Connection>,
    by_serial: HashMap<u64, SeatKey>,
    /// First of each user's seats; the others hang on it.
    by_user: HashMap<Arc<str>, SeatKey>,
}

impl Connection {
    /// A seat for a connection that has just arrived; `Connections::insert` links it.
    pub(super) fn new(
        id: ConnectionId,
        connection: ClientSocket,
        identity: Identity,
        encoding: Encoding,
        route: u16,
        budget: Budget,
        second: u32,
    ) -> Self {
        Self {
            id,
            connection,
            identity,
            encoding,
            route,
            parameters: None,
            memberships: Vec::new(),
            vouched: None,
            chain: FrameChain::default(),
            phase: Phase::Arriving,
            in_flight: 0,
            stalled: 0,
            warned: false,
            budget,
            since: second,
            heard: second,
            pinged: second,
            due: 0,
            sent: 0,
            dropped: None,
            next: NONE,
            previous: NONE,
        }
    }

    pub(super) fn is_v1(&self) -> bool {
        self.encoding == Encoding::V1
    }

    pub(super) fn protocol(&self) -> Protocol {
        if self.is_v1() { Protocol::V1 } else { Protocol::Plain }
    }

    /// Whether it is not to be heard for now. One that is closing is: its peer's close is awaited.
    pub(super) fn must_wait(&self) -> bool {
        match self.phase {
            Phase::Arriving => true,
            Phase::Open => self.stalled > 0 || self.in_flight >= MAX_IN_FLIGHT,
            Phase::Closing(_) => false,
        }
    }

    pub(super) fn is_closing(&self) -> bool {
        matches!(self.phase, Phase::Closing(_))
    }
}

impl Connections {
    pub(super) fn insert(&mut self, mut seat: Connection) -> SeatKey {
        let key = self.seats.vacant_key() as SeatKey;
        self.by_serial.insert(seat.id.serial, key);
        if let Some(first) = self.by_user.insert(Arc::clone(&seat.identity.sub), key) {
            seat.next = first;
            self.seats[first as usize].previous = key;
        }
        self.seats.insert(seat);
        key
    }

    pub(super) fn remove(&mut self, key: SeatKey) -> Connection {
        let seat = self.seats.remove(key as usize);
        self.by_serial.remove(&seat.id.serial);
        if seat.next != NONE {
            self.seats[seat.next as usize].previous = seat.previous;
        }
        match (seat.previous, seat.next) {
            (NONE, NONE) => {
                self.by_user.remove(&seat.identity.sub);
            }
            (NONE, next) => {
                self.by_user.insert(Arc::clone(&seat.identity.sub), next);
            }
            (previous, next) => self.seats[previous as usize].next = next,
        }
        seat
    }

    pub(super) fn get(&self, key: SeatKey) -> Option<&Connection> {
        self.seats.get(key as usize)
    }

    pub(super) fn get_mut(&mut self, key: SeatKey) -> Option<&mut Connection> {
        self.seats.get_mut(key as usize)
    }

    pub(super) fn find(&self, id: ConnectionId) -> Option<SeatKey> {
        self.by_serial.get(&id.serial).copied()
    }

    /// The seats of one user, newest first.
    pub(super) fn of_user(&self, sub: &str) -> impl Iterator<Item = SeatKey> {
        let first = self.by_user.get(sub).copied();
        std::iter::successors(first, |key| match self.seats[*key as usize].next {
            NONE => None,
            next => Some(next),
        })
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = SeatKey> {
        self.seats.iter().map(|(key, _)| key as SeatKey)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.seats.is_empty()
    }
}

impl Index<SeatKey> for Connections {
    type Output = Connection;

    fn index(&self, key: SeatKey) -> &Connection {
        &self.seats[key as usize]
    }
}

impl IndexMut<SeatKey> for Connections {
    fn index_mut(&mut self, key: SeatKey) -> &mut Connection {
        &mut self.seats[key as usize]
    }
}
