//! Which groups this instance asks the layer for, and where they stand when somebody joins.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use super::interest::Interest;
use crate::channels::ChannelLayer;
use crate::event::Recovery;
use crate::group::GroupName;
use crate::hub::{Hub, Join, Joined};
use crate::layer::{Layer, LayerError};
use crate::protocol::{Code, Refusal};

/// Keeps the layer's subscriptions equal to the hub's groups, with a linger.
pub(super) struct Membership {
    hub: Hub,
    layer: Layer,
    /// Where senders of other formats look for groups.
    channel_layer: Option<ChannelLayer>,
    interest: Interest,
}

impl Membership {
    pub(super) fn new(
        hub: Hub,
        layer: Layer,
        channel_layer: Option<ChannelLayer>,
        linger: Duration,
    ) -> Self {
        Self { hub, layer, channel_layer, interest: Interest::new(linger) }
    }

    /// Serves a batch of joins with one question to the layer each for subscribing and recovering.
    ///
    /// Subscribed first, then asked where the group stands, then answered: whatever is published
    /// after the answer arrives, and what came before it is held back by the shard.
    pub(super) async fn join(&mut self, joins: Vec<Join>) {
        if joins.is_empty() {
            return;
        }
        let mut fresh = HashSet::new();
        for join in &joins {
            for (group, _) in &join.groups {
                let first = self.hub.open(group, join.shard);
                if self.interest.wants(group, first) {
                    fresh.insert(group.clone());
                }
            }
        }
        match self.recover(&joins, fresh).await {
            Ok(recovered) => self.answer(joins, recovered).await,
            Err(error) => self.refuse(joins, &error).await,
        }
    }

    async fn recover(
        &mut self,
        joins: &[Join],
        fresh: HashSet<GroupName>,
    ) -> Result<Vec<Recovery>, LayerError> {
        let fresh = fresh.into_iter().collect::<Vec<_>>();
        let recovered = self.open(joins, &fresh).await;
        self.interest.asked(fresh, recovered.is_ok());
        recovered
    }

    async fn open(&self, joins: &[Join], fresh: &[GroupName]) -> Result<Vec<Recovery>, LayerError> {
        let recovered = self.subscribe(joins, fresh).await;
        // The joins are refused: an instance that listens all the same, perhaps as soon as it is
        // connected again, would be sent what waits for members.
        if recovered.is_err()
            && !fresh.is_empty()
            && let Err(error) = self.layer.unsubscribe(fresh).await
        {
            tracing::debug!(%error, groups = fresh.len(), "groups may be subscribed without members");
        }
        recovered
    }

    /// Subscribed first: what senders send from the moment at which they find the group arrives.
    async fn subscribe(
        &self,
        joins: &[Join],
        fresh: &[GroupName],
    ) -> Result<Vec<Recovery>, LayerError> {
        if !fresh.is_empty() {
            self.layer.subscribe(fresh).await?;
            if let Some(channel_layer) = &self.channel_layer {
                channel_layer.enter(fresh).await?;
            }
        }
        let asked = joins.iter().flat_map(|join| &join.groups).cloned().collect::<Vec<_>>();
        self.layer.recover(&asked).await
    }

    async fn answer(&self, joins: Vec<Join>, recovered: Vec<Recovery>) {
        let mut recovered = recovered.into_iter();
        for join in joins {
            let names = join.groups.into_iter().map(|(name, _)| name);
            let groups = names.zip(recovered.by_ref().map(Ok)).collect();
            let Join { to, shard, ticket, cause, refused, .. } =
                Join { groups: Vec::new(), ..join };
            self.hub.joined(shard, Joined { to, ticket, cause, groups, refused }).await;
        }
    }

    /// The shards end the memberships and release them, which also takes back the interest noted.
    async fn refuse(&self, joins: Vec<Join>, error: &LayerError) {
        tracing::warn!(%error, joins = joins.len(), "joins refused: the layer did not answer");
        for join in joins {
            let refusal = Refusal::new(Code::Unavailable, "the channel layer cannot be reached");
            let names = join.groups.into_iter().map(|(name, _)| name);
            let groups = names.map(|name| (name, Err(refusal.clone()))).collect();
            let Join { to, shard, ticket, cause, refused, .. } =
                Join { groups: Vec::new(), ..join };
            self.hub.joined(shard, Joined { to, ticket, cause, groups, refused }).await;
        }
    }

    /// Notes that a shard holds these groups no more; the last one begins the linger.
    pub(super) fn release(&mut self, shard: usize, groups: Vec<GroupName>) {
        let now = Instant::now();
        for group in groups {
            if self.hub.close(&group, shard) {
                self.interest.idle(group, now);
            }
        }
    }

    /// Unsubscribes groups whose linger is over.
    pub(super) async fn tidy(&mut self) {
        let over = self.interest.over(Instant::now());
        if self.unsubscribe(&over).await
            && let Some(channel_layer) = &self.channel_layer
        {
            channel_layer.leave(&over).await;
        }
    }

    /// Unsubscribes groups without members at once, since this instance goes away. They are not left:
    /// what comes for them waits for whoever takes over, or for the next start.
    pub(super) async fn depart(&mut self) {
        let idle = self.interest.idle_ones();
        self.unsubscribe(&idle).await;
    }

    async fn unsubscribe(&mut self, groups: &[GroupName]) -> bool {
        if groups.is_empty() {
            return false;
        }
        let outcome = self.layer.unsubscribe(groups).await;
        if let Err(error) = &outcome {
            tracing::warn!(%error, groups = groups.len(), "groups not unsubscribed; they are tried again");
            self.interest.kept(groups.to_vec(), Instant::now());
        }
        outcome.is_ok()
    }
}
