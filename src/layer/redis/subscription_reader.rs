//! Reads the subscription without ever waiting, since fred drops messages that are not read in
//! time.
//!
//! It hands over to a backlog with two bounds, messages and bytes. A message that finds no room
//! there is lost, and a gap for its group alone takes its place.

use std::sync::Arc;

use bytes::Bytes;
use fred::types::Message as Received;
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::sync::mpsc::{self, error::TrySendError};
use tokio::sync::watch;

use super::backlog::{Backlogged, PendingGap};
use super::names::{Channel, Names};
use super::redis_health::RedisHealth;
use crate::byte_budget::ByteBudget;
use crate::group::GroupName;
use crate::layer::envelope::Announcement;

/// The task.
pub(super) struct SubscriptionReader {
    pub(super) messages: broadcast::Receiver<Received>,
    pub(super) names: Arc<Names>,
    pub(super) backlog: mpsc::Sender<Backlogged>,
    pub(super) budget: Arc<ByteBudget>,
    pub(super) redis_health: Arc<RedisHealth>,
    /// The number of the newest connection whose boundary is in the backlog.
    pub(super) boundaries: watch::Sender<u64>,
}

/// Losses for which the backlog had no room.
#[derive(Default)]
struct Unsent {
    /// Messages lost, before the boundary.
    gap: PendingGap,
    /// The boundary of the connection with this number. The gap that the boundary begins covers
    /// what is lost behind it.
    boundary: Option<u64>,
}

/// Recognizes external messages that the cluster sent itself: an announcement precedes each.
#[derive(Debug, Default)]
struct OwnMessages {
    /// The announcement that was the latest message.
    announced: Option<(GroupName, Announcement)>,
}

impl OwnMessages {
    /// Whether this is an external message that the cluster sent itself, or its announcement.
    ///
    /// Asked before a message can be lost for want of room: the external message without its
    /// announcement would be delivered a second time.
    fn contains(&mut self, channel: &Channel, bytes: &[u8]) -> bool {
        let announced = self.announced.take();
        match channel {
            Channel::Group(group) => {
                self.announced = Announcement::read(bytes).map(|next| (group.clone(), next));
                self.announced.is_some()
            }
            Channel::External(group) => {
                announced.is_some_and(|(of, next)| of == *group && next == Announcement::of(bytes))
            }
            Channel::User | Channel::Instance | Channel::Control | Channel::Boundary => false,
        }
    }
}

impl Unsent {
    fn is_empty(&self) -> bool {
        self.gap.is_empty() && self.boundary.is_none()
    }

    fn lose(&mut self, channel: Channel) {
        if self.boundary.is_none() {
            self.gap.add(channel);
        }
    }
}

impl SubscriptionReader {
    /// Reads until the client or the decoder has ended.
    pub(super) async fn run(mut self) {
        let mut unsent = Unsent::default();
        let mut own = OwnMessages::default();
        loop {
            // A boundary waits for room alone. With less than half of the bytes free the message
            // behind a gap would be lost as well, and each loss would be a gap in every member's
            // outbox.
            let may_send = unsent.boundary.is_some() || self.budget.is_half_free();
            tokio::select! {
                // Tried first, so that a gap keeps its place.
                biased;
                permit = self.backlog.reserve(), if !unsent.is_empty() && may_send => {
                    let Ok(permit) = permit else { return };
                    self.send(permit, &mut unsent);
                }
                () = self.budget.half_freed(), if !unsent.is_empty() => {}
                message = self.messages.recv() => match message {
                    Ok(message) => self.take(&message, &mut own, &mut unsent),
                    Err(RecvError::Lagged(count)) => {
                        self.redis_health.count_lost(count);
                        unsent.gap.add_unknown(count);
                    }
                    Err(RecvError::Closed) => return,
                },
            }
        }
    }

    fn send(&self, permit: mpsc::Permit<'_, Backlogged>, unsent: &mut Unsent) {
        if !unsent.gap.is_empty() {
            permit.send(Backlogged::Gap(std::mem::take(&mut unsent.gap)));
        } else if let Some(number) = unsent.boundary.take() {
            permit.send(Backlogged::Resubscribing);
            self.boundaries.send_replace(number);
        }
    }

    fn take(&self, message: &Received, own: &mut OwnMessages, unsent: &mut Unsent) {
        let (Some(channel), Some(bytes)) =
            (self.names.read(&message.channel), message.value.as_bytes())
        else {
            return;
        };
        if own.contains(&channel, bytes) {
            return;
        }
        if channel == Channel::Boundary {
            let number = std::str::from_utf8(bytes).ok().and_then(|text| text.parse().ok());
            // Anything else was published by another program.
            unsent.boundary = number.or(unsent.boundary);
            return;
        }
        if !unsent.is_empty() || !self.budget.try_take(bytes.len()) {
            return self.lose(channel, unsent);
        }
        let message = Backlogged::Message(channel, Bytes::copy_from_slice(bytes));
        // Without a decoder there is nothing to lose.
        if let Err(TrySendError::Full(Backlogged::Message(channel, bytes))) =
            self.backlog.try_send(message)
        {
            self.budget.give_back(bytes.len());
            self.lose(channel, unsent);
        }
    }

    fn lose(&self, channel: Channel, unsent: &mut Unsent) {
        self.redis_health.count_lost(1);
        unsent.lose(channel);
    }
}
