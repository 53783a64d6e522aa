//! The hub's handle for other rooms: posts to shards, and hands sockets over to them.

mod inspections;

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};

use super::command::{OrderedCommand, PossibleGap, PromptCommand};
use super::inspection::Inspection;
use super::owners::RecentOwners;
use super::registry::{MAX_SHARDS, Registry, ShardSet};
use super::report::{GroupReport, UserReport};
use super::request::{Answer, Confirmation, Joined, NewConnection, Requests};
use super::shard::{ShardHandle, build};
use super::store::{RequestQueue, request_channels};
use super::{Settings, ShardConfig};
use crate::event::{ConnectionId, Control, InstanceId, Position, Publication, Stamp, Target};
use crate::group::GroupName;
use crate::protocol::Disconnect;
use crate::supervisor::Progress;
use crate::telemetry::Metrics;

/// All shards of this instance. Cloning is cheap.
#[derive(Clone)]
pub(crate) struct Hub(Arc<HubShared>);

struct HubShared {
    instance: InstanceId,
    shards: Vec<ShardHandle>,
    /// The turns of each shard.
    progress: Vec<Progress>,
    registry: Arc<Registry>,
    owners: RecentOwners,
    serial: AtomicU64,
    settings: Settings,
    metrics: Arc<Metrics>,
    /// Closed when the last shard's thread has ended. Taken by the drain.
    ended: Mutex<Option<mpsc::Receiver<()>>>,
}

/// Aborts the process if its thread panics. A gateway without one of its shards looks healthy, but
/// delivers nothing to that shard's connections. A process supervisor restarts it completely.
struct AbortOnPanic;

impl Drop for AbortOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            tracing::error!("shard panicked; aborting");
            std::process::abort();
        }
    }
}

/// A connection that no shard takes.
#[derive(Debug)]
pub(crate) struct NotAdmitted {
    /// The socket and all that came with it.
    pub connection: Box<NewConnection>,
    /// How to close it.
    pub disconnect: Disconnect,
}

impl ShardHandle {
    /// The shard's answer to a question; `None` if it has ended.
    async fn inspect<T>(&self, ask: impl FnOnce(oneshot::Sender<T>) -> Inspection) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        self.inbox.send_promptly(PromptCommand::Inspect(ask(reply))).await;
        answer.await.ok()
    }
}

impl Hub {
    /// Starts the shards. Their requests to other rooms come out of the channels.
    pub(crate) fn start(
        instance: InstanceId,
        settings: Settings,
        config: ShardConfig,
    ) -> io::Result<(Self, Requests)> {
        let count = match settings.shards {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            count => count,
        }
        .min(MAX_SHARDS);
        let (senders, requests) = request_channels(settings.requests);
        let (alive, ended) = mpsc::channel(1);
        let registry = Arc::new(Registry::default());
        let metrics = Arc::clone(&config.metrics);
        let config = Arc::new(config);
        let mut shards = Vec::with_capacity(count);
        let mut progress = Vec::with_capacity(count);
        for index in 0..count {
            let queue = RequestQueue::new(senders.clone(), index);
            let registry = Arc::clone(&registry);
            let (handle, shard) =
                build(index, instance, &settings, Arc::clone(&config), registry, queue)?;
            let alive = alive.clone();
            let turns = Progress::default();
            progress.push(turns.clone());
            std::thread::Builder::new().name(format!("shard-{index}")).spawn(move || {
                let abort_on_panic = AbortOnPanic;
                shard.run(&turns);
                drop((abort_on_panic, alive));
            })?;
            shards.push(handle);
        }
        let shared = HubShared {
            instance,
            shards,
            progress,
            registry,
            owners: RecentOwners::new(),
            serial: AtomicU64::new(0),
            settings,
            metrics,
            ended: Mutex::new(Some(ended)),
        };
        Ok((Self(Arc::new(shared)), requests))
    }

    /// The turns of the shards, by name.
    pub(crate) fn progress(&self) -> impl Iterator<Item = (String, Progress)> {
        let shards = self.0.progress.iter().enumerate();
        shards.map(|(index, turns)| (format!("shard {index}"), turns.clone()))
    }

    /// The instance's id, with which all its connections' ids begin.
    pub(crate) fn instance(&self) -> InstanceId {
        self.0.instance
    }

    /// An id for a connection about to arrive.
    pub(crate) fn next_id(&self) -> ConnectionId {
        let serial = self.0.serial.fetch_add(1, Ordering::Relaxed) + 1;
        ConnectionId { instance: self.0.instance, serial }
    }

    /// Connections on all shards, including those being handed over.
    pub(crate) fn connections(&self) -> usize {
        self.0.registry.connections()
    }

    /// Groups with members here.
    pub(crate) fn groups(&self) -> usize {
        self.0.registry.groups()
    }

    /// Gives a new connection to the shard with the fewest connections.
    ///
    /// One listener and a choice, rather than SO_REUSEPORT: sockets live for hours, so balance
    /// counts for more than the rate of accepting, and the kernel's hash cannot be corrected.
    pub(crate) fn admit(&self, mut connection: Box<NewConnection>) -> Result<(), NotAdmitted> {
        let sub = Arc::clone(&connection.identity.sub);
        let (instance, owners) = (self.0.instance, &self.0.owners);
        let is_believed =
            |it: &ConnectionId| it.instance != instance || !owners.contradict(it.serial, &sub);
        connection.previous = connection.previous.filter(is_believed);
        owners.record(connection.id.serial, &sub);
        if !self.0.registry.enter(&sub, self.0.settings.connections_per_user) {
            let disconnect = Disconnect::TOO_MANY.because("too many connections of this user");
            return Err(NotAdmitted { connection, disconnect });
        }
        let least = self.0.shards.iter().min_by_key(|shard| shard.load.load(Ordering::Relaxed));
        let shard = least.expect("a hub has at least one shard");
        // Counted here, so that a wave of connections spreads evenly before the shards have seen
        // it. The shard counts it out when it ends.
        shard.load.fetch_add(1, Ordering::Relaxed);
        let command = PromptCommand::Admit(connection, shard.inbox.posted_at());
        match shard.inbox.try_send_promptly(command) {
            Ok(()) => Ok(()),
            Err(PromptCommand::Admit(connection, _)) => {
                self.0.registry.leave(&sub);
                shard.load.fetch_sub(1, Ordering::Relaxed);
                Err(NotAdmitted {
                    connection,
                    disconnect: Disconnect::TOO_MANY.because("too many at once"),
                })
            }
            Err(_) => unreachable!("an inbox gives back what it was given"),
        }
    }

    /// Posts a publication, and wakes its shards.
    pub(crate) async fn deliver(&self, publication: Arc<Publication>) {
        self.post(publication).await;
        self.wake();
    }

    /// Delivers a publication of a group to one member, which is on this shard.
    pub(crate) async fn deliver_to_member(
        &self,
        shard: usize,
        member: ConnectionId,
        publication: Arc<Publication>,
    ) {
        let command = OrderedCommand::DeliverToMember(member, publication);
        self.0.shards[shard].inbox.send(command).await;
    }

    /// Step five of the walk: posts a publication to the inboxes of the shards that may have
    /// receivers, without waking them. [`Hub::wake`] must follow a batch, so that no
    /// shard writes the first before the last has arrived.
    ///
    /// Waits for room in their inboxes, that is, for CPU time.
    pub(crate) async fn post(&self, publication: Arc<Publication>) {
        let kind = publication.target.kind();
        self.0.metrics.publications.of(kind).increment(1);
        let shards = match &publication.target {
            Target::Group(group) => self.0.registry.shards_of(group),
            Target::Connection(id) if id.instance != self.0.instance => return,
            Target::User(_) | Target::Connection(_) | Target::All => self.all(),
        };
        for shard in shards.iter() {
            self.0.shards[shard].inbox.post(Arc::clone(&publication)).await;
        }
    }

    /// Wakes the shards that sleep.
    pub(crate) fn wake(&self) {
        for shard in &self.0.shards {
            shard.inbox.wake();
        }
    }

    /// Posts a back end's command to all shards. With a stamp it does not concern connections with
    /// a greater or equal one.
    pub(crate) async fn control(&self, control: Control, stamp: Option<Stamp>) {
        for shard in &self.0.shards {
            let command = OrderedCommand::Control(control.clone(), stamp, shard.inbox.posted_at());
            shard.inbox.send(command).await;
        }
    }

    /// Closes every connection at once, with a window in which to come back: nobody knows any
    /// longer who may be connected.
    pub(crate) async fn close_all(&self) {
        let window = return_window(self.connections());
        let disconnect = Disconnect::UNAVAILABLE.because("commands were missed").within(window);
        for shard in &self.0.shards {
            let posted = shard.inbox.posted_at();
            shard.inbox.send(OrderedCommand::CloseAll(disconnect, posted)).await;
        }
    }

    /// Reports to every connection concerned that publications may be missing here.
    pub(crate) async fn notify_possible_gap(&self, gap: PossibleGap) {
        for shard in &self.0.shards {
            shard.inbox.send(OrderedCommand::PossibleGap(gap.clone())).await;
        }
    }

    /// The positions of these groups, or of all if `None`, after everything delivered so far, as
    /// far as they keep a history. Where shards differ, that of the slowest.
    pub(crate) async fn positions(
        &self,
        groups: Option<Arc<[GroupName]>>,
    ) -> HashMap<GroupName, Position> {
        let mut slowest: HashMap<GroupName, Position> = HashMap::new();
        for shard in &self.0.shards {
            let (reply, answer) = oneshot::channel();
            shard.inbox.send(OrderedCommand::Positions(groups.clone(), reply)).await;
            for (group, position) in answer.await.unwrap_or_default() {
                let known = slowest.entry(group).or_insert_with(|| position.clone());
                if position.offset < known.offset {
                    *known = position;
                }
            }
        }
        slowest
    }

    /// Records that a shard has members of `group`. Returns whether it is the first.
    pub(crate) fn open(&self, group: &GroupName, shard: usize) -> bool {
        self.0.registry.open(group, shard)
    }

    /// The groups with members here that `wanted` selects.
    pub(crate) fn groups_where(&self, wanted: impl Fn(&GroupName) -> bool) -> Vec<GroupName> {
        self.0.registry.groups_where(wanted)
    }

    /// Records that a shard has no members of `group` left. Returns whether no shard has any.
    pub(crate) fn close(&self, group: &GroupName, shard: usize) -> bool {
        self.0.registry.close(group, shard)
    }

    /// Answers a [`Join`](super::Join).
    pub(crate) async fn joined(&self, shard: usize, joined: Joined) {
        self.0.shards[shard].inbox.send_promptly(PromptCommand::Joined(Box::new(joined))).await;
    }

    /// Answers a [`Send`](super::Send) or a [`Call`](super::Call).
    pub(crate) async fn answer(&self, shard: usize, answer: Answer) {
        self.0.shards[shard].inbox.send_promptly(PromptCommand::Answer(answer)).await;
    }

    /// As [`Hub::answer`], after the changes requested before with [`Hub::control`].
    pub(crate) async fn answer_in_order(&self, shard: usize, answer: Answer) {
        self.0.shards[shard].inbox.send(OrderedCommand::Answer(answer)).await;
    }

    /// Answers a [`Confirm`](super::Confirm).
    pub(crate) async fn confirmed(&self, shard: usize, to: ConnectionId, outcome: Confirmation) {
        self.0.shards[shard].inbox.send_promptly(PromptCommand::Confirmed { to, outcome }).await;
    }

    /// What this instance knows of a group.
    pub(crate) async fn report_group(&self, name: &GroupName) -> GroupReport {
        let mut whole = GroupReport::default();
        for shard in &self.0.shards {
            let ask = |reply| Inspection::Group(name.clone(), reply);
            let Some(part) = shard.inspect(ask).await else { continue };
            whole.connections += part.connections;
            whole.sent += part.sent;
            whole.last_offset = whole.last_offset.max(part.last_offset);
            whole.dropped.add(&part.dropped);
        }
        whole
    }

    /// What this instance knows of a user.
    pub(crate) async fn report_user(&self, sub: &str) -> UserReport {
        let sub: Arc<str> = sub.into();
        let mut whole = UserReport::default();
        let mut newest = None;
        for shard in &self.0.shards {
            let ask = |reply| Inspection::User(Arc::clone(&sub), reply);
            let Some((part, closed)) = shard.inspect(ask).await else { continue };
            whole.connections.extend(part.connections);
            if closed > newest {
                newest = closed;
                whole.last_close = part.last_close;
            }
        }
        whole
    }

    /// Bytes queued in all outboxes.
    pub(crate) async fn outbox_bytes(&self) -> usize {
        let mut whole = 0;
        for shard in &self.0.shards {
            whole += shard.inspect(Inspection::OutboxBytes).await.unwrap_or_default();
        }
        whole
    }

    /// Closes every connection at the configured rate and waits until the shards have ended, at
    /// most `grace`. Returns whether every connection was closed in time.
    pub(crate) async fn drain(&self, grace: Duration) -> bool {
        let shards = self.0.shards.len() as u32;
        let left = self.connections();
        let rate = self.0.settings.drain_rate.max(1);
        // At the configured rate, or faster if half the grace would not suffice.
        let seconds = (grace.as_secs_f64() / 2.0).max(0.1);
        let rate = rate.max((left as f64 / seconds).ceil() as u32).div_ceil(shards);
        let window = return_window(left);
        for shard in &self.0.shards {
            shard.inbox.send_promptly(PromptCommand::Drain { rate, window, grace }).await;
        }
        let ended = self.0.ended.lock().take();
        if let Some(mut ended) = ended {
            // Half a second more, so that the shards' own deadline comes first.
            let _ = tokio::time::timeout(grace + Duration::from_millis(500), ended.recv()).await;
        }
        self.connections() == 0
    }

    fn all(&self) -> ShardSet {
        ShardSet::all(self.0.shards.len())
    }
}

/// In which so many closed connections come back: a millisecond each, so that the other instances
/// can take them.
fn return_window(connections: usize) -> Duration {
    Duration::from_millis((connections as u64).clamp(1_000, 30_000))
}
