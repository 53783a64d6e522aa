//! Delivers the states of tasks to the members of their groups on this instance.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::mpsc;

use crate::celery::TaskUpdate;
use crate::event::{Publication, PublicationId, Target};
use crate::hub::Hub;

/// Delivers until the watcher ends. It bypasses the layer: every instance watches the tasks of its
/// own connections, so a state sent through the layer would arrive once for each of them.
pub(crate) async fn deliver_task_states(hub: Hub, mut updates: mpsc::Receiver<TaskUpdate>) {
    while let Some(TaskUpdate { group, to, event }) = updates.recv().await {
        let publication = Arc::new(Publication {
            id: PublicationId::random(),
            target: Target::Group(group),
            event,
            except: Default::default(),
            accepted: Instant::now(),
            deadline: None,
            position: None,
        });
        match to {
            None => hub.deliver(publication).await,
            Some((shard, member)) => hub.deliver_to_member(shard, member, publication).await,
        }
    }
}
