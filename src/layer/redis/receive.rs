//! From the subscription to the relay: one task that only takes, one that reads and hands on.
//!
//! The first never waits for the second, since what fred cannot hand over it overwrites. Between them
//! is a backlog with two bounds, messages and bytes; what finds no room there is lost, and said so at
//! its place, for its group alone.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use fred::types::Message as Received;
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::sync::mpsc::{self, error::TrySendError};

use super::channels::{Channel, Channels};
use super::vitals::Vitals;
use crate::event::{InstanceId, Publication, PublicationId};
use crate::group::GroupName;
use crate::layer::envelope::{self, Decoded, Message};
use crate::layer::{Gap, Incoming, random_id};

/// Messages in the backlog at most.
pub(super) const BACKLOG: usize = 16_384;

/// Groups named in one gap; more than that is all.
const MAX_NAMED: usize = 1024;

/// Between two log lines about messages that cannot be read.
const LOG_EVERY: Duration = Duration::from_secs(1);

/// What waits between the two tasks.
pub(super) enum Item {
    /// A message, copied out of the read buffer, which it would keep alive otherwise.
    Message(Channel, Bytes),
    /// Something was lost here.
    Gap(Losses),
    /// The subscription is being made anew: what comes from here on comes after the gap that is told
    /// when it is complete. Told earlier, the gap would make clients look elsewhere for what they
    /// missed while something could still be missed.
    Hold,
    /// The subscription is complete: the gap, then what was held.
    Release,
}

/// What was lost at one place.
#[derive(Debug, Default)]
pub(super) struct Losses {
    all: bool,
    groups: BTreeSet<GroupName>,
    /// Messages lost, as far as they could be counted.
    count: u64,
}

/// The first task.
pub(super) struct Taker {
    pub(super) messages: broadcast::Receiver<Received>,
    pub(super) channels: Arc<Channels>,
    pub(super) backlog: mpsc::Sender<Item>,
    /// Bytes in the backlog.
    pub(super) bytes: Arc<AtomicUsize>,
    pub(super) max_bytes: usize,
    pub(super) vitals: Arc<Vitals>,
}

/// The second task.
pub(super) struct Reader {
    pub(super) backlog: mpsc::Receiver<Item>,
    pub(super) inbox: mpsc::Sender<Incoming>,
    pub(super) bytes: Arc<AtomicUsize>,
    pub(super) max_event_bytes: usize,
    pub(super) instance: InstanceId,
    pub(super) vitals: Arc<Vitals>,
    /// When an unreadable message was last logged.
    pub(super) logged: Option<Instant>,
}

impl Losses {
    fn is_empty(&self) -> bool {
        !self.all && self.groups.is_empty()
    }

    fn add(&mut self, channel: Channel) {
        self.count += 1;
        match channel {
            Channel::Group(group) if self.groups.len() < MAX_NAMED => {
                self.groups.insert(group);
            }
            // Users and connections have no gaps of their own: all are told.
            Channel::Group(_) | Channel::Other => self.all = true,
        }
    }

    fn into_gap(self) -> Gap {
        if self.all { Gap::All } else { Gap::Groups(self.groups.into_iter().collect()) }
    }
}

impl Taker {
    /// Takes until the client or the reader is gone.
    pub(super) async fn run(mut self) {
        let mut losses = Losses::default();
        loop {
            tokio::select! {
                // Room for the news of a loss is looked for first, so that it stands at its place.
                biased;
                permit = self.backlog.reserve(), if !losses.is_empty() => {
                    let Ok(permit) = permit else { return };
                    permit.send(Item::Gap(std::mem::take(&mut losses)));
                }
                message = self.messages.recv() => match message {
                    Ok(message) => self.take(&message, &mut losses),
                    Err(RecvError::Lagged(count)) => {
                        losses.all = true;
                        losses.count += count;
                        self.vitals.count_lost(count);
                    }
                    Err(RecvError::Closed) => return,
                },
            }
        }
    }

    fn take(&self, message: &Received, losses: &mut Losses) {
        let (Some(channel), Some(bytes)) =
            (self.channels.read(&message.channel), message.value.as_bytes())
        else {
            return;
        };
        let waiting = self.bytes.fetch_add(bytes.len(), Ordering::Relaxed);
        if waiting > self.max_bytes || !losses.is_empty() {
            return self.lose(channel, bytes.len(), losses);
        }
        let item = Item::Message(channel, Bytes::copy_from_slice(bytes));
        match self.backlog.try_send(item) {
            Ok(()) => {}
            Err(TrySendError::Full(Item::Message(channel, bytes))) => {
                self.lose(channel, bytes.len(), losses);
            }
            Err(_) => {}
        }
    }

    fn lose(&self, channel: Channel, bytes: usize, losses: &mut Losses) {
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.vitals.count_lost(1);
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
                    self.bytes.fetch_sub(bytes.len(), Ordering::Relaxed);
                    self.vitals.count_lost(1);
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
    async fn tell(&self, losses: Losses) -> bool {
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
        self.bytes.fetch_sub(bytes.len(), Ordering::Relaxed);
        match self.read(channel, bytes) {
            Ok(Some(incoming)) => self.inbox.send(incoming).await.is_ok(),
            Ok(None) => true,
            Err(error) => {
                self.vitals.count_unreadable();
                if self.logged.is_none_or(|at| at.elapsed() >= LOG_EVERY) {
                    self.logged = Some(Instant::now());
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
            Channel::Other => None,
        };
        let now = Instant::now();
        let decoded = envelope::decode(group, bytes, self.max_event_bytes, now)?;
        Ok(match decoded {
            Decoded::Bare(event) => group.map(|group| {
                Incoming::Publication(Arc::new(Publication {
                    id: PublicationId(random_id()),
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
            Decoded::From(origin, Message::Probe(number)) => {
                if origin == self.instance {
                    self.vitals.probe_returned(number);
                }
                None
            }
        })
    }
}
