//! Passes what the layer delivers to the hub, in order.

use std::collections::{HashMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::mending::{Mending, Released, Way};
use crate::backend::Hook;
use crate::channels::PubsubDecoder;
use crate::event::{Control, Member, PossibleLoss, Publication};
use crate::group::GroupName;
use crate::hub::{Hub, PossibleGap};
use crate::layer::{Inbox, Incoming, Layer, Loss};
use crate::supervisor::Progress;
use crate::telemetry::Journal;

/// Messages posted before the shards are woken, so that what arrived together is written together.
const MAX_BATCH: usize = 64;

/// How long a group that lost publications for want of room counts as flooded. Another such loss in
/// this time is not repaired: reading its history again and again would add to the load.
const FLOODED: Duration = Duration::from_secs(5);

/// Flooded groups that are remembered.
const MAX_FLOODED: usize = 4096;

/// Passes on what the layer delivers.
struct Dispatcher {
    hub: Hub,
    pubsub: Option<PubsubDecoder>,
    hook: Option<Hook>,
    mending: Mending,
    journal: Arc<Journal>,
    /// When each group last lost publications for want of room.
    flooded: HashMap<GroupName, Instant>,
}

/// Runs until the layer ends.
///
/// One task, so that a group's publications stay in order. It waits for room in a shard's inbox,
/// where shards never wait for sockets, and for nothing else.
pub(crate) async fn dispatch(
    mut inbox: Inbox,
    hub: Hub,
    layer: Layer,
    pubsub: Option<PubsubDecoder>,
    (hook, journal): (Option<Hook>, Arc<Journal>),
    progress: Progress,
) {
    let mending = Mending::new(layer);
    let mut to = Dispatcher { hub, pubsub, hook, mending, journal, flooded: HashMap::new() };
    let mut batch = Vec::with_capacity(MAX_BATCH);
    loop {
        tokio::select! {
            // Otherwise a flood would make those that are held back wait for longer.
            biased;
            released = to.mending.next() => {
                progress.begin();
                to.release(released).await;
                progress.finish();
            }
            count = inbox.recv_many(&mut batch, MAX_BATCH) => {
                if count == 0 {
                    return;
                }
                for incoming in batch.drain(..) {
                    progress.begin();
                    to.take(incoming).await;
                    progress.finish();
                }
            }
        }
        to.hub.wake();
    }
}

impl Dispatcher {
    async fn take(&mut self, incoming: Incoming) {
        match self.mending.hold(incoming) {
            Way::Held => {}
            Way::On(incoming) => self.pass(incoming).await,
            Way::OnAfter(released, incoming) => {
                self.release(vec![released]).await;
                self.pass(incoming).await;
            }
        }
    }

    async fn pass(&mut self, incoming: Incoming) {
        match incoming {
            Incoming::Loss(loss) => self.lose(loss).await,
            other => self.pass_to_hub(other).await,
        }
    }

    async fn pass_to_hub(&mut self, incoming: Incoming) {
        let hub = &self.hub;
        match incoming {
            Incoming::Publication(publication) => hub.post(publication).await,
            Incoming::External(group, payload) => {
                if let Some(publication) = decode(self.pubsub.as_ref(), &group, &payload) {
                    hub.post(Arc::new(publication)).await;
                }
            }
            Incoming::Control(control, stamp) => {
                if let (Some(hook), Some(sub)) = (&self.hook, closed_user(&control)) {
                    hook.user_closed(sub);
                }
                hub.control(control, stamp).await;
            }
            Incoming::ClosedEarlier(sub) => {
                if let Some(hook) = &self.hook {
                    hook.user_closed(&sub);
                }
            }
            Incoming::CommandsMissed => {
                if let Some(hook) = &self.hook {
                    hook.everybody_closed();
                }
                hub.close_all().await;
            }
            // Never held back, so only `pass` meets one.
            Incoming::Loss(_) => {}
        }
    }

    /// Has lost publications recovered from histories, and reports the rest to members as gaps.
    async fn lose(&mut self, loss: Loss) {
        let groups = match loss {
            Loss::All => None,
            Loss::Groups(groups) => Some(groups),
            Loss::Possible(loss) => return self.notify_possible_loss(loss).await,
        };
        let asked: Option<Arc<[GroupName]>> =
            groups.as_ref().map(|groups| self.note_flooded(groups).into());
        let positions = match &asked {
            Some(none) if none.is_empty() => HashMap::new(),
            asked => self.hub.positions(asked.clone()).await,
        };
        let settled = positions.keys().cloned().collect();
        if !positions.is_empty() {
            self.mending.begin(positions);
        }
        let groups = groups.map(Arc::from);
        // What these hold was before the gap.
        self.release_those(groups.as_deref(), &settled).await;
        self.hub.notify_possible_gap(PossibleGap { groups, settled: Arc::new(settled) }).await;
    }

    /// Notes that these groups lost publications for want of room. Returns those that have not
    /// lately.
    fn note_flooded(&mut self, groups: &[GroupName]) -> Vec<GroupName> {
        let now = Instant::now();
        if self.flooded.len() + groups.len() > MAX_FLOODED {
            self.flooded.retain(|_, at| now - *at < FLOODED);
        }
        let is_first = |group: &&GroupName| {
            let before = self.flooded.insert((*group).clone(), now);
            before.is_none_or(|at| now - at >= FLOODED)
        };
        groups.iter().filter(is_first).cloned().collect()
    }

    /// Reports to members that publications may never have reached the layer, so that no history
    /// has them.
    async fn notify_possible_loss(&mut self, loss: PossibleLoss) {
        self.journal.lost(&loss);
        let groups = match loss {
            PossibleLoss::Groups(groups) => groups,
            PossibleLoss::Share { number, of } => {
                self.hub.groups_where(|group| group.share(of) == number)
            }
        };
        self.release_those(Some(&groups), &HashSet::new()).await;
        let settled = Arc::new(HashSet::new());
        self.hub.notify_possible_gap(PossibleGap { groups: Some(groups.into()), settled }).await;
    }

    /// Stops repairing these groups, all if `None`, but not those in `but`.
    async fn release_those(&mut self, groups: Option<&[GroupName]>, but: &HashSet<GroupName>) {
        if self.mending.is_idle() {
            return;
        }
        let concerned: Vec<_> = match groups {
            Some(groups) => groups.to_vec(),
            None => self.mending.groups().cloned().collect(),
        };
        let concerned = concerned.iter().filter(|group| !but.contains(*group));
        let released = concerned.filter_map(|group| self.mending.release(group)).collect();
        self.release(released).await;
    }

    /// Passes on what was missed by groups that are no longer held back, or that it is missing, and
    /// then what they held.
    async fn release(&mut self, released: Vec<Released>) {
        let mut incomplete = Vec::new();
        for Released { group, recovery, held } in released {
            let Some(recovery) = recovery else {
                incomplete.push((group, held));
                continue;
            };
            // Shards drop those that they already have, by position.
            for publication in recovery.replay {
                self.hub.post(publication).await;
            }
            for incoming in held {
                self.pass_to_hub(incoming).await;
            }
        }
        if incomplete.is_empty() {
            return;
        }
        let groups = incomplete.iter().map(|(group, _)| group.clone()).collect();
        let settled = Arc::new(HashSet::new());
        self.hub.notify_possible_gap(PossibleGap { groups: Some(groups), settled }).await;
        for (_, held) in incomplete {
            for incoming in held {
                self.pass_to_hub(incoming).await;
            }
        }
    }
}

/// The user whose connections `control` closes: when they return, the hook must be asked again.
fn closed_user(control: &Control) -> Option<&str> {
    match control {
        Control::Close(Member::User(sub), _) | Control::CloseSession(sub, ..) => Some(sub),
        Control::Close(Member::Connection(_), _) | Control::Join(..) | Control::Leave(..) => None,
    }
}

/// The publication of an external message, if there is one. The message may contain anything, so a
/// panic in the decoder discards only this message.
fn decode(
    pubsub: Option<&PubsubDecoder>,
    group: &GroupName,
    payload: &[u8],
) -> Option<Publication> {
    let decoding = AssertUnwindSafe(|| pubsub?.decode(group, payload));
    catch_unwind(decoding).unwrap_or_else(|_| {
        tracing::error!(%group, "decoder panicked on an external message; message discarded");
        None
    })
}
