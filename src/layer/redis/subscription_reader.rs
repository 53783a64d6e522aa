//! Reads the subscription as fast as it can, and never waits: what fred cannot hand over it overwrites.
//!
//! It hands over to a backlog with two bounds, messages and bytes. A message that finds no room there
//! is lost, and a gap for its group alone takes its place.

use std::sync::Arc;

use bytes::Bytes;
use fred::types::Message as Received;
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::sync::mpsc::{self, error::TrySendError};

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
            Channel::User | Channel::Instance | Channel::Control => false,
        }
    }
}

impl SubscriptionReader {
    /// Reads until the client or the decoder is gone.
    pub(super) async fn run(mut self) {
        let mut gap = PendingGap::default();
        let mut own = OwnMessages::default();
        loop {
            tokio::select! {
                // Room for the gap is looked for first, so that it stands at its place.
                biased;
                permit = self.backlog.reserve(), if !gap.is_empty() && self.budget.is_half_free() => {
                    let Ok(permit) = permit else { return };
                    permit.send(Backlogged::Gap(std::mem::take(&mut gap)));
                }
                // With less than half of it free the next message would be lost as well, and each
                // loss would be a gap in every member's outbox.
                () = self.budget.half_freed(), if !gap.is_empty() => {}
                message = self.messages.recv() => match message {
                    Ok(message) => self.take(&message, &mut own, &mut gap),
                    Err(RecvError::Lagged(count)) => {
                        self.redis_health.count_lost(count);
                        gap.add_unknown(count);
                    }
                    Err(RecvError::Closed) => return,
                },
            }
        }
    }

    fn take(&self, message: &Received, own: &mut OwnMessages, gap: &mut PendingGap) {
        let (Some(channel), Some(bytes)) =
            (self.names.read(&message.channel), message.value.as_bytes())
        else {
            return;
        };
        if own.contains(&channel, bytes) {
            return;
        }
        if !gap.is_empty() || !self.budget.try_take(bytes.len()) {
            return self.lose(channel, gap);
        }
        let message = Backlogged::Message(channel, Bytes::copy_from_slice(bytes));
        // Without a decoder nobody is left to miss anything.
        if let Err(TrySendError::Full(Backlogged::Message(channel, bytes))) =
            self.backlog.try_send(message)
        {
            self.budget.give_back(bytes.len());
            self.lose(channel, gap);
        }
    }

    fn lose(&self, channel: Channel, gap: &mut PendingGap) {
        self.redis_health.count_lost(1);
        gap.add(channel);
    }
}
