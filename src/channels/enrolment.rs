//! Keeps groups where Django's senders look for them, if that is not on the layer's server.
//!
//! The layer's part of a registration comes first, and ends first: what senders find is held. One
//! server may be away while the other answers, so each part is refreshed by itself.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::{Mutex, MutexGuard};
use tokio::time::sleep;

use super::addresses::GroupAddresses;
use super::metrics::ChannelsMetrics;
use super::refusals::Refusals;
use crate::event::Target;
use crate::failpoint;
use crate::group::GroupName;
use crate::layer::{PossibleLoss, RedisHandle, RemoteRedis, Script, ScriptError};
use crate::lua_table::{LuaTable, ScriptKeys};

/// How logs refer to it.
const ENROLLING: &str = "registering groups on the server of the channel layer";

/// Time between two registrations of a group.
const REFRESH: Duration = Duration::from_secs(60);

/// Time between two checks for groups that are due.
const TICK: Duration = Duration::from_secs(1);

/// The same, while groups may be missing.
const FAST_TICK: Duration = Duration::from_millis(50);

/// Groups in one script, which blocks Redis for less than 1 ms.
const MAX_GROUPS: usize = 320;

/// The groups that senders find on a server of their own. Clones share the list.
#[derive(Clone)]
pub(crate) struct Enrolment(Arc<Shared>);

struct Shared {
    remote: RemoteRedis,
    /// The layer, which knows what is held.
    redis: RedisHandle,
    addresses: GroupAddresses,
    refusals: Refusals,
    metrics: Arc<ChannelsMetrics>,
    /// When each group was last registered; `None` = it is due. Never locked across an await.
    held: Mutex<HashMap<GroupName, Option<Instant>>>,
    /// Of the server's data in which all of them are registered.
    generation: Mutex<u64>,
    enrol: Script,
    tell_losses: Script,
    withdraw: Script,
    now: Script,
    are_held: Script,
}

impl Enrolment {
    pub(super) fn new(
        remote: RemoteRedis,
        redis: RedisHandle,
        addresses: GroupAddresses,
        metrics: Arc<ChannelsMetrics>,
    ) -> Self {
        let (refusals, held, generation) = Default::default();
        Self(Arc::new(Shared {
            remote,
            redis,
            addresses,
            refusals,
            metrics,
            held,
            generation,
            enrol: Script::new(&[include_str!("scripts/enrol.lua")]),
            tell_losses: Script::new(&[include_str!("scripts/tell_losses.lua")]),
            withdraw: Script::new(&[include_str!("scripts/withdraw.lua")]),
            now: Script::new(&["return redis.call('TIME')"]),
            are_held: Script::new(&["local held = {} for at, key in ipairs(KEYS) do \
                 held[at] = redis.call('EXISTS', key) end return held"]),
        }))
    }

    /// Registers groups that are joined; those in `held_before` should be there already. While the
    /// server is away they are joined without Django's events, until it answers again.
    pub(super) async fn enrol(&self, groups: &[GroupName], held_before: &HashSet<GroupName>) {
        self.held().extend(groups.iter().map(|group| (group.clone(), None)));
        if !self.0.remote.is_answering() {
            return;
        }
        let is_expected = |group: &GroupName| held_before.contains(group);
        if let Err(error) = self.write(groups, is_expected).await {
            tracing::debug!(%error, groups = groups.len(), "groups not registered for senders yet");
        }
    }

    /// These are refreshed no more.
    pub(super) fn forget(&self, groups: &[GroupName]) {
        let mut held = self.held();
        for group in groups {
            held.remove(group);
        }
    }

    /// The present by the server's clock, to be asked before the layer lets groups go; `None` = it
    /// is away.
    pub(super) async fn now(&self) -> Option<Bytes> {
        let asked = self.0.remote.run::<(String, String)>(&self.0.now, Vec::new(), Vec::new());
        let (seconds, micros) = asked.await.ok()?;
        Some(Bytes::from(format!("{seconds}.{micros:0>6}")))
    }

    /// Has senders find groups for so many milliseconds more, 0 = no more; not those that were
    /// registered since `moment`. A registration that stays is ended by the first entry that finds
    /// no listener.
    pub(super) async fn withdraw(&self, groups: &[(GroupName, u64)], moment: Bytes) {
        for chunk in groups.chunks(MAX_GROUPS) {
            let (mut keys, mut arguments) = (Vec::new(), vec![moment.clone()]);
            for (group, stays_ms) in chunk {
                let Some((registry, member)) = self.0.addresses.anywhere(group) else { continue };
                keys.push(registry);
                arguments.extend([Bytes::from(member), Bytes::from(stays_ms.to_string())]);
            }
            if let Err(error) = self.0.remote.run::<u64>(&self.0.withdraw, keys, arguments).await {
                tracing::debug!(%error, groups = chunk.len(), "failed to withdraw groups");
                return;
            }
        }
    }

    /// Ends registrations that led senders to groups which nobody held.
    pub(crate) async fn abandon(&self, members: &[String]) {
        let mailboxes = self.0.addresses.mailboxes.as_ref();
        let target = |member: &String| mailboxes.and_then(|names| names.target(member));
        let groups = members.iter().filter_map(|member| match target(member) {
            Some(Target::Group(group)) => Some(group),
            _ => None,
        });
        let groups: Vec<_> = groups.collect();
        let Some(moment) = self.now().await else { return };
        let names = self.0.redis.names();
        let keys = groups.iter().map(|group| names.held(group)).collect();
        // Asked after the moment: whoever holds it by now registers it later than that.
        let held = self.0.redis.run::<Vec<u64>>(&self.0.are_held, keys, Vec::new()).await;
        let Ok(held) = held else { return };
        let gone = groups.into_iter().zip(held).filter(|(_, held)| *held == 0);
        let gone: Vec<_> = gone.map(|(group, _)| (group, 0)).collect();
        self.withdraw(&gone, moment).await;
    }

    /// Whether senders find all held groups, as far as is known.
    pub(crate) fn is_complete(&self) -> bool {
        let generation = *self.0.remote.generations().borrow();
        *self.0.generation.lock() == generation && self.0.refusals.is_empty()
    }

    /// Refreshes registrations for as long as it is polled.
    pub(super) async fn run(&self) {
        let mut generations = self.0.remote.generations();
        loop {
            let is_current = *self.0.generation.lock() == *generations.borrow();
            tokio::select! {
                () = sleep(if is_current { TICK } else { FAST_TICK }) => {}
                changed = generations.changed() => if changed.is_err() {
                    return;
                },
            }
            if !self.0.remote.is_answering() {
                continue;
            }
            failpoint::pass("refresh-elsewhere");
            let generation = *generations.borrow();
            let is_new = *self.0.generation.lock() != generation;
            match self.refresh(is_new).await {
                Ok(()) => *self.0.generation.lock() = generation,
                Err(error) => tracing::debug!(%error, "failed to refresh registrations"),
            }
        }
    }

    /// Registers the groups that are due, or all.
    async fn refresh(&self, all: bool) -> Result<(), ScriptError> {
        let fresh = |at: &Option<Instant>| at.is_some_and(|at| at.elapsed() < REFRESH);
        let due: Vec<_> = {
            let held = self.held();
            let due = held.iter().filter(|(_, at)| all || !fresh(at));
            due.map(|(group, _)| group.clone()).collect()
        };
        self.write(&due, |_| true).await
    }

    async fn write(
        &self,
        groups: &[GroupName],
        is_expected: impl Fn(&GroupName) -> bool,
    ) -> Result<(), ScriptError> {
        for chunk in groups.chunks(MAX_GROUPS) {
            let begun = Instant::now();
            let outcome = self.write_chunk(chunk, &is_expected).await;
            match &outcome {
                Ok(()) => self.0.refusals.clear(ENROLLING),
                Err(ScriptError::Refused(why)) => self.0.refusals.add(ENROLLING, why),
                Err(ScriptError::Away(_)) => {}
            }
            let at = outcome.is_ok().then_some(begun);
            let mut held = self.held();
            for group in chunk {
                if let Some(known) = held.get_mut(group) {
                    *known = at;
                }
            }
            drop(held);
            outcome?;
        }
        Ok(())
    }

    /// A loss is told before its group is registered, and so before anything newer; then once more,
    /// for what was sent meanwhile. Ended in between, all is told again.
    async fn write_chunk(
        &self,
        groups: &[GroupName],
        is_expected: impl Fn(&GroupName) -> bool,
    ) -> Result<(), ScriptError> {
        let missing = self.register(groups, is_expected).await?;
        let missing: Vec<_> =
            missing.iter().filter_map(|place| groups.get(*place as usize).cloned()).collect();
        if missing.is_empty() {
            return Ok(());
        }
        self.0.metrics.missing.increment(missing.len() as u64);
        self.tell_losses(&missing).await?;
        self.register(&missing, |_| false).await?;
        self.tell_losses(&missing).await
    }

    /// Registers groups; the places of those that should be registered and are not.
    async fn register(
        &self,
        groups: &[GroupName],
        is_expected: impl Fn(&GroupName) -> bool,
    ) -> Result<Vec<u64>, ScriptError> {
        let expiry = self.0.addresses.settings.group_expiry.as_secs().to_string();
        let (mut keys, mut arguments) = (Vec::new(), vec![Bytes::from(expiry)]);
        let mut places = Vec::new();
        for (place, group) in groups.iter().enumerate() {
            let Some((registry, member)) = self.0.addresses.anywhere(group) else { continue };
            places.push(place as u64);
            keys.push(registry);
            let flag: &[u8] = if is_expected(group) { b"1" } else { b"0" };
            arguments.extend([Bytes::from(member), Bytes::copy_from_slice(flag)]);
        }
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let missing: Vec<u64> = self.0.remote.run(&self.0.enrol, keys, arguments).await?;
        Ok(missing.iter().filter_map(|at| places.get(*at as usize).copied()).collect())
    }

    async fn tell_losses(&self, groups: &[GroupName]) -> Result<(), ScriptError> {
        let redis = &self.0.redis;
        let names = redis.names();
        let loss = redis.possible_loss(&PossibleLoss::Groups(groups.to_vec()));
        let mut keys = ScriptKeys::default();
        let mut arguments = vec![Bytes::from(names.control().to_owned()), loss];
        for group in groups.iter().filter(|group| redis.history().of(group).is_some()) {
            let table = LuaTable::new()
                .number("held", keys.place(names.held(group)))
                .number("numbering", keys.place(names.numbering(group)))
                .number("log", keys.place(names.log(group)));
            arguments.push(table.pack());
        }
        redis.run::<u64>(&self.0.tell_losses, keys.into_vec(), arguments).await.map(drop)
    }

    fn held(&self) -> MutexGuard<'_, HashMap<GroupName, Option<Instant>>> {
        self.0.held.lock()
    }
}

impl fmt::Debug for Enrolment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Enrolment").field("remote", &self.0.remote).finish_non_exhaustive()
    }
}
