//! Keeps the groups that are held here findable for senders.
//!
//! What is written is forgotten by senders, keys and people (`FLUSHDB`), so it is written again each
//! minute, and at once when the layer's subscription has been made anew.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::{Mutex, MutexGuard};
use tokio::time::sleep;

use super::failpoint;
use super::health::DrainHealth;
use super::parts::{Addresses, spans};
use crate::group::GroupName;
use crate::layer::{LayerError, NUMBERING, PossibleLoss, RedisHandle, Script, ScriptError};
use crate::telemetry::ChannelsMetrics;

/// Making groups findable, as logs call it.
const FINDING: &str = "how senders find groups";

/// Between two words that a group is held.
const REFRESH: Duration = Duration::from_secs(60);

/// Between two looks for groups that are due.
const TICK: Duration = Duration::from_secs(1);

/// The same while senders may not find what is held.
const BRISK: Duration = Duration::from_millis(50);

/// Groups in one script: about 1 ms in which Redis does nothing else.
const CHUNK: usize = 128;

/// What ends with a restart of Redis, with the loss of its data or of the subscription.
#[derive(Debug, PartialEq, Eq)]
struct Life {
    generation: Bytes,
    renewals: u64,
}

/// The groups that are held here, and what is said of them.
pub(super) struct GroupRegistrar {
    pub(super) link: RedisHandle,
    pub(super) addresses: Addresses,
    pub(super) health: Arc<DrainHealth>,
    pub(super) metrics: Arc<ChannelsMetrics>,
    /// When each was last said to be held, if that was taken. Never locked across an await.
    held: Mutex<HashMap<GroupName, Option<Instant>>>,
    /// The life of Redis and of the subscription in which all of them have been said.
    said: Mutex<Option<Life>>,
    enter: Script,
    leave: Script,
}

impl GroupRegistrar {
    pub(super) fn new(
        link: RedisHandle,
        addresses: Addresses,
        health: Arc<DrainHealth>,
        metrics: Arc<ChannelsMetrics>,
    ) -> Self {
        let enter = Script::new(&[
            NUMBERING,
            include_str!("scripts/waiting.lua"),
            include_str!("scripts/enter.lua"),
        ]);
        let leave = Script::new(&[include_str!("scripts/leave.lua")]);
        let (held, said) = Default::default();
        Self { link, addresses, health, metrics, held, said, enter, leave }
    }

    /// The groups are held here from now on: senders find them, and what waited for them is sent.
    pub(super) async fn enter(&self, groups: &[GroupName]) -> Result<(), LayerError> {
        failpoint::pass("before-enter");
        let outcome = self.say(groups, false).await;
        failpoint::pass("after-enter");
        match outcome {
            // Joined all the same: what comes by the gateway itself arrives. Nothing else does, and
            // that shows in logs and in readyz.
            Ok(()) | Err(ScriptError::Refused(_)) => Ok(()),
            Err(ScriptError::Away(error)) => Err(error),
        }
    }

    /// The groups are not held here any more.
    pub(super) async fn leave(&self, groups: &[GroupName]) {
        failpoint::pass("before-leave");
        {
            let mut held = self.held();
            for group in groups {
                held.remove(group);
            }
        }
        self.say_left(groups).await;
        failpoint::pass("after-leave");
    }

    async fn say_left(&self, groups: &[GroupName]) {
        for chunk in groups.chunks(CHUNK) {
            let mut arguments = Vec::with_capacity(chunk.len() * 5);
            for group in chunk {
                let (key, member) = self.addresses.member(group);
                let (_, good_for) = spans(&self.link, group);
                let names = self.link.names();
                let values = [key, member, names.of_group(group), names.held(group)];
                arguments.extend(values.map(Bytes::from));
                arguments.push(millis(good_for));
            }
            // What is not said goes by itself: the first entry that nobody hears removes the member.
            let said = self.link.run::<i64>(&self.leave, Vec::new(), arguments).await;
            if let Err(error) = said {
                tracing::debug!(%error, groups = chunk.len(), "leaving was not said");
            }
        }
    }

    /// Says again and again what is held, for as long as the bridge lives.
    pub(super) async fn run(&self) {
        let mut renewals = self.link.resubscriptions();
        let mut pause = TICK;
        loop {
            tokio::select! {
                () = sleep(pause) => {}
                changed = renewals.changed() => if changed.is_err() {
                    return;
                },
            }
            pause = if self.has_said_all() { TICK } else { BRISK };
            if !self.link.is_delivering() {
                continue;
            }
            let life = self.life();
            failpoint::pass("refresh");
            // After a loss: what was sent to nobody meanwhile waits, and the members may be gone.
            match self.refresh(!self.has_said_all()).await {
                Ok(()) => (*self.said(), pause) = (Some(life), TICK),
                // Somebody has to mend that; nobody does within moments.
                Err(ScriptError::Refused(_)) => pause = TICK,
                Err(error) => tracing::debug!(%error, "holding groups was not said"),
            }
        }
    }

    /// Whether senders find all groups that are held, as far as is known.
    pub(super) fn has_said_all(&self) -> bool {
        *self.said() == Some(self.life())
    }

    fn life(&self) -> Life {
        Life { generation: self.link.generation(), renewals: *self.link.resubscriptions().borrow() }
    }

    fn said(&self) -> MutexGuard<'_, Option<Life>> {
        self.said.lock()
    }

    pub(super) async fn refresh(&self, all: bool) -> Result<(), ScriptError> {
        let due: Vec<_> = {
            let held = self.held();
            let fresh = |said: &Option<Instant>| said.is_some_and(|at| at.elapsed() < REFRESH);
            let due = held.iter().filter(|(_, said)| all || !fresh(said));
            due.map(|(group, _)| group.clone()).collect()
        };
        let said = self.say(&due, true).await;
        // What was left meanwhile has been said to be held, perhaps after it was said to be left. Who
        // has joined it again listens already, and then it stays.
        let left: Vec<_> = {
            let held = self.held();
            due.into_iter().filter(|group| !held.contains_key(group)).collect()
        };
        self.say_left(&left).await;
        said
    }

    /// Says that these groups are held; `expected` = senders should find them already.
    async fn say(&self, groups: &[GroupName], expected: bool) -> Result<(), ScriptError> {
        let mut refused = None;
        for chunk in groups.chunks(CHUNK) {
            let mut now = Some(Instant::now());
            let arguments = self.arguments(chunk, expected);
            match self.link.run::<u64>(&self.enter, Vec::new(), arguments).await {
                Ok(missing) => {
                    self.metrics.missing.increment(missing);
                    self.health.mended(FINDING);
                }
                Err(ScriptError::Refused(why)) => {
                    self.health.refused(FINDING, &why);
                    now = None;
                    refused = Some(ScriptError::Refused(why));
                }
                Err(error) => return Err(error),
            }
            let mut held = self.held();
            for group in chunk {
                // A group that was left meanwhile is not held again by a late refresh.
                if !expected || held.contains_key(group) {
                    held.insert(group.clone(), now);
                }
            }
        }
        refused.map_or(Ok(()), Err)
    }

    fn arguments(&self, groups: &[GroupName], expected: bool) -> Vec<Bytes> {
        let names = self.link.names();
        let mut out = Vec::with_capacity(3 + groups.len() * 9);
        out.push(Bytes::from(self.addresses.channels.group_expiry.as_secs().to_string()));
        out.push(Bytes::from(names.control().to_owned()));
        out.push(Bytes::from_static(if expected { b"1" } else { b"0" }));
        for group in groups {
            let (key, member) = self.addresses.member(group);
            let (held_for, _) = spans(&self.link, group);
            out.extend([key, member, names.of_group(group), names.held(group)].map(Bytes::from));
            out.push(millis(held_for));
            out.push(names.waiting(group).into());
            let history = match self.link.history().of(group) {
                Some(_) => [names.numbering(group), names.log(group)],
                None => Default::default(),
            };
            out.extend(history.map(Bytes::from));
            out.push(self.link.possible_loss(&PossibleLoss::Groups(vec![group.clone()])));
        }
        out
    }

    fn held(&self) -> MutexGuard<'_, HashMap<GroupName, Option<Instant>>> {
        self.held.lock()
    }
}

fn millis(span: Duration) -> Bytes {
    Bytes::from(span.as_millis().to_string())
}
