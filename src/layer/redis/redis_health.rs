//! What the tasks of the layer know of its health, shared.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::watch;

use crate::event::InstanceId;
use crate::layer::Health;
use crate::telemetry::Metrics;

/// Age of the newest probe that returned, from which on nothing counts as delivered: two were missed,
/// so that a lost delivery shows within three seconds.
const STALE: Duration = Duration::from_millis(2200);

/// How long a loss makes the layer look unwell: a prober that asks each second sees it.
const REMEMBER_LOSS: Duration = Duration::from_secs(3);

/// Shared by the tasks of one layer.
pub(super) struct RedisHealth {
    /// Whether everything wanted is subscribed.
    live: AtomicBool,
    /// Whether the latest beat was answered and the connection for commands has not been lost since.
    ///
    /// fred's own notion comes late: while it waits to connect again for the first time it still
    /// counts as connected, and commands wait with it.
    speaking: AtomicBool,
    probe: Mutex<Probe>,
    /// How often the subscription has become complete.
    renewals: watch::Sender<u64>,
    metrics: Arc<Metrics>,
}

#[derive(Default)]
struct Probe {
    /// The newest that was sent.
    sent: Option<(u64, Instant)>,
    /// When the newest that returned was sent.
    returned: Option<Instant>,
    /// When the connection was last made anew because nothing returned.
    renewed: Option<Instant>,
    /// The instances that deliver, and when that was known.
    instances: Vec<InstanceId>,
    /// How many of them are others.
    peers: u64,
    told: Option<Instant>,
    generation: u64,
    lost: Option<Instant>,
}

impl RedisHealth {
    pub(super) fn new(metrics: Arc<Metrics>) -> Self {
        let (live, speaking) = (AtomicBool::new(false), AtomicBool::new(false));
        let renewals = watch::Sender::default();
        Self { live, speaking, probe: Mutex::default(), renewals, metrics }
    }

    pub(super) fn is_live(&self) -> bool {
        self.live.load(Ordering::Acquire)
    }

    /// Whether that changed anything.
    pub(super) fn set_live(&self, live: bool) -> bool {
        let changed = self.live.swap(live, Ordering::AcqRel) != live;
        if changed && !live {
            self.metrics.layer.resubscribed.increment(1);
        }
        changed
    }

    pub(super) fn is_speaking(&self) -> bool {
        self.speaking.load(Ordering::Acquire)
    }

    pub(super) fn set_speaking(&self, speaking: bool) {
        self.speaking.store(speaking, Ordering::Release);
    }

    pub(super) fn count_lost(&self, count: u64) {
        self.metrics.layer.lost.increment(count);
        self.probe().lost = Some(Instant::now());
    }

    pub(super) fn count_unreadable(&self) {
        self.metrics.layer.unreadable.increment(1);
    }

    pub(super) fn probe_sent(&self, number: u64) {
        self.probe().sent = Some((number, Instant::now()));
    }

    pub(super) fn probe_returned(&self, number: u64) {
        let mut probe = self.probe();
        if let Some((sent, at)) = probe.sent
            && sent == number
        {
            probe.returned = Some(at);
            self.metrics.layer.probe_seconds.set(at.elapsed().as_secs_f64());
        }
    }

    pub(super) fn told(&self, me: InstanceId, generation: u64, instances: Vec<InstanceId>) {
        let peers = instances.iter().filter(|id| **id != me).count();
        let mut probe = self.probe();
        probe.generation = generation;
        probe.instances = instances;
        probe.peers = peers as u64;
        probe.told = Some(Instant::now());
        self.metrics.layer.generation.set(generation as f64);
        self.metrics.layer.peers.set(peers as f64);
    }

    /// The instances that deliver, as of the newest beat.
    pub(super) fn instances(&self) -> Vec<InstanceId> {
        self.probe().instances.clone()
    }

    /// Everything wanted is subscribed, for the first time or again.
    pub(super) fn resumed(&self) {
        self.renewals.send_modify(|count| *count += 1);
    }

    pub(super) fn renewals(&self) -> watch::Receiver<u64> {
        self.renewals.subscribe()
    }

    /// The newest generation known; 0 = none yet.
    pub(super) fn generation(&self) -> u64 {
        self.probe().generation
    }

    /// Whether a probe came back lately.
    pub(super) fn is_delivering(&self) -> bool {
        self.is_live()
            && self.is_speaking()
            && self.probe().returned.is_some_and(|at| at.elapsed() < STALE)
    }

    /// Whether the subscription seems well and yet no probe comes back; says so once in a while.
    pub(super) fn is_deaf(&self) -> bool {
        if !self.is_live() {
            return false;
        }
        let mut probe = self.probe();
        let heard = probe.returned.max(probe.renewed);
        let deaf = heard.is_some_and(|at| at.elapsed() > 2 * STALE);
        if deaf || heard.is_none() {
            probe.renewed = Some(Instant::now());
        }
        deaf
    }

    pub(super) fn health(&self) -> Health {
        let delivering = self.is_delivering();
        let probe = self.probe();
        Health {
            delivering,
            started: probe.returned.is_some(),
            whole: delivering && probe.lost.is_none_or(|at| at.elapsed() > REMEMBER_LOSS),
            // Without Redis nobody is seen, and it is not said that somebody else does better.
            peers: if probe.told.is_some_and(|at| at.elapsed() < STALE) { probe.peers } else { 0 },
        }
    }

    fn probe(&self) -> MutexGuard<'_, Probe> {
        self.probe.lock()
    }
}
