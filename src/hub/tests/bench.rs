//! One shard on a test's own thread and time, and everything around it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::Events;

use super::fixture::{answer_to, event, group, identity, instance, shard_config};
use super::peer::{Peer, pair};
use crate::event::{
    ConnectionId, Control, Except, Publication, PublicationId, Recovery, Stamp, Target,
};
use crate::group::GroupName;
use crate::hub::command::{OrderedCommand, PromptCommand};

use crate::hub::shard::{Shard, ShardHandle, build};
use crate::hub::store::{RequestQueue, request_channels};
use crate::hub::{
    Answer, Call, Confirm, Credential, Join, MembershipRequest, NewConnection, Registry,
    RequestKind, Requests, Send, Settings,
};
use crate::protocol::{Code, Disconnect, Encoding, Refusal};
use crate::socket;
use crate::telemetry::Metrics;

pub(super) struct Bench {
    pub(super) shard: Shard,
    pub(super) handle: ShardHandle,
    pub(super) requests: Requests,
    pub(super) registry: Arc<Registry>,
    pub(super) metrics: Arc<Metrics>,
    /// The bench's present, moved by [`Bench::pass`] alone.
    pub(super) now: Instant,
    /// What the next connection says that it had before.
    pub(super) previous: Option<ConnectionId>,
    events: Events,
    serial: u64,
}

/// A request of any kind.
#[derive(Debug)]
pub(super) enum Requested {
    Join(Join),
    Release(Vec<GroupName>),
    Send(Box<Send>),
    Call(Box<Call>),
    Confirm(Confirm),
}

impl Requests {
    /// The next request of a kind that has one.
    pub(super) fn try_recv(&mut self) -> Option<Requested> {
        if let Ok(request) = self.memberships.try_recv() {
            return Some(match request {
                MembershipRequest::Join(join) => Requested::Join(join),
                MembershipRequest::Release { groups, .. } => Requested::Release(groups),
            });
        }
        let send = self.sends.try_recv().ok().map(Requested::Send);
        let call = || self.calls.try_recv().ok().map(Requested::Call);
        let confirm = || self.confirmations.try_recv().ok().map(Requested::Confirm);
        send.or_else(call).or_else(confirm)
    }

    pub(super) fn len(&self) -> usize {
        let sent = self.sends.len() + self.calls.len();
        self.memberships.len() + sent + self.confirmations.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// How long a test may wait for what the loopback carries.
const PATIENCE: Duration = Duration::from_secs(10);

impl Bench {
    pub(super) fn new() -> Self {
        Self::with(socket::Settings::default(), 4096)
    }

    /// With these bounds, and room for so many requests.
    pub(super) fn with(connection: socket::Settings, requests: usize) -> Self {
        let registry = Arc::new(Registry::default());
        Self::numbered(0, connection, requests, registry)
    }

    /// One of several shards that share a registry.
    pub(super) fn numbered(
        index: usize,
        connection: socket::Settings,
        requests: usize,
        registry: Arc<Registry>,
    ) -> Self {
        Self::built(index, connection, requests, registry, &Settings::default())
    }

    /// Whose outboxes together may hold so many bytes.
    pub(super) fn with_total_outbox_bytes(bytes: usize) -> Self {
        let settings = Settings { total_outbox_bytes: bytes, ..Settings::default() };
        Self::built(0, socket::Settings::default(), 4096, Arc::default(), &settings)
    }

    fn built(
        index: usize,
        connection: socket::Settings,
        requests: usize,
        registry: Arc<Registry>,
        settings: &Settings,
    ) -> Self {
        let metrics = Arc::new(Metrics::new());
        let config = Arc::new(shard_config(connection, Arc::clone(&metrics)));
        let (senders, requests) = request_channels(requests);
        let outgoing = RequestQueue::new(senders, index);
        let shared = Arc::clone(&registry);
        let (handle, shard) = build(index, instance(), settings, config, shared, outgoing).unwrap();
        let (now, events) = (Instant::now(), Events::with_capacity(1024));
        let serial = index as u64 * 1_000_000;
        Self { shard, handle, requests, registry, metrics, now, previous: None, events, serial }
    }

    /// One turn, for what is there by now.
    pub(super) fn turn(&mut self) {
        self.shard.poll_sockets(&mut self.events, Duration::ZERO);
        self.shard.work(&mut self.events, self.now);
    }

    /// Turns until `done`.
    pub(super) fn turn_until(&mut self, what: &str, mut done: impl FnMut(&mut Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !done(self) {
            assert!(Instant::now() < deadline, "never: {what}");
            self.shard.poll_sockets(&mut self.events, Duration::from_millis(1));
            self.shard.work(&mut self.events, self.now);
        }
    }

    /// Lets `time` pass in steps of a second, with a turn in each.
    pub(super) fn pass(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.now += Duration::from_secs(1);
            self.turn();
        }
    }

    pub(super) fn post(&mut self, command: PromptCommand) {
        assert!(self.handle.inbox.try_send_promptly(command).is_ok(), "the inbox is full");
    }

    pub(super) fn post_in_order(&mut self, command: OrderedCommand) {
        assert!(self.handle.inbox.try_send(command).is_ok(), "the inbox is full");
    }

    /// Answers a request of a connection, with nothing to be sent.
    pub(super) fn answered(&mut self, to: ConnectionId, kind: RequestKind) {
        self.post(PromptCommand::Answer(Answer { to, kind, frame: None }));
    }

    /// A connection that has just been handed over; its join waits to be answered.
    pub(super) fn arrive(&mut self, sub: &str, encoding: Encoding, groups: &[&str]) -> Peer {
        self.arrive_by(sub, encoding, groups, false, 0)
    }

    pub(super) fn arrive_by(
        &mut self,
        sub: &str,
        encoding: Encoding,
        groups: &[&str],
        small: bool,
        route: u16,
    ) -> Peer {
        self.arrive_with(sub, encoding, groups, small, route, Credential::Token)
    }

    /// With a hook identity, if there is one.
    pub(super) fn arrive_with(
        &mut self,
        sub: &str,
        encoding: Encoding,
        groups: &[&str],
        small: bool,
        route: u16,
        credential: Credential,
    ) -> Peer {
        self.serial += 1;
        let id = ConnectionId { instance: instance(), serial: self.serial };
        let (server, client) = pair(small);
        let identity = identity(sub);
        assert!(self.registry.enter(&identity.sub, 64), "too many of one user");
        let arrival = NewConnection {
            id,
            previous: self.previous.take(),
            stream: server,
            leftover: Vec::new(),
            identity,
            encoding,
            route,
            parameters: Vec::new(),
            groups: groups.iter().map(|name| (group(name), None)).collect(),
            credential,
            stamp: Stamp { generation: 1, number: 5 },
        };
        self.handle.load.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let posted = self.handle.inbox.posted_at();
        self.post(PromptCommand::Admit(Box::new(arrival), posted));
        self.turn();
        Peer::new(id, client)
    }

    /// A welcomed v1 connection.
    pub(super) fn connect(&mut self, sub: &str, groups: &[&str]) -> Peer {
        let mut peer = self.arrive(sub, Encoding::V1, groups);
        self.grant_all();
        peer.expect("welcome");
        peer
    }

    /// A welcomed v1 connection whose socket fills soon.
    pub(super) fn connect_narrow(&mut self, sub: &str, groups: &[&str]) -> Peer {
        let mut peer = self.arrive_by(sub, Encoding::V1, groups, true, 0);
        self.grant_all();
        peer.expect("welcome");
        peer
    }

    /// The next join that waits.
    pub(super) fn join(&mut self) -> Join {
        match self.requests.try_recv() {
            Some(Requested::Join(join)) => join,
            other => panic!("{other:?} in place of a join"),
        }
    }

    /// Answers joins, equally for all groups, and runs a turn.
    pub(super) fn grant(&mut self, join: Join, recovery: &Recovery) {
        self.answer(join, |_| Ok(recovery.clone()));
    }

    pub(super) fn refuse(&mut self, join: Join) {
        self.answer(join, |_| Err(Refusal::new(Code::Unavailable, "no layer")));
    }

    pub(super) fn answer(
        &mut self,
        join: Join,
        outcome: impl Fn(&GroupName) -> Result<Recovery, Refusal>,
    ) {
        let joined = answer_to(join, outcome);
        self.post(PromptCommand::Joined(Box::new(joined)));
        self.turn();
    }

    /// Serves all that waits: joins are granted, releases forgotten.
    pub(super) fn grant_all(&mut self) {
        while let Some(request) = self.requests.try_recv() {
            if let Requested::Join(join) = request {
                self.grant(join, &Recovery::default());
            }
        }
    }

    pub(super) fn publish(&mut self, publication: Publication) {
        let delivery = self.handle.inbox.delivery(Arc::new(publication));
        self.post_in_order(delivery);
    }

    /// A publication to `target` accepted now.
    pub(super) fn publication(&self, target: Target, n: u64, size: usize) -> Publication {
        Publication {
            id: PublicationId(n.into()),
            target,
            event: event(n, size),
            except: Except::default(),
            accepted: self.now,
            deadline: None,
            position: None,
        }
    }

    pub(super) fn to_group(&self, name: &str, n: u64) -> Publication {
        self.publication(Target::Group(group(name)), n, 60)
    }

    pub(super) fn to_user(&self, sub: &str, n: u64) -> Publication {
        self.publication(Target::User(sub.into()), n, 60)
    }

    pub(super) fn control(&mut self, control: Control) {
        self.control_stamped(control, None);
    }

    /// A command with a stamp; connections here have `{1, 5}`.
    pub(super) fn control_stamped(&mut self, control: Control, stamp: Option<Stamp>) {
        let posted = self.handle.inbox.posted_at();
        self.post_in_order(OrderedCommand::Control(control, stamp, posted));
    }

    pub(super) fn close_all(&mut self) {
        let disconnect = Disconnect::UNAVAILABLE.within(Duration::from_secs(2));
        let posted = self.handle.inbox.posted_at();
        self.post_in_order(OrderedCommand::CloseAll(disconnect, posted));
    }

    /// The value of a metric, by the beginning of its line.
    pub(super) fn metric(&self, name: &str) -> f64 {
        let text = self.metrics.render();
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        let value = line.unwrap_or_else(|| panic!("no metric {name}")).trim();
        value.parse().unwrap()
    }
}
