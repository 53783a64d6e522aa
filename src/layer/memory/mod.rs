//! The layer within one process, for a single instance.

mod ring;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use dashmap::DashMap;
use parking_lot::{Mutex, MutexGuard, RwLock};
use tokio::sync::mpsc;

use super::history::{History, Retention};
use super::{INCOMING, Inbox, Incoming, LayerError};
use crate::event::{Control, Position, Publication, Recovery, Target};
use crate::group::GroupName;
use ring::Ring;

/// What the attached instances share. Tests attach several in one process.
#[derive(Debug, Default)]
pub struct Broker {
    instances: RwLock<Vec<mpsc::Sender<Incoming>>>,
    /// The instances subscribed to a group, one bit each.
    interest: DashMap<GroupName, u64>,
    history: History,
    rings: Mutex<HashMap<GroupName, Ring>>,
}

/// One instance's handle to a [`Broker`].
#[derive(Debug, Clone)]
pub struct Memory {
    broker: Arc<Broker>,
    /// This instance's bit in [`Broker::interest`].
    index: u32,
}

/// Room for one message with each of several instances.
type Permits = Vec<mpsc::OwnedPermit<Incoming>>;

/// New histories between two searches for expired ones.
const SWEEP: usize = 1024;

impl Broker {
    /// A broker that keeps `history`.
    pub fn with_history(history: History) -> Self {
        Self { history, ..Self::default() }
    }

    /// Attaches one more instance.
    ///
    /// # Panics
    /// At the 65th: one process never holds so many.
    pub fn attach(self: &Arc<Self>) -> (Memory, Inbox) {
        let (sender, inbox) = mpsc::channel(INCOMING);
        let mut instances = self.instances.write();
        let index = instances.len() as u32;
        assert!(index < u64::BITS, "at most 64 instances share a memory layer");
        instances.push(sender);
        (Memory { broker: Arc::clone(self), index }, inbox)
    }

    /// Senders of the instances in `wanted`, copied out so that no lock outlives the call.
    fn senders(&self, wanted: u64) -> Vec<mpsc::Sender<Incoming>> {
        let instances = self.instances.read();
        let chosen = instances.iter().enumerate().filter(|(i, _)| wanted & (1 << i) != 0);
        chosen.map(|(_, sender)| sender.clone()).collect()
    }

    /// Room with all `wanted` instances; given back if the future is dropped.
    async fn reserve(&self, wanted: u64) -> Permits {
        let mut permits = Permits::new();
        for sender in self.senders(wanted) {
            // An instance that has ended receives nothing more.
            if let Ok(permit) = sender.reserve_owned().await {
                permits.push(permit);
            }
        }
        permits
    }

    fn wanted(&self, group: &GroupName) -> u64 {
        self.interest.get(group).map_or(0, |bits| *bits)
    }

    fn rings(&self) -> MutexGuard<'_, HashMap<GroupName, Ring>> {
        self.rings.lock()
    }

    /// Numbers and sends under one lock: every instance receives a group's publications in the
    /// order of their offsets, and after reading a position receives all that follow it.
    async fn publish_kept(
        &self,
        group: GroupName,
        publication: Publication,
        kept: Retention,
    ) -> Position {
        let mut wanted = self.wanted(&group);
        loop {
            let permits = self.reserve(wanted).await;
            let mut rings = self.rings();
            // An instance may have subscribed, and read the group's position, while this waited.
            let now_wanted = self.wanted(&group);
            if now_wanted & !wanted != 0 {
                wanted = now_wanted;
                continue;
            }
            let now = Instant::now();
            let publication = ring(&mut rings, group, kept, now).append(publication, now);
            for permit in permits {
                permit.send(Incoming::Publication(Arc::clone(&publication)));
            }
            return publication.position.clone().expect("a history numbers what it keeps");
        }
    }
}

/// The history of `group`, created if there is none. Regularly removes expired ones.
fn ring(
    rings: &mut HashMap<GroupName, Ring>,
    group: GroupName,
    kept: Retention,
    now: Instant,
) -> &mut Ring {
    if rings.len() % SWEEP == SWEEP - 1 && !rings.contains_key(&group) {
        rings.retain(|_, ring| !ring.is_over(now));
    }
    rings.entry(group).or_insert_with(|| Ring::new(kept, now))
}

fn send(permits: Permits, message: &Incoming) {
    for permit in permits {
        permit.send(message.clone());
    }
}

impl Memory {
    pub(super) async fn publish(
        &self,
        publication: Publication,
    ) -> Result<Option<Position>, LayerError> {
        let wanted = match &publication.target {
            Target::Group(group) => {
                if let Some(kept) = self.broker.history.of(group) {
                    let group = group.clone();
                    return Ok(Some(self.broker.publish_kept(group, publication, kept).await));
                }
                self.broker.wanted(group)
            }
            Target::User(_) | Target::Connection(_) | Target::All => u64::MAX,
        };
        if wanted != 0 {
            let permits = self.broker.reserve(wanted).await;
            send(permits, &Incoming::Publication(Arc::new(publication)));
        }
        Ok(None)
    }

    pub(super) async fn control(&self, control: Control) -> Result<(), LayerError> {
        // Nothing is lost or late here, so no command needs a stamp.
        send(self.broker.reserve(u64::MAX).await, &Incoming::Control(control, None));
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

    pub(super) fn recover(&self, asked: &[(GroupName, Option<Position>)]) -> Vec<Recovery> {
        let now = Instant::now();
        let answer = |(group, since): &(GroupName, Option<Position>)| {
            let Some(kept) = self.broker.history.of(group) else {
                return Recovery::without_history(since.as_ref());
            };
            let mut rings = self.broker.rings();
            ring(&mut rings, group.clone(), kept, now).recover(since.as_ref(), now)
        };
        asked.iter().map(answer).collect()
    }
}
