//! Registers the groups that are held here, so that senders find them.
//!
//! Registrations are lost by expiry and by `FLUSHDB`. They are therefore refreshed each minute, and
//! immediately when the layer has resubscribed.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::{Mutex, MutexGuard};
use tokio::time::sleep;

use super::MailboxNames;
use super::addresses::{GroupAddresses, lifetimes};
use super::enrolment::Enrolment;
use super::metrics::ChannelsMetrics;
use super::refusals::Refusals;
use crate::failpoint;
use crate::group::GroupName;
use crate::layer::{
    LISTENING, LayerError, NUMBERING, PARKING, PossibleLoss, RedisHandle, Script, ScriptError,
};
use crate::lua_table::{LuaTable, ScriptKeys};

/// How logs refer to registering in general.
const REGISTERING: &str = "registering groups for senders";

/// Time between two registrations of a group.
const REFRESH: Duration = Duration::from_secs(60);

/// Time between two checks for groups that are due.
const TICK: Duration = Duration::from_secs(1);

/// The same, while registrations may be missing.
const FAST_TICK: Duration = Duration::from_millis(50);

/// Groups in one script, which blocks Redis for less than 3 ms. With 128, a wave of 200,000 groups
/// took more than 1,500 scripts.
const MAX_GROUPS: usize = 320;

/// Registers groups. Clones share the list of what is registered.
#[derive(Clone)]
pub struct GroupRegistrar(Arc<Shared>);

struct Shared {
    redis: RedisHandle,
    addresses: GroupAddresses,
    /// Where senders look on a server of their own.
    enrolment: Option<Enrolment>,
    refusals: Refusals,
    metrics: Arc<ChannelsMetrics>,
    /// Never locked across an await.
    held: Mutex<HashMap<GroupName, HeldGroup>>,
    /// Under which server and subscription all of them are registered.
    registered: Mutex<Option<Epoch>>,
    register: Script,
    stop_listening: Script,
    unregister: Script,
}

/// A group that is registered, or was to be.
struct HeldGroup {
    /// When it was last registered; `None` = Redis refused.
    registered: Option<Instant>,
    /// Whether this instance listens to it.
    listens: bool,
    /// Whether anybody but a client chose its name here.
    is_named: bool,
}

/// Who chose the names of groups that are joined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ChosenBy {
    /// A client, within its grants: it may choose any number.
    Client,
    /// A token, a route, the connect hook or the back end.
    Server,
}

/// Ends when Redis restarts or loses its data, when the subscription is lost, and when others no
/// longer count this instance as a listener.
#[derive(Debug, PartialEq, Eq)]
struct Epoch {
    generation: Bytes,
    resubscriptions: u64,
    term: u64,
}

/// Whether groups should be registered already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Registration {
    First(ChosenBy),
    Refresh,
}

impl GroupRegistrar {
    pub(super) fn new(
        redis: RedisHandle,
        addresses: GroupAddresses,
        enrolment: Option<Enrolment>,
        metrics: Arc<ChannelsMetrics>,
    ) -> Self {
        let register =
            Script::new(&[NUMBERING, LISTENING, PARKING, include_str!("scripts/register.lua")]);
        let stop_listening = Script::new(&[include_str!("scripts/stop_listening.lua")]);
        let unregister = Script::new(&[include_str!("scripts/unregister.lua")]);
        let refusals = Refusals::default();
        let (held, registered) = Default::default();
        Self(Arc::new(Shared {
            redis,
            addresses,
            enrolment,
            refusals,
            metrics,
            held,
            registered,
            register,
            stop_listening,
            unregister,
        }))
    }

    /// Registers the groups, and publishes what is parked for them. To be called once the layer is
    /// subscribed to them.
    ///
    /// # Errors
    /// Redis cannot be reached. A refusal is none: the groups are joined without Django's events,
    /// which logs and `/readyz?strict` show.
    pub(crate) async fn register(
        &self,
        groups: &[GroupName],
        chosen_by: ChosenBy,
    ) -> Result<(), LayerError> {
        failpoint::pass("before-enter");
        let outcome = self.write(groups, Registration::First(chosen_by)).await;
        failpoint::pass("after-enter");
        let held_before = match outcome {
            Ok(held_before) => held_before,
            Err(ScriptError::Refused(_)) => HashSet::new(),
            Err(ScriptError::Away(error)) => return Err(error),
        };
        if let Some(enrolment) = &self.0.enrolment {
            enrolment.enrol(groups, &held_before).await;
        }
        Ok(())
    }

    /// Notes groups whose names were not chosen by clients alone, as far as they are held.
    pub(crate) fn name<'a>(&self, groups: impl IntoIterator<Item = &'a GroupName>) {
        let mut held = self.held();
        for group in groups {
            if let Some(group) = held.get_mut(group) {
                group.is_named = true;
            }
        }
    }

    /// Ends listening, not the registration: what is sent from now on waits. To be called before
    /// the layer is unsubscribed: in between, the subscription of a stopped instance or of another
    /// program would make this one look like a listener.
    pub async fn stop_listening(&self, groups: &[GroupName]) {
        {
            let mut held = self.held();
            for group in groups {
                if let Some(group) = held.get_mut(group) {
                    group.listens = false;
                }
            }
        }
        let names = self.0.redis.names();
        for chunk in groups.chunks(MAX_GROUPS) {
            let keys = chunk.iter().map(|group| names.listeners(group)).collect();
            let instance = Bytes::from(self.0.redis.instance().to_string());
            let outcome =
                self.0.redis.run::<i64>(&self.0.stop_listening, keys, vec![instance]).await;
            if let Err(error) = outcome {
                tracing::debug!(%error, groups = groups.len(), "failed to stop listening");
                return;
            }
        }
    }

    /// Ends the registration. To be called once the layer is unsubscribed.
    pub async fn unregister(&self, groups: &[GroupName]) {
        failpoint::pass("before-leave");
        let named: HashSet<_> = {
            let mut held = self.held();
            let removed = groups
                .iter()
                .filter(|group| held.remove(*group).is_some_and(|group| group.is_named));
            removed.cloned().collect()
        };
        if let Some(enrolment) = &self.0.enrolment {
            enrolment.forget(groups);
        }
        self.erase(groups, &named).await;
        failpoint::pass("after-leave");
    }

    /// Whether all held groups are registered, as far as is known.
    pub(crate) fn is_complete(&self) -> bool {
        *self.registered() == Some(self.epoch())
            && self.0.refusals.is_empty()
            && self.0.enrolment.as_ref().is_none_or(Enrolment::is_complete)
    }

    /// Refreshes registrations while the layer runs.
    pub(super) async fn run(&self) {
        let mut resubscriptions = self.0.redis.resubscriptions();
        let mut terms = self.0.redis.terms();
        let mut pause = TICK;
        loop {
            tokio::select! {
                () = sleep(pause) => {}
                changed = resubscriptions.changed() => if changed.is_err() {
                    return;
                },
                changed = terms.changed() => if changed.is_err() {
                    return;
                },
            }
            let epoch = self.epoch();
            let current = *self.registered() == Some(self.epoch());
            pause = if current { TICK } else { FAST_TICK };
            if !self.0.redis.is_delivering() {
                continue;
            }
            failpoint::pass("refresh");
            // After a loss everything is due: members may be gone, and entries are parked.
            match self.refresh(!current).await {
                Ok(()) => (*self.registered(), pause) = (Some(epoch), TICK),
                // An operator has to change something first.
                Err(ScriptError::Refused(_)) => pause = TICK,
                Err(error) => tracing::debug!(%error, "failed to refresh registrations"),
            }
        }
    }

    /// Registers the groups that are due, or all.
    pub(crate) async fn refresh(&self, all: bool) -> Result<(), ScriptError> {
        let due: Vec<_> = {
            let held = self.held();
            let fresh =
                |group: &HeldGroup| group.registered.is_some_and(|at| at.elapsed() < REFRESH);
            let due = held.iter().filter(|(_, group)| all || !fresh(group));
            due.map(|(group, _)| group.clone()).collect()
        };
        let outcome = self.write(&due, Registration::Refresh).await;
        // A group that was left in the meantime has been registered, perhaps after it was
        // unregistered. If an instance has joined it again, it has a listener and stays.
        let left: Vec<_> = {
            let held = self.held();
            due.into_iter().filter(|group| !held.contains_key(group)).collect()
        };
        let named = left.iter().cloned().collect();
        self.erase(&left, &named).await;
        outcome.map(drop)
    }

    /// Writes the layer's part. Returns the groups that were held before, if senders look for them
    /// elsewhere.
    async fn write(
        &self,
        groups: &[GroupName],
        registration: Registration,
    ) -> Result<HashSet<GroupName>, ScriptError> {
        let (mut refused, mut held_before) = (None, HashSet::new());
        for chunk in groups.chunks(MAX_GROUPS) {
            let mut now = Some(Instant::now());
            let term = *self.0.redis.terms().borrow();
            let (keys, arguments) = self.register_command(chunk, registration, term);
            let answer = self.0.redis.run::<(u64, Vec<u64>)>(&self.0.register, keys, arguments);
            match answer.await {
                Ok((missing, held)) => {
                    let held = held.iter().filter_map(|place| chunk.get(*place as usize));
                    held_before.extend(held.cloned());
                    self.0.metrics.missing.increment(missing);
                    self.0.refusals.clear(REGISTERING);
                }
                Err(ScriptError::Refused(why)) => {
                    self.0.refusals.add(REGISTERING, &why);
                    now = None;
                    refused = Some(ScriptError::Refused(why));
                }
                Err(error) => return Err(error),
            }
            if *self.0.redis.terms().borrow() != term {
                // Entered in a term that is over: due again at once.
                now = None;
            }
            let mut held = self.held();
            for group in chunk {
                // A group that was left in the meantime is not held again by a late refresh.
                if let Registration::First(chosen_by) = registration {
                    let is_named = chosen_by == ChosenBy::Server;
                    let new = HeldGroup { registered: now, listens: true, is_named };
                    held.insert(group.clone(), new);
                } else if let Some(held) = held.get_mut(group) {
                    held.registered = now;
                }
            }
        }
        refused.map_or(Ok(held_before), Err)
    }

    /// Keys and arguments of `register.lua`.
    fn register_command(
        &self,
        groups: &[GroupName],
        registration: Registration,
        term: u64,
    ) -> (Vec<String>, Vec<Bytes>) {
        let redis = &self.0.redis;
        let names = redis.names();
        let expected = if registration == Registration::Refresh { "1" } else { "0" };
        let expiry = self.0.addresses.settings.group_expiry.as_secs().to_string();
        let state = |group| match registration {
            Registration::First(chosen_by) => (true, chosen_by == ChosenBy::Server),
            Registration::Refresh => {
                self.held().get(group).map_or((false, true), |held| (held.listens, held.is_named))
            }
        };
        let mut arguments = Vec::with_capacity(5 + groups.len());
        let common = [
            expiry,
            names.control().to_owned(),
            expected.to_owned(),
            names.instance_stem(),
            redis.instance().to_string(),
        ];
        arguments.extend(common.map(Bytes::from));
        let mut keys = ScriptKeys::new(vec![names.instances(), names.terms(), names.parking()]);
        for group in groups {
            let (held_for, _) = lifetimes(redis, group);
            let loss = redis.possible_loss(&PossibleLoss::Groups(vec![group.clone()]));
            let mut table = self
                .address(group, &mut keys)
                .number("held_ms", millis(held_for))
                .number("parked", keys.place(names.parked(group)))
                .number("parked_mark", keys.place(names.parked_mark(group)))
                .text("loss", loss);
            let (listens, is_named) = state(group);
            if term > 0 && listens {
                table = table.text("term", term.to_string());
            }
            if is_named {
                table = table.text("named", "");
            }
            if self.0.enrolment.is_some() {
                table = table.text("is_elsewhere", "");
            }
            if let Some(mailbox) = self.0.addresses.mailbox(group) {
                table = table
                    .number("mailbox", keys.place(mailbox))
                    .text("mark", MailboxNames::loss_mark(group));
            }
            if redis.history().of(group).is_some() {
                table = table
                    .number("numbering", keys.place(names.numbering(group)))
                    .number("log", keys.place(names.log(group)));
            }
            arguments.push(table.pack());
        }
        (keys.into_vec(), arguments)
    }

    async fn erase(&self, groups: &[GroupName], named: &HashSet<GroupName>) {
        let moment = match &self.0.enrolment {
            Some(enrolment) if !groups.is_empty() => enrolment.now().await,
            _ => None,
        };
        for chunk in groups.chunks(MAX_GROUPS) {
            let mut keys = ScriptKeys::default();
            let tables = chunk.iter().map(|group| {
                let (_, history) = lifetimes(&self.0.redis, group);
                let table = self
                    .address(group, &mut keys)
                    .number("history_ms", millis(history))
                    .number("numbering", keys.place(self.0.redis.names().numbering(group)));
                let table = match named.contains(group) {
                    true => table.text("named", ""),
                    false => table,
                };
                table.pack()
            });
            let instance = Bytes::from(self.0.redis.instance().to_string());
            let arguments = std::iter::once(instance).chain(tables).collect();
            // A registration that stays is removed by the first entry that finds no listener.
            let outcome =
                self.0.redis.run::<Vec<i64>>(&self.0.unregister, keys.into_vec(), arguments);
            match (outcome.await, &self.0.enrolment, &moment) {
                (Ok(stay), Some(enrolment), Some(moment)) => {
                    let gone = chunk.iter().cloned().zip(stay);
                    let gone = gone.filter_map(|(group, ms)| Some((group, ms.try_into().ok()?)));
                    enrolment.withdraw(&gone.collect::<Vec<_>>(), moment.clone()).await;
                }
                (Ok(_), ..) => {}
                (Err(error), ..) => {
                    tracing::debug!(%error, groups = chunk.len(), "failed to unregister groups");
                }
            }
        }
    }

    /// The table of a group for both scripts.
    fn address(&self, group: &GroupName, keys: &mut ScriptKeys) -> LuaTable {
        let names = self.0.redis.names();
        let table = LuaTable::new()
            .text("channel", names.of_group(group))
            .number("held", keys.place(names.held(group)))
            .number("listeners", keys.place(names.listeners(group)));
        match self.0.addresses.of(group) {
            Some((registry, member)) => {
                table.number("registry", keys.place(registry)).text("member", member)
            }
            None => table,
        }
    }

    fn epoch(&self) -> Epoch {
        let redis = &self.0.redis;
        Epoch {
            generation: redis.generation(),
            resubscriptions: *redis.resubscriptions().borrow(),
            term: *redis.terms().borrow(),
        }
    }

    fn registered(&self) -> MutexGuard<'_, Option<Epoch>> {
        self.0.registered.lock()
    }

    fn held(&self) -> MutexGuard<'_, HashMap<GroupName, HeldGroup>> {
        self.0.held.lock()
    }
}

fn millis(span: Duration) -> u64 {
    span.as_millis().try_into().unwrap_or(u64::MAX)
}
