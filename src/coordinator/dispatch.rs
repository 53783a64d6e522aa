//! Step four of the walk: what the layer has, handed to the hub in the order in which it came.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::channels::ChannelLayer;
use crate::event::{Position, PossibleLoss};
use crate::group::GroupName;
use crate::hub::{Hub, PossibleGap};
use crate::layer::{Inbox, Incoming, Layer, Loss};

/// Publications posted before the shards are woken: what came together is written together.
const TOGETHER: usize = 64;

/// Groups asked about at once after a loss.
const BATCH: usize = 256;

/// How long the histories are asked for after a loss, before what is missing is told as a gap. What
/// arrives meanwhile waits in the layer's backlog.
const PATIENCE: Duration = Duration::from_secs(1);

/// Between two attempts: the layer tells a loss as soon as it listens again, and may need a moment
/// until it can be asked.
const AGAIN: Duration = Duration::from_millis(25);

/// Hands over until the layer ends.
///
/// One task, so that a group's publications stay in order; it waits for room in a shard's inbox, and
/// shards never wait for sockets, and after a loss for the layer's histories.
pub async fn dispatch(
    mut inbox: Inbox,
    hub: Hub,
    layer: Layer,
    channel_layer: Option<ChannelLayer>,
) {
    let mut batch = Vec::with_capacity(TOGETHER);
    while inbox.recv_many(&mut batch, TOGETHER).await > 0 {
        for incoming in batch.drain(..) {
            match incoming {
                Incoming::Publication(publication) => hub.post(publication).await,
                Incoming::External(group, payload) => {
                    let heard = channel_layer
                        .as_ref()
                        .and_then(|channel_layer| channel_layer.hear(&group, &payload));
                    if let Some(publication) = heard {
                        hub.post(Arc::new(publication)).await;
                    }
                }
                Incoming::Control(control) => hub.control(control).await,
                Incoming::Loss(loss) => mend(loss, &hub, &layer).await,
            }
        }
        hub.wake();
    }
}

/// Delivers what histories have of the missing, and tells the rest.
async fn mend(loss: Loss, hub: &Hub, layer: &Layer) {
    let groups: Option<Arc<[GroupName]>> = match loss {
        Loss::All => None,
        Loss::Groups(groups) => Some(groups.into()),
        Loss::Possible(loss) => return notify_possible_loss(loss, hub).await,
    };
    let positions = hub.positions(groups.clone()).await;
    let deadline = Instant::now() + PATIENCE;
    let mut settled = HashSet::new();
    let asked: Vec<_> = positions.into_iter().map(|(group, at)| (group, Some(at))).collect();
    for batch in asked.chunks(BATCH) {
        settled.extend(catch_up(batch, hub, layer, deadline).await);
    }
    hub.notify_possible_gap(PossibleGap { groups, settled: Arc::new(settled) }).await;
}

/// Tells that publications may never have reached the layer: no history can mend that.
async fn notify_possible_loss(loss: PossibleLoss, hub: &Hub) {
    let groups = match loss {
        PossibleLoss::Groups(groups) => groups,
        PossibleLoss::Share { number, of } => hub.groups_where(|group| group.share(of) == number),
    };
    let settled = Arc::new(HashSet::new());
    hub.notify_possible_gap(PossibleGap { groups: Some(groups.into()), settled }).await;
}

/// The groups of which everything since their position could be delivered.
async fn catch_up(
    batch: &[(GroupName, Option<Position>)],
    hub: &Hub,
    layer: &Layer,
    deadline: Instant,
) -> Vec<GroupName> {
    let answers = loop {
        match layer.recover(batch).await {
            Ok(answers) => break answers,
            Err(error) if Instant::now() + AGAIN >= deadline => {
                tracing::warn!(%error, groups = batch.len(), "histories could not be asked");
                return Vec::new();
            }
            Err(_) => sleep(AGAIN).await,
        }
    };
    let mut whole = Vec::new();
    for ((group, _), answer) in batch.iter().zip(answers) {
        if answer.recovered == Some(true) {
            // A shard that has some of them already knows them by their positions.
            for publication in answer.replay {
                hub.deliver(publication).await;
            }
            whole.push(group.clone());
        }
    }
    whole
}
