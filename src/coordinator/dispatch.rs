//! Passes what the layer delivers to the hub, in order.

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::backend::Hook;
use crate::channels::PubsubDecoder;
use crate::event::{Control, Member, Position, PossibleLoss, Publication};
use crate::group::GroupName;
use crate::hub::{Hub, PossibleGap};
use crate::layer::{Inbox, Incoming, Layer, Loss};
use crate::supervisor::Progress;

/// Messages posted before the shards are woken, so that what arrived together is written together.
const MAX_BATCH: usize = 64;

/// Groups recovered at once after a loss.
const MAX_GROUPS: usize = 256;

/// How long histories may take to answer after a loss. After that, missing events become a gap. In
/// the meantime, new messages wait in the layer's backlog.
const RECOVERY_TIMEOUT: Duration = Duration::from_secs(1);

/// Pause between two attempts. The layer reports a loss as soon as it has resubscribed, perhaps
/// before its command connection is back.
const RETRY_INTERVAL: Duration = Duration::from_millis(25);

/// Runs until the layer ends.
///
/// One task, so that a group's publications stay in order. It waits for room in a shard's inbox,
/// where shards never wait for sockets, and after a loss for the layer's histories.
pub(crate) async fn dispatch(
    mut inbox: Inbox,
    hub: Hub,
    layer: Layer,
    pubsub: Option<PubsubDecoder>,
    hook: Option<Hook>,
    progress: Progress,
) {
    let mut batch = Vec::with_capacity(MAX_BATCH);
    while inbox.recv_many(&mut batch, MAX_BATCH).await > 0 {
        for incoming in batch.drain(..) {
            // Histories answer within a deadline of their own, or not, as Redis does.
            let is_step = !matches!(incoming, Incoming::Loss(_));
            if is_step {
                progress.begin();
            }
            match incoming {
                Incoming::Publication(publication) => hub.post(publication).await,
                Incoming::External(group, payload) => {
                    if let Some(publication) = decode(pubsub.as_ref(), &group, &payload) {
                        hub.post(Arc::new(publication)).await;
                    }
                }
                Incoming::Control(control, stamp) => {
                    if let (Some(hook), Some(sub)) = (&hook, closed_user(&control)) {
                        hook.user_closed(sub);
                    }
                    hub.control(control, stamp).await;
                }
                Incoming::ClosedEarlier(sub) => {
                    if let Some(hook) = &hook {
                        hook.user_closed(&sub);
                    }
                }
                Incoming::CommandsMissed => {
                    if let Some(hook) = &hook {
                        hook.everybody_closed();
                    }
                    hub.close_all().await;
                }
                Incoming::Loss(loss) => recover_loss(loss, &hub, &layer).await,
            }
            if is_step {
                progress.finish();
            }
        }
        hub.wake();
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

/// Recovers lost publications from histories, and reports the rest to members as gaps.
async fn recover_loss(loss: Loss, hub: &Hub, layer: &Layer) {
    let groups: Option<Arc<[GroupName]>> = match loss {
        Loss::All => None,
        Loss::Groups(groups) => Some(groups.into()),
        Loss::Possible(loss) => return notify_possible_loss(loss, hub).await,
    };
    let positions = hub.positions(groups.clone()).await;
    let deadline = Instant::now() + RECOVERY_TIMEOUT;
    let mut settled = HashSet::new();
    let asked: Vec<_> = positions.into_iter().map(|(group, at)| (group, Some(at))).collect();
    for batch in asked.chunks(MAX_GROUPS) {
        settled.extend(catch_up(batch, hub, layer, deadline).await);
    }
    hub.notify_possible_gap(PossibleGap { groups, settled: Arc::new(settled) }).await;
}

/// Reports to members that publications may never have reached the layer, so that no history has
/// them.
async fn notify_possible_loss(loss: PossibleLoss, hub: &Hub) {
    let groups = match loss {
        PossibleLoss::Groups(groups) => groups,
        PossibleLoss::Share { number, of } => hub.groups_where(|group| group.share(of) == number),
    };
    let settled = Arc::new(HashSet::new());
    hub.notify_possible_gap(PossibleGap { groups: Some(groups.into()), settled }).await;
}

/// Replays histories. Returns the groups for which nothing is missing.
async fn catch_up(
    batch: &[(GroupName, Option<Position>)],
    hub: &Hub,
    layer: &Layer,
    deadline: Instant,
) -> Vec<GroupName> {
    let (mut pending, mut complete) = (batch.to_vec(), Vec::new());
    loop {
        let answers = match layer.recover(&pending).await {
            Ok(answers) => answers,
            Err(error) => vec![Err(error); pending.len()],
        };
        let (mut unanswered, mut failure) = (Vec::new(), None);
        for ((group, since), answer) in pending.into_iter().zip(answers) {
            match answer {
                Ok(recovery) if recovery.recovered == Some(true) => {
                    // Shards drop those that they already have, by position.
                    for publication in recovery.replay {
                        hub.deliver(publication).await;
                    }
                    complete.push(group);
                }
                Ok(_) => {}
                Err(error) => {
                    failure = Some(error);
                    unanswered.push((group, since));
                }
            }
        }
        let Some(error) = failure else { return complete };
        if Instant::now() + RETRY_INTERVAL >= deadline {
            tracing::warn!(%error, groups = unanswered.len(), "histories could not be read");
            return complete;
        }
        pending = unanswered;
        sleep(RETRY_INTERVAL).await;
    }
}
