//! A shard's requests to other rooms, waiting for room in the bounded channel of their kind.

use std::collections::VecDeque;

use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::mpsc::{self, Sender};

use super::connections::Connections;
use super::groups::Groups;
use super::keys::ConnectionKey;
use crate::group::GroupName;
use crate::hub::request::{Call, Confirm, Join, MembershipRequest, Requests, Send};

/// A request of one connection.
#[derive(Debug)]
pub(in crate::hub) enum Request {
    Join(Join),
    Send(Box<Send>),
    Call(Box<Call>),
    Confirm(Confirm),
}

/// The sending ends of [`Requests`].
#[derive(Debug, Clone)]
pub(in crate::hub) struct RequestSenders {
    memberships: Sender<MembershipRequest>,
    sends: Sender<Box<Send>>,
    calls: Sender<Box<Call>>,
    confirmations: Sender<Confirm>,
}

/// The shard's side of the channels.
///
/// Bounded without losses: a connection whose request finds no room is not read until it does. So
/// at most one request of each connection waits, and one about it. Releases are bounded by the
/// groups that were held.
pub(in crate::hub) struct RequestQueue {
    senders: RequestSenders,
    shard: usize,
    joins: VecDeque<Waiting>,
    sends: VecDeque<Waiting>,
    calls: VecDeque<Waiting>,
    confirmations: VecDeque<Waiting>,
    /// Sends and calls of connections with joins in flight.
    behind_joins: Vec<Waiting>,
    released: Vec<GroupName>,
}

/// A queued request. Its connection is not read until there is room.
struct Waiting {
    connection: ConnectionKey,
    serial: u64,
    request: Request,
}

/// Channels with this capacity for each kind of request.
pub(in crate::hub) fn request_channels(capacity: usize) -> (RequestSenders, Requests) {
    let (memberships, membership_requests) = mpsc::channel(capacity);
    let (sends, send_requests) = mpsc::channel(capacity);
    let (calls, call_requests) = mpsc::channel(capacity);
    let (confirmations, confirm_requests) = mpsc::channel(capacity);
    let senders = RequestSenders { memberships, sends, calls, confirmations };
    let requests = Requests {
        memberships: membership_requests,
        sends: send_requests,
        calls: call_requests,
        confirmations: confirm_requests,
    };
    (senders, requests)
}

impl Request {
    /// Whether it waits for earlier joins of its connection: a client that joins a group and then
    /// sends to it expects to receive what it sent.
    fn follows_joins(&self) -> bool {
        matches!(self, Self::Send(_) | Self::Call(_))
    }
}

impl RequestSenders {
    /// Returns the request if there is no room.
    fn try_send(&self, request: Request) -> Result<(), Request> {
        match request {
            Request::Join(join) => {
                give_back(self.memberships.try_send(MembershipRequest::Join(join)), |request| {
                    match request {
                        MembershipRequest::Join(join) => Request::Join(join),
                        MembershipRequest::Release { .. } => unreachable!("a join was sent"),
                    }
                })
            }
            Request::Send(send) => give_back(self.sends.try_send(send), Request::Send),
            Request::Call(call) => give_back(self.calls.try_send(call), Request::Call),
            Request::Confirm(confirm) => {
                give_back(self.confirmations.try_send(confirm), Request::Confirm)
            }
        }
    }

    fn len(&self) -> usize {
        fn used<T>(sender: &Sender<T>) -> usize {
            sender.max_capacity() - sender.capacity()
        }
        used(&self.memberships) + used(&self.sends) + used(&self.calls) + used(&self.confirmations)
    }
}

/// A closed channel drops requests: the gateway is ending, with all connections.
fn give_back<T>(
    sent: Result<(), TrySendError<T>>,
    request: impl Fn(T) -> Request,
) -> Result<(), Request> {
    match sent {
        Ok(()) | Err(TrySendError::Closed(_)) => Ok(()),
        Err(TrySendError::Full(value)) => Err(request(value)),
    }
}

impl RequestQueue {
    pub(in crate::hub) fn new(senders: RequestSenders, shard: usize) -> Self {
        Self {
            senders,
            shard,
            joins: VecDeque::new(),
            sends: VecDeque::new(),
            calls: VecDeque::new(),
            confirmations: VecDeque::new(),
            behind_joins: Vec::new(),
            released: Vec::new(),
        }
    }

    /// Sends a request for a connection, which waits with it if it must wait itself.
    pub(in crate::hub) fn request(
        &mut self,
        connections: &mut Connections,
        connection: ConnectionKey,
        request: Request,
    ) {
        let serial = connections[connection].id.serial;
        if request.follows_joins() && connections[connection].is_joining() {
            connections.request_stalled(connection);
            return self.behind_joins.push(Waiting { connection, serial, request });
        }
        let is_first = self.line_of(&request).is_empty();
        let unsent = if is_first { self.senders.try_send(request) } else { Err(request) };
        if let Err(request) = unsent {
            connections.request_stalled(connection);
            self.line_of(&request).push_back(Waiting { connection, serial, request });
        }
    }

    /// Records that the last member of `group` on this shard has left.
    pub(in crate::hub) fn release(&mut self, group: GroupName) {
        self.released.push(group);
    }

    /// Requests of all shards in the channels, and this one's that wait.
    pub(in crate::hub) fn len(&self) -> usize {
        let lines = [&self.joins, &self.sends, &self.calls, &self.confirmations];
        let waiting: usize = lines.iter().map(|line| line.len()).sum();
        self.senders.len() + waiting + self.behind_joins.len()
    }

    /// Whether anything waits for room. What waits for a join is sent once the join is answered.
    pub(in crate::hub) fn is_waiting(&self) -> bool {
        let lines = [&self.joins, &self.sends, &self.calls, &self.confirmations];
        lines.iter().any(|line| !line.is_empty()) || !self.released.is_empty()
    }

    /// Sends waiting requests, as far as there is room.
    pub(in crate::hub) fn send(&mut self, connections: &mut Connections, groups: &Groups) {
        for waiting in std::mem::take(&mut self.behind_joins) {
            let connection = connections.get(waiting.connection);
            let is_joining = connection.is_some_and(|connection| {
                connection.id.serial == waiting.serial && connection.is_joining()
            });
            match is_joining {
                true => self.behind_joins.push(waiting),
                false => self.line_of(&waiting.request).push_back(waiting),
            }
        }
        let lines = [&mut self.joins, &mut self.sends, &mut self.calls, &mut self.confirmations];
        for line in lines {
            send_line(&self.senders, line, connections);
        }
        if self.joins.is_empty() {
            self.send_released(groups);
        }
    }

    /// A group that has members again is not released: its join may already have been sent.
    fn send_released(&mut self, groups: &Groups) {
        self.released.retain(|name| groups.find(name).is_none());
        if self.released.is_empty() {
            return;
        }
        let groups = std::mem::take(&mut self.released);
        let release = MembershipRequest::Release { shard: self.shard, groups };
        if let Err(TrySendError::Full(MembershipRequest::Release { groups, .. })) =
            self.senders.memberships.try_send(release)
        {
            self.released = groups;
        }
    }

    fn line_of(&mut self, request: &Request) -> &mut VecDeque<Waiting> {
        match request {
            Request::Join(_) => &mut self.joins,
            Request::Send(_) => &mut self.sends,
            Request::Call(_) => &mut self.calls,
            Request::Confirm(_) => &mut self.confirmations,
        }
    }
}

fn send_line(
    senders: &RequestSenders,
    line: &mut VecDeque<Waiting>,
    connections: &mut Connections,
) {
    while let Some(Waiting { connection, serial, request }) = line.pop_front() {
        match senders.try_send(request) {
            Ok(()) => connections.request_placed(connection, serial),
            Err(request) => {
                line.push_front(Waiting { connection, serial, request });
                return;
            }
        }
    }
    // Memory of a wave of requests is released.
    if line.capacity() > 1024 {
        *line = VecDeque::new();
    }
}
