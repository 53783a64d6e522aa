//! From the subscription to the relay: one task that only takes, one that reads and hands on.
//!
//! The first never waits for the second, since what fred cannot hand over it overwrites. Between them
//! is a backlog with two bounds, messages and bytes; what finds no room there is lost, and said so at
//! its place, for its group alone.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use fred::types::Message as Received;
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::sync::mpsc::{self, error::TrySendError};

use super::names::{Channel, Names};
use super::redis_health::RedisHealth;
use crate::byte_budget::ByteBudget;
use crate::event::{InstanceId, Publication, PublicationId};
use crate::group::GroupName;
use crate::layer::envelope::{self, Announcement, Decoded, Message};
use crate::layer::{Gap, Incoming};
use crate::telemetry::LogLimit;

/// Messages in the backlog at most.
pub(super) const BACKLOG: usize = 16_384;

/// Groups named in one gap; more than that is all.
const MAX_NAMED: usize = 1024;

/// What waits between the two tasks.
pub(super) enum Item {
    /// A message, copied out of the read buffer, which it would keep alive otherwise.
    Message(Channel, Bytes),
    /// Something was lost here.
    Gap(PendingGap),
    /// The subscription is being made anew: what comes from here on comes after the gap that is told
    /// when it is complete. Told earlier, the gap would make clients look elsewhere for what they
    /// missed while something could still be missed.
    Hold,
    /// The subscription is complete: the gap, then what was held.
    Release,
}

/// What was lost at one place.
#[derive(Debug, Default)]
pub(super) struct PendingGap {
    all: bool,
    groups: BTreeSet<GroupName>,
    /// Messages lost, as far as they could be counted.
    count: u64,
}

/// What the message just taken says of the next.
#[derive(Debug, Default)]
struct Echo(Option<(GroupName, Announcement)>);

/// The first task.
pub(super) struct SubscriptionReader {
    pub(super) messages: broadcast::Receiver<Received>,
    pub(super) names: Arc<Names>,
    pub(super) backlog: mpsc::Sender<Item>,
    pub(super) budget: Arc<ByteBudget>,
    pub(super) redis_health: Arc<RedisHealth>,
}

/// The second task.
pub(super) struct Reader {
    pub(super) backlog: mpsc::Receiver<Item>,
    pub(super) inbox: mpsc::Sender<Incoming>,
    pub(super) budget: Arc<ByteBudget>,
    pub(super) max_event_bytes: usize,
    pub(super) instance: InstanceId,
    pub(super) redis_health: Arc<RedisHealth>,
    pub(super) unreadable_log: LogLimit,
}

impl PendingGap {
    fn is_empty(&self) -> bool {
        !self.all && self.groups.is_empty()
    }

    fn add(&mut self, channel: Channel) {
        self.count += 1;
        match channel {
            Channel::Group(group) | Channel::External(group) if self.groups.len() < MAX_NAMED => {
                self.groups.insert(group);
            }
            // Users and connections have no gaps of their own: all are told.
            Channel::Group(_) | Channel::External(_) | Channel::Other => self.all = true,
        }
    }

    fn into_gap(self) -> Gap {
        if self.all { Gap::All } else { Gap::Groups(self.groups.into_iter().collect()) }
    }
}

impl Echo {
    /// Whether this is a foreign message that the cluster sent itself, or the word of it.
    ///
    /// Asked before anything is lost for want of room: the message without the word would be delivered
    /// a second time.
    fn is_own(&mut self, channel: &Channel, bytes: &[u8]) -> bool {
        let announced = self.0.take();
        match channel {
            Channel::Group(group) => {
                self.0 = Announcement::read(bytes).map(|next| (group.clone(), next));
                self.0.is_some()
            }
            Channel::External(group) => {
                announced.is_some_and(|(of, next)| of == *group && next == Announcement::of(bytes))
            }
            Channel::Other => false,
        }
    }
}

impl SubscriptionReader {
    /// Takes until the client or the reader is gone.
    pub(super) async fn run(mut self) {
        let mut losses = PendingGap::default();
        let mut echo = Echo::default();
        loop {
            tokio::select! {
                // Room for the news of a loss is looked for first, so that it stands at its place. With
                // less than half of the bytes free the next message would be the next loss, and each
                // of them a gap in every member's outbox.
                biased;
                permit = self.backlog.reserve(), if !losses.is_empty() && self.budget.is_half_free() => {
                    let Ok(permit) = permit else { return };
                    permit.send(Item::Gap(std::mem::take(&mut losses)));
                }
                () = self.budget.half_freed(), if !losses.is_empty() => {}
                message = self.messages.recv() => match message {
                    Ok(message) => self.take(&message, &mut echo, &mut losses),
                    Err(RecvError::Lagged(count)) => {
                        losses.all = true;
                        losses.count += count;
                        self.redis_health.count_lost(count);
                    }
                    Err(RecvError::Closed) => return,
                },
            }
        }
    }

    fn take(&self, message: &Received, echo: &mut Echo, losses: &mut PendingGap) {
        let (Some(channel), Some(bytes)) =
            (self.names.read(&message.channel), message.value.as_bytes())
        else {
            return;
        };
        if echo.is_own(&channel, bytes) {
            return;
        }
        if !losses.is_empty() || !self.budget.try_take(bytes.len()) {
            return self.lose(channel, losses);
        }
        let item = Item::Message(channel, Bytes::copy_from_slice(bytes));
        // Without a reader there is nobody to lose anything.
        if let Err(TrySendError::Full(Item::Message(channel, bytes))) = self.backlog.try_send(item)
        {
            self.budget.give_back(bytes.len());
            self.lose(channel, losses);
        }
    }

    fn lose(&self, channel: Channel, losses: &mut PendingGap) {
        self.redis_health.count_lost(1);
        losses.add(channel);
    }
}

impl Reader {
    /// Reads until the relay or the taker is gone.
    pub(super) async fn run(mut self) {
        // What came since a Hold; the gap that ends it covers what finds no room.
        let mut held: Option<Vec<(Channel, Bytes)>> = None;
        while let Some(item) = self.backlog.recv().await {
            let open = match (item, &mut held) {
                (Item::Hold, None) => {
                    held = Some(Vec::new());
                    true
                }
                (Item::Hold, Some(_)) => true,
                (Item::Message(channel, bytes), Some(held)) if held.len() < BACKLOG => {
                    held.push((channel, bytes));
                    true
                }
                (Item::Message(_, bytes), Some(_)) => {
                    self.budget.give_back(bytes.len());
                    self.redis_health.count_lost(1);
                    true
                }
                (Item::Message(channel, bytes), None) => self.hand_on(&channel, bytes).await,
                (Item::Gap(losses), None) => self.tell(losses).await,
                // Covered by the one to come.
                (Item::Gap(_), Some(_)) => true,
                (Item::Release, held) => self.release(held.take().unwrap_or_default()).await,
            };
            if !open {
                return;
            }
        }
    }

    /// Tells what the taker lost. Whether the relay is there.
    async fn tell(&self, losses: PendingGap) -> bool {
        tracing::warn!(lost = losses.count, "publications lost: the hub is behind");
        self.inbox.send(Incoming::Gap(losses.into_gap())).await.is_ok()
    }

    /// Tells the gap of a lost subscription, then hands on what was held for it.
    async fn release(&mut self, held: Vec<(Channel, Bytes)>) -> bool {
        if self.inbox.send(Incoming::Gap(Gap::All)).await.is_err() {
            return false;
        }
        for (channel, bytes) in held {
            if !self.hand_on(&channel, bytes).await {
                return false;
            }
        }
        true
    }

    async fn hand_on(&mut self, channel: &Channel, bytes: Bytes) -> bool {
        self.budget.give_back(bytes.len());
        match self.read(channel, bytes) {
            Ok(Some(incoming)) => self.inbox.send(incoming).await.is_ok(),
            Ok(None) => true,
            Err(error) => {
                self.redis_health.count_unreadable();
                if self.unreadable_log.allows() {
                    tracing::warn!(?channel, %error, "a message on Redis is not readable");
                }
                true
            }
        }
    }

    fn read(
        &self,
        channel: &Channel,
        bytes: Bytes,
    ) -> Result<Option<Incoming>, envelope::EnvelopeError> {
        let group = match channel {
            Channel::Group(group) => Some(group),
            Channel::External(group) => return Ok(Some(Incoming::External(group.clone(), bytes))),
            Channel::Other => None,
        };
        let now = Instant::now();
        let decoded = envelope::decode(group, bytes, self.max_event_bytes, now)?;
        Ok(match decoded {
            Decoded::Bare(event) => group.map(|group| {
                Incoming::Publication(Arc::new(Publication {
                    id: PublicationId::random(),
                    target: crate::event::Target::Group(group.clone()),
                    event,
                    except: Default::default(),
                    accepted: now,
                    deadline: None,
                    position: None,
                }))
            }),
            Decoded::From(_, Message::Publication(publication)) => {
                Some(Incoming::Publication(Arc::new(publication)))
            }
            Decoded::From(_, Message::Control(control)) => Some(Incoming::Control(control)),
            Decoded::From(_, Message::PossibleLoss(unheard)) => {
                Some(Incoming::Gap(Gap::PossibleLoss(unheard)))
            }
            Decoded::From(origin, Message::Probe(number)) => {
                if origin == self.instance {
                    self.redis_health.probe_returned(number);
                }
                None
            }
        })
    }
}
