//! The health of the layer, updated and shared by its tasks.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use super::address_lookup::AddressLookup;
use super::script::is_wrong_server;
use crate::event::{InstanceId, Stamp};
use crate::layer::{Health, LayerError};
use crate::telemetry::Metrics;

/// The age of the latest returned probe beyond which nothing counts as delivered: two were missed,
/// so a failure shows within three seconds.
const STALE: Duration = Duration::from_millis(2200);

/// The age of the latest heartbeat up to which nothing can have happened unnoticed. One comes each
/// second.
const CURRENT: Duration = Duration::from_millis(1200);

/// A time between two probes that only a pause of the whole process explains: a heartbeat is due
/// each second, and waits two for Redis.
const PAUSE: Duration = Duration::from_millis(3300);

/// How long a loss shows in [`Health::lossless`], so that a probe each second sees it.
const REMEMBER_LOSS: Duration = Duration::from_secs(3);

/// The number of no connection.
const NEVER: u64 = u64::MAX;

/// Shared by the tasks of one layer.
pub(super) struct RedisHealth {
    /// Whether everything wanted is subscribed.
    subscribed: AtomicBool,
    /// The number of the connection for commands on which the latest heartbeat was answered, if it
    /// was not lost since. See [`AddressLookup::connection`].
    ///
    /// fred's own state is late: while it waits to reconnect for the first time it still counts as
    /// connected, and commands wait.
    answering: AtomicU64,
    /// Of the connection for commands.
    lookup: AddressLookup,
    state: Mutex<State>,
    /// How often the subscription has become complete.
    resubscriptions: watch::Sender<u64>,
    /// Where this instance's API is, as others reach it.
    advertised: OnceLock<SocketAddr>,
    /// The term in which this instance enters the groups that it listens to; 0 = in none.
    terms: watch::Sender<u64>,
    /// How often the renewal of all connections was requested.
    renewals: watch::Sender<u64>,
    /// The generation, at each heartbeat that is answered.
    heartbeats: watch::Sender<u64>,
    /// The error of a server that is not of the kind needed, before anything was delivered.
    wrong_server: watch::Sender<Option<String>>,
    /// Notified if Redis may hold different data than before.
    heartbeat_wanted: Notify,
    metrics: Arc<Metrics>,
}

#[derive(Default)]
struct State {
    /// The newest probe: its number, and when it was sent.
    sent: Option<(u64, Instant)>,
    /// When the newest probe that returned was sent.
    returned: Option<Instant>,
    /// When any probe was last read, however late.
    heard: Option<Instant>,
    /// When the connection was last renewed because no probe returned.
    renewed: Option<Instant>,
    /// The instances that deliver, this one perhaps among them.
    instances: Vec<InstanceId>,
    /// Where the API of each of the others is.
    addresses: Vec<SocketAddr>,
    /// How many of them are others.
    peers: u64,
    /// When the latest heartbeat was answered.
    answered: Option<Instant>,
    /// When that was sent: what the answer says was so at this moment or later.
    known: Option<Instant>,
    generation: u64,
    /// The newest probe that was read.
    read: u64,
    /// The first probe of this generation: until it, or a later one, is read, the subscription may
    /// be that to another server.
    first_probe: u64,
    /// The newest command known to be accepted.
    newest_command: Stamp,
    /// When a message was last lost.
    lost: Option<Instant>,
    /// Redis' error, if it refuses the heartbeats or the connection.
    refusal: Option<String>,
}

impl RedisHealth {
    /// `lookup` is that of the connection for commands.
    pub(super) fn new(metrics: Arc<Metrics>, lookup: AddressLookup) -> Self {
        Self {
            subscribed: AtomicBool::new(false),
            answering: AtomicU64::new(NEVER),
            lookup,
            state: Mutex::default(),
            resubscriptions: watch::Sender::default(),
            advertised: OnceLock::new(),
            terms: watch::Sender::default(),
            renewals: watch::Sender::default(),
            heartbeats: watch::Sender::default(),
            wrong_server: watch::Sender::default(),
            heartbeat_wanted: Notify::new(),
            metrics,
        }
    }

    pub(super) fn is_subscribed(&self) -> bool {
        self.subscribed.load(Ordering::Acquire)
    }

    /// Everything wanted is subscribed, for the first time or again.
    pub(super) fn set_subscribed(&self) {
        self.subscribed.store(true, Ordering::Release);
        self.resubscriptions.send_modify(|count| *count += 1);
    }

    /// The subscription is lost. Returns whether it was complete before.
    pub(super) fn set_unsubscribed(&self) -> bool {
        let changed = self.subscribed.swap(false, Ordering::AcqRel);
        if changed {
            self.metrics.layer.resubscribed.increment(1);
        }
        changed
    }

    /// Whether commands are answered: on this connection, not just on one before it.
    pub(super) fn is_answering(&self) -> bool {
        self.lookup.connection() == Some(self.answering.load(Ordering::Acquire))
    }

    /// A heartbeat was answered that was sent on `connection` or a later one.
    pub(super) fn set_answering(&self, connection: Option<u64>) {
        self.answering.store(connection.unwrap_or(NEVER), Ordering::Release);
    }

    pub(super) fn set_silent(&self) {
        self.answering.store(NEVER, Ordering::Release);
    }

    /// As [`AddressLookup::connection`], for commands.
    pub(super) fn connection(&self) -> Option<u64> {
        self.lookup.connection()
    }

    /// # Errors
    /// Commands are not answered, or what they publish would not arrive here.
    pub(super) fn check_answering(&self) -> Result<(), LayerError> {
        if !self.is_answering() {
            return Err(match self.refusal() {
                Some(words) => LayerError::Refused(words),
                None => LayerError::Unreachable("there is no connection to redis".to_owned()),
            });
        }
        if !self.is_on_same_server() {
            let why = "redis was replaced, and nothing is subscribed there yet";
            return Err(LayerError::Unreachable(why.to_owned()));
        }
        Ok(())
    }

    /// Whether what is published now arrives here, as far as is known. After a change of the server
    /// the subscription may still lead to the old one, or nowhere.
    fn is_on_same_server(&self) -> bool {
        let state = self.state.lock();
        state.read >= state.first_probe
    }

    /// Requests the next heartbeat immediately.
    pub(super) fn want_heartbeat(&self) {
        self.heartbeat_wanted.notify_one();
    }

    /// Waits until a heartbeat is requested.
    pub(super) async fn heartbeat_wanted(&self) {
        self.heartbeat_wanted.notified().await;
    }

    /// Records Redis' error. Logged once, and again when the reason changes.
    pub(super) fn refused(&self, words: &str) {
        // The first word is Redis' error code; the rest may differ each time, as with MOVED.
        let code = |words: &str| words.split(' ').next().unwrap_or_default().to_owned();
        let mut state = self.state.lock();
        let known = state.refusal.replace(words.to_owned());
        // Later it is a mistake of whoever changed Redis: waiting for its end costs nobody more.
        if state.returned.is_none() && is_wrong_server(words) {
            self.wrong_server.send_replace(Some(words.to_owned()));
        }
        drop(state);
        if known.is_none_or(|known| code(&known) != code(words)) {
            tracing::error!(error = words, "redis refuses");
        }
    }

    /// Redis accepts commands again.
    pub(super) fn accepted(&self) {
        if let Some(words) = self.state.lock().refusal.take() {
            tracing::info!(error = words, "redis accepts commands again");
        }
    }

    /// Redis' error, if it refuses.
    pub(super) fn refusal(&self) -> Option<String> {
        self.state.lock().refusal.clone()
    }

    /// Waits until Redis turns out to be no single server, if ever.
    pub(super) async fn wrong_server(&self) -> String {
        let mut known = self.wrong_server.subscribe();
        let found = known.wait_for(Option::is_some).await.map(|found| (*found).clone());
        match found {
            Ok(Some(words)) => words,
            _ => std::future::pending().await,
        }
    }

    /// Requests the renewal of all connections, since this server no longer accepts writes.
    pub(super) fn renew_connections(&self) {
        self.renewals.send_modify(|count| *count += 1);
    }

    /// Changes whenever a renewal of all connections is requested.
    pub(super) fn renewals(&self) -> watch::Receiver<u64> {
        self.renewals.subscribe()
    }

    pub(super) fn count_lost(&self, count: u64) {
        self.metrics.layer.lost.increment(count);
        self.state.lock().lost = Some(Instant::now());
    }

    pub(super) fn count_missed_commands(&self) {
        self.metrics.layer.commands_missed.increment(1);
    }

    pub(super) fn count_unreadable(&self) {
        self.metrics.layer.unreadable.increment(1);
    }

    pub(super) fn probe_sent(&self, number: u64) {
        let now = Instant::now();
        let mut state = self.state.lock();
        // This process was paused. What its connection holds is read first: renewing the connection
        // would lose it.
        if state.sent.is_some_and(|(_, at)| now - at > PAUSE) {
            state.renewed = Some(now);
        }
        state.sent = Some((number, now));
    }

    /// A probe was read from the subscription. It may still wait behind publications, or be late.
    pub(super) fn probe_read(&self, number: u64) {
        let mut state = self.state.lock();
        state.heard = Some(Instant::now());
        state.read = state.read.max(number);
        if let Some((sent, at)) = state.sent
            && sent == number
        {
            state.returned = Some(at);
        }
    }

    /// A probe arrived with the publications before it.
    pub(super) fn probe_returned(&self, number: u64) {
        let state = self.state.lock();
        if let Some((sent, at)) = state.sent
            && sent == number
        {
            self.metrics.layer.probe_seconds.set(at.elapsed().as_secs_f64());
        }
    }

    /// Takes the answer to a heartbeat of the instance `own`.
    pub(super) fn heartbeat_answered(
        &self,
        own: InstanceId,
        generation: u64,
        instances: Vec<InstanceId>,
    ) {
        let peers = instances.iter().filter(|id| **id != own).count();
        let mut state = self.state.lock();
        if state.generation != generation {
            state.first_probe = state.sent.map_or(0, |(number, _)| number);
        }
        state.generation = generation;
        state.instances = instances;
        state.peers = peers as u64;
        state.answered = Some(Instant::now());
        // Heartbeats are sent one at a time.
        state.known = state.sent.map(|(_, at)| at);
        self.metrics.layer.generation.set(generation as f64);
        self.metrics.layer.peers.set(peers as f64);
        drop(state);
        self.heartbeats.send_replace(generation);
    }

    /// Changes with each heartbeat that is answered, to the generation at that moment.
    pub(super) fn heartbeats(&self) -> watch::Receiver<u64> {
        self.heartbeats.subscribe()
    }

    /// Whether commands arrive as they are accepted, as far as is known: a process that was stopped
    /// does not know what it missed.
    pub(super) fn is_current(&self) -> bool {
        let known = self.state.lock().known;
        self.is_subscribed() && known.is_some_and(|at| at.elapsed() < CURRENT)
    }

    /// Whether a heartbeat that was sent after `moment` is answered.
    pub(super) fn is_known_since(&self, moment: Instant) -> bool {
        self.state.lock().known.is_some_and(|at| at >= moment)
    }

    /// A command is known to be accepted.
    pub(super) fn command_accepted(&self, stamp: Stamp) {
        let mut state = self.state.lock();
        state.newest_command = state.newest_command.max(stamp);
    }

    /// Follows every command that is known to be accepted, and every older generation.
    pub(super) fn stamp(&self) -> Stamp {
        let state = self.state.lock();
        state.newest_command.max(Stamp { generation: state.generation, number: 0 })
    }

    /// The instances that deliver, as of the newest heartbeat.
    pub(super) fn instances(&self) -> Vec<InstanceId> {
        self.state.lock().instances.clone()
    }

    /// Changes whenever the subscription has become complete.
    pub(super) fn resubscriptions(&self) -> watch::Receiver<u64> {
        self.resubscriptions.subscribe()
    }

    /// The address of this instance's API from now on.
    pub(super) fn advertise(&self, api: SocketAddr) {
        // A second one would be that of another gateway.
        let _ = self.advertised.set(api);
    }

    pub(super) fn advertised(&self) -> Option<SocketAddr> {
        self.advertised.get().copied()
    }

    /// Takes the addresses of all instances, `<id> <address>` each.
    pub(super) fn set_addresses(&self, own: InstanceId, all: &[String]) {
        let others = all.iter().filter_map(|entry| entry.split_once(' '));
        let others = others.filter(|(id, _)| *id != own.as_str());
        self.state.lock().addresses = others.filter_map(|(_, at)| at.parse().ok()).collect();
    }

    pub(super) fn peer_addresses(&self) -> Vec<SocketAddr> {
        self.state.lock().addresses.clone()
    }

    /// Takes the term that a heartbeat answered.
    pub(super) fn set_term(&self, term: u64) {
        self.terms.send_if_modified(|known| std::mem::replace(known, term) != term);
    }

    /// The term in which groups are entered.
    pub(super) fn terms(&self) -> watch::Receiver<u64> {
        self.terms.subscribe()
    }

    /// The newest generation known; 0 = none yet.
    pub(super) fn generation(&self) -> u64 {
        self.state.lock().generation
    }

    /// Whether a probe returned recently.
    pub(super) fn is_delivering(&self) -> bool {
        self.is_subscribed()
            && self.is_answering()
            && self.is_on_same_server()
            && self.state.lock().returned.is_some_and(|at| at.elapsed() < STALE)
    }

    /// Whether the subscription seems complete and yet no probe returns. `true` at most once in
    /// twice [`STALE`], since the caller renews the connection then.
    pub(super) fn is_unresponsive(&self) -> bool {
        if !self.is_subscribed() {
            return false;
        }
        let mut state = self.state.lock();
        let latest = state.heard.max(state.renewed);
        let unresponsive = latest.is_some_and(|at| at.elapsed() > 2 * STALE);
        if unresponsive || latest.is_none() {
            state.renewed = Some(Instant::now());
        }
        unresponsive
    }

    pub(super) fn health(&self) -> Health {
        let delivering = self.is_delivering();
        let state = self.state.lock();
        Health {
            delivering,
            started: state.returned.is_some(),
            lossless: delivering && state.lost.is_none_or(|at| at.elapsed() > REMEMBER_LOSS),
            // Without Redis the peers are unknown, so none counts as delivering.
            peers: if state.answered.is_some_and(|at| at.elapsed() < STALE) {
                state.peers
            } else {
                0
            },
        }
    }
}
