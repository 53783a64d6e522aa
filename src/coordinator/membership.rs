//! Subscribes to groups that have members, and gets their positions for joins.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::interest::Interest;
use super::new_names::NewNames;
use crate::celery::TaskWatcher;
use crate::channels::{ChosenBy, GroupRegistrar};
use crate::event::{Position, Recovery};
use crate::group::GroupName;
use crate::hub::{Cause, Hub, Join, Joined, MembershipRequest};
use crate::layer::{Layer, LayerError};
use crate::protocol::{Code, Refusal};
use crate::shutdown::{Phase, Shutdown};

/// Keeps the layer's subscriptions equal to the groups that have members, with a linger.
pub(super) struct MembershipHandler {
    hub: Hub,
    layer: Layer,
    /// Registers groups for Django's senders.
    registrar: Option<GroupRegistrar>,
    /// Watches the tasks whose groups have members.
    tasks: Option<TaskWatcher>,
    interest: Interest,
    new_names: NewNames,
    shutdown: Shutdown,
    /// When the next batch would begin if all were [`BATCH_INTERVAL`] apart.
    due: Instant,
}

/// Requests taken in one batch, so that a wave of joins becomes few commands to the layer.
const MAX_BATCH: usize = 256;

/// Groups subscribed and recovered at once: a wave of joins is served in such portions, so that the
/// first answers need not wait for the last, nor a stranger's join for a whole batch.
const MAX_GROUPS: usize = 2048;

/// Mean time between two batches, at least. A wave that arrives no faster than it is served would
/// cost a script for each join.
const BATCH_INTERVAL: Duration = Duration::from_millis(10);

/// How far batches may be ahead of that: a few dozen joins in a row do not wait. A wave costs as
/// many scripts more, of some 1,500.
const BATCH_BURST: Duration = Duration::from_millis(500);

/// Interval between two checks for groups whose linger is over.
const TIDY_INTERVAL: Duration = Duration::from_secs(1);

impl MembershipHandler {
    pub(super) fn new(
        hub: Hub,
        layer: Layer,
        registrar: Option<GroupRegistrar>,
        tasks: Option<TaskWatcher>,
        linger: Duration,
        shutdown: Shutdown,
    ) -> Self {
        let (interest, due) = (Interest::new(linger), Instant::now());
        let new_names = NewNames::new(due);
        Self { hub, layer, registrar, tasks, interest, new_names, shutdown, due }
    }

    /// Serves until the hub ends.
    pub(super) async fn serve(&mut self, mut requests: mpsc::Receiver<MembershipRequest>) {
        let mut tidy = interval(TIDY_INTERVAL);
        tidy.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut batch = Vec::with_capacity(MAX_BATCH);
        loop {
            tokio::select! {
                count = requests.recv_many(&mut batch, MAX_BATCH) => {
                    if count == 0 {
                        return;
                    }
                    self.gather(&mut requests, &mut batch).await;
                    self.handle(batch.drain(..)).await;
                }
                _ = tidy.tick() => self.tidy().await,
            }
        }
    }

    /// Waits until the next batch may begin, and adds what has arrived in the meantime.
    async fn gather(
        &mut self,
        requests: &mut mpsc::Receiver<MembershipRequest>,
        batch: &mut Vec<MembershipRequest>,
    ) {
        let ahead = self.due.saturating_duration_since(Instant::now());
        if let Some(early) = ahead.checked_sub(BATCH_BURST) {
            sleep(early).await;
            while batch.len() < MAX_BATCH
                && let Ok(request) = requests.try_recv()
            {
                batch.push(request);
            }
        }
        self.due = self.due.max(Instant::now()) + BATCH_INTERVAL;
    }

    /// Batches joins up to the next release, which must not overtake them.
    async fn handle(&mut self, batch: impl Iterator<Item = MembershipRequest>) {
        let mut joins = Vec::new();
        for request in batch {
            match request {
                MembershipRequest::Join(join) => joins.push(join),
                MembershipRequest::Release { shard, groups } => {
                    self.join(std::mem::take(&mut joins)).await;
                    self.release(shard, groups);
                    if self.shutdown.phase() != Phase::Running {
                        self.depart().await;
                    }
                }
            }
        }
        self.join(joins).await;
    }

    async fn tidy(&mut self) {
        self.new_names.tidy(Instant::now());
        match self.shutdown.phase() {
            Phase::Running => self.unsubscribe_expired().await,
            Phase::Draining | Phase::Closed => self.depart().await,
        }
    }

    /// Serves a batch of joins in portions.
    async fn join(&mut self, joins: Vec<Join>) {
        let (mut portion, mut groups) = (Vec::new(), 0);
        for join in joins {
            if groups > 0 && groups + join.groups.len() > MAX_GROUPS {
                self.join_portion(std::mem::take(&mut portion)).await;
                groups = 0;
            }
            groups += join.groups.len();
            portion.push(join);
        }
        if !portion.is_empty() {
            self.join_portion(portion).await;
        }
    }

    /// Serves joins, asking the layer once to subscribe and once to recover.
    ///
    /// First it subscribes, then it asks for the position, then it answers. So every publication
    /// after the answer arrives, and the shard holds back those that arrive before it.
    async fn join_portion(&mut self, joins: Vec<Join>) {
        let (mut unsubscribed, mut limited) = (HashSet::new(), HashSet::new());
        for (index, join) in joins.iter().enumerate() {
            for (group, _) in &join.groups {
                let first = self.hub.open(group, join.shard);
                if !self.interest.wants(group, first) || unsubscribed.contains(group) {
                    continue;
                }
                if self.is_beyond_budget(join) {
                    limited.insert((index, group.clone()));
                    // Another join of the same group has to subscribe it.
                    self.interest.subscribed(vec![group.clone()], false);
                } else {
                    unsubscribed.insert(group.clone());
                }
            }
        }
        let wanted = joins.iter().enumerate().flat_map(|(index, join)| {
            join.groups.iter().map(move |(group, since)| (index, group, since))
        });
        let is_limited = |index, group: &GroupName| {
            !limited.is_empty() && limited.contains(&(index, group.clone()))
        };
        let asked: Vec<_> = wanted
            .filter(|(index, group, _)| !is_limited(*index, group))
            .map(|(_, group, since)| (group.clone(), since.clone()))
            .collect();
        let named = named_by_server(&joins);
        let answers = self.subscribe_and_recover(&asked, &unsubscribed, &named).await;
        self.settle(&asked, &answers, unsubscribed).await;
        self.answer(joins, answers, is_limited).await;
    }

    /// Whether a client joins a new name for which its user has no room left.
    fn is_beyond_budget(&mut self, join: &Join) -> bool {
        let is_chosen = matches!(join.cause, Cause::Client(_));
        is_chosen && !self.new_names.take(&join.sub, Instant::now())
    }

    /// The answer for each group that is asked about. Without its subscription only a group that
    /// needed one is refused.
    async fn subscribe_and_recover(
        &self,
        asked: &[(GroupName, Option<Position>)],
        unsubscribed: &HashSet<GroupName>,
        named: &HashSet<&GroupName>,
    ) -> Vec<Result<Recovery, LayerError>> {
        let subscribed = self.subscribe(unsubscribed, named).await;
        let answers = self.layer.recover(asked).await;
        let mut answers = answers.unwrap_or_else(|error| vec![Err(error); asked.len()]);
        if let Err(error) = subscribed {
            for ((group, _), answer) in asked.iter().zip(&mut answers) {
                if unsubscribed.contains(group) {
                    *answer = Err(error.clone());
                }
            }
        }
        answers
    }

    /// Subscribes, then registers, so that a sender that finds a group finds a listener.
    async fn subscribe(
        &self,
        groups: &HashSet<GroupName>,
        named: &HashSet<&GroupName>,
    ) -> Result<(), LayerError> {
        if let Some(registrar) = &self.registrar {
            registrar.name(named.iter().copied());
        }
        if groups.is_empty() {
            return Ok(());
        }
        let groups: Vec<_> = groups.iter().cloned().collect();
        self.layer.subscribe(&groups).await?;
        let Some(registrar) = &self.registrar else { return Ok(()) };
        let (named, chosen): (Vec<_>, Vec<_>) =
            groups.into_iter().partition(|group| named.contains(group));
        let registered = [
            registrar.register(&named, ChosenBy::Server).await,
            registrar.register(&chosen, ChosenBy::Client).await,
        ];
        registered.into_iter().collect()
    }

    /// Unsubscribes the groups whose joins are all refused. An instance that stays subscribed
    /// without members would be sent parked entries.
    async fn settle(
        &mut self,
        asked: &[(GroupName, Option<Position>)],
        answers: &[Result<Recovery, LayerError>],
        unsubscribed: HashSet<GroupName>,
    ) {
        let answered: HashSet<_> = asked
            .iter()
            .zip(answers)
            .filter(|(_, answer)| answer.is_ok())
            .map(|((group, _), _)| group)
            .collect();
        let (joined, refused) =
            unsubscribed.into_iter().partition(|group| answered.contains(group));
        self.interest.subscribed(joined, true);
        self.give_up(refused).await;
    }

    async fn give_up(&mut self, refused: Vec<GroupName>) {
        if refused.is_empty() {
            return;
        }
        if let Some(registrar) = &self.registrar {
            registrar.stop_listening(&refused).await;
        }
        if let Err(error) = self.layer.unsubscribe(&refused).await {
            let groups = refused.len();
            tracing::debug!(%error, groups, "groups may be subscribed without members");
        }
        self.interest.subscribed(refused, false);
    }

    /// Answers every join. The shards end the memberships that are refused and release their
    /// groups, which also takes back the interest noted.
    async fn answer(
        &self,
        joins: Vec<Join>,
        answers: Vec<Result<Recovery, LayerError>>,
        is_limited: impl Fn(usize, &GroupName) -> bool,
    ) {
        if let Some(Err(error)) = answers.iter().find(|answer| answer.is_err()) {
            let refused = answers.iter().filter(|answer| answer.is_err()).count();
            tracing::warn!(%error, refused, "joins refused: the layer did not answer");
        }
        let refusal = Refusal::new(Code::Unavailable, "the channel layer cannot be reached");
        let limited = Refusal::new(Code::Limited, "too many new groups within a minute");
        let mut answers = answers.into_iter().map(|answer| answer.map_err(|_| refusal.clone()));
        for (index, join) in joins.into_iter().enumerate() {
            let Join { to, shard, ticket, cause, groups, refused, .. } = join;
            let names = groups.into_iter().map(|(name, _)| name);
            let groups: Vec<_> = names
                .map(|name| match is_limited(index, &name) {
                    true => (name, Err(limited.clone())),
                    false => (name, answers.next().unwrap_or_else(|| Err(refusal.clone()))),
                })
                .collect();
            let tasks = self.tasks_among(&groups);
            self.hub.joined(shard, Joined { to, ticket, cause, groups, refused }).await;
            if let Some(watcher) = &self.tasks {
                for task in tasks {
                    watcher.joined(task, shard, to).await;
                }
            }
        }
    }

    /// The groups of tasks that were joined.
    fn tasks_among(&self, groups: &[(GroupName, Result<Recovery, Refusal>)]) -> Vec<GroupName> {
        let Some(watcher) = &self.tasks else { return Vec::new() };
        let joined = groups.iter().filter(|(_, answer)| answer.is_ok());
        joined.map(|(group, _)| group).filter(|group| watcher.is_task(group)).cloned().collect()
    }

    /// A shard has no members of these groups any more. After the last shard the linger begins.
    fn release(&mut self, shard: usize, groups: Vec<GroupName>) {
        let now = Instant::now();
        for group in groups {
            if self.hub.close(&group, shard) {
                self.interest.idle(group, now);
            }
        }
    }

    /// Unsubscribes groups whose linger is over.
    async fn unsubscribe_expired(&mut self) {
        let expired = self.interest.take_expired(Instant::now());
        if let Some(watcher) = &self.tasks {
            watcher.idle(&expired).await;
        }
        if self.unsubscribe(&expired).await
            && let Some(registrar) = &self.registrar
        {
            registrar.unregister(&expired).await;
        }
    }

    /// Unsubscribes all groups without members, since this instance stops. They stay registered, so
    /// that what is sent to them waits for another instance or for the next start.
    async fn depart(&mut self) {
        let idle = self.interest.take_idle();
        self.unsubscribe(&idle).await;
    }

    async fn unsubscribe(&mut self, groups: &[GroupName]) -> bool {
        if groups.is_empty() {
            return false;
        }
        if let Some(registrar) = &self.registrar {
            registrar.stop_listening(groups).await;
        }
        let outcome = self.layer.unsubscribe(groups).await;
        if let Err(error) = &outcome {
            tracing::warn!(%error, groups = groups.len(), "unsubscribing failed; retrying");
            self.interest.retry_later(groups.to_vec(), Instant::now());
        }
        outcome.is_ok()
    }
}

/// The groups that do not only clients ask for.
fn named_by_server(joins: &[Join]) -> HashSet<&GroupName> {
    let by_server = joins.iter().filter(|join| !matches!(join.cause, Cause::Client(_)));
    by_server.flat_map(|join| join.groups.iter().map(|(group, _)| group)).collect()
}
