//! Step four of the walk: what the layer has, handed to the hub in the order in which it came.

use crate::hub::Hub;
use crate::layer::{Inbox, Incoming};

/// Hands over until the layer ends.
///
/// One task, so that a group's publications stay in order; it waits for nothing but room in a
/// shard's inbox, and shards never wait for sockets.
pub async fn dispatch(mut inbox: Inbox, hub: Hub) {
    while let Some(incoming) = inbox.recv().await {
        match incoming {
            Incoming::Publication(publication) => hub.deliver(publication).await,
            Incoming::Control(control) => hub.control(control).await,
        }
    }
}
