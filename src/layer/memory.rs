//! The layer within one process: nothing but channels, so a single instance needs nothing else.

use std::sync::{Arc, RwLock};

use dashmap::DashMap;
use tokio::sync::mpsc;

use super::{INCOMING, Inbox, Incoming, LayerError};
use crate::event::{Control, Position, Publication, Recovery, Target};
use crate::group::GroupName;

/// What the instances attached to it share. Several in one process act as one, which tests use.
#[derive(Debug, Default)]
pub struct Broker {
    instances: RwLock<Vec<mpsc::Sender<Incoming>>>,
    /// Which instances want a group, one bit each.
    interest: DashMap<GroupName, u64>,
}

/// One instance's hold on a [`Broker`].
#[derive(Debug, Clone)]
pub struct Memory {
    broker: Arc<Broker>,
    /// This instance's bit in [`Broker::interest`].
    index: u32,
}

impl Broker {
    /// Attaches one more instance.
    ///
    /// # Panics
    /// At the 65th: one process never holds so many.
    pub fn attach(self: &Arc<Self>) -> (Memory, Inbox) {
        let (sender, inbox) = mpsc::channel(INCOMING);
        let mut instances = self.instances.write().expect("no holder of this lock panics");
        let index = instances.len() as u32;
        assert!(index < u64::BITS, "at most 64 instances share a memory layer");
        instances.push(sender);
        (Memory { broker: Arc::clone(self), index }, inbox)
    }

    /// Senders of the instances in `wanted`, copied out so that no lock outlives the call.
    fn senders(&self, wanted: u64) -> Vec<mpsc::Sender<Incoming>> {
        let instances = self.instances.read().expect("no holder of this lock panics");
        let chosen = instances.iter().enumerate().filter(|(i, _)| wanted & (1 << i) != 0);
        chosen.map(|(_, sender)| sender.clone()).collect()
    }

    /// Gives `message` to all `wanted` instances or, if the future is dropped, to none.
    async fn send(&self, wanted: u64, message: Incoming) {
        let senders = self.senders(wanted);
        let mut permits = Vec::with_capacity(senders.len());
        for sender in &senders {
            // An instance that is gone wants nothing more.
            if let Ok(permit) = sender.reserve().await {
                permits.push(permit);
            }
        }
        for permit in permits {
            permit.send(message.clone());
        }
    }
}

impl Memory {
    pub(super) async fn publish(
        &self,
        publication: Publication,
    ) -> Result<Option<Position>, LayerError> {
        let wanted = match &publication.target {
            Target::Group(group) => self.broker.interest.get(group).map_or(0, |bits| *bits),
            Target::User(_) | Target::Connection(_) | Target::All => u64::MAX,
        };
        if wanted != 0 {
            self.broker.send(wanted, Incoming::Publication(Arc::new(publication))).await;
        }
        Ok(None)
    }

    pub(super) async fn control(&self, control: Control) -> Result<(), LayerError> {
        self.broker.send(u64::MAX, Incoming::Control(control)).await;
        Ok(())
    }

    pub(super) fn subscribe(&self, groups: &[GroupName]) {
        for group in groups {
            *self.broker.interest.entry(group.clone()).or_insert(0) |= 1 << self.index;
        }
    }

    pub(super) fn unsubscribe(&self, groups: &[GroupName]) {
        for group in groups {
            if let Some(mut bits) = self.broker.interest.get_mut(group) {
                *bits &= !(1 << self.index);
            }
            self.broker.interest.remove_if(group, |_, bits| *bits == 0);
        }
    }

    pub(super) fn recover(asked: &[(GroupName, Option<Position>)]) -> Vec<Recovery> {
        let answer = |(_, since): &(GroupName, Option<Position>)| Recovery {
            recovered: since.as_ref().map(|_| false),
            ..Recovery::default()
        };
        asked.iter().map(answer).collect()
    }
}
