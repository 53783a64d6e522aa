//! Reads the subscription without ever waiting, since fred drops messages that are not read in
//! time.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use fred::types::Message as Received;
use tokio::sync::broadcast::{self, error::RecvError};

use super::backlog::{Backlogged, MessageBacklog, PendingGap};
use super::boundary::Boundary;
use super::names::{Channel, Names};
use super::peer_lags::PeerLags;
use super::redis_health::RedisHealth;
use crate::group::GroupName;
use crate::layer::envelope::{Announcement, Decoded, EnvelopeCodec, Message, Origin};
use crate::layer::questions::{PeerQuestion, Questions};

/// The task.
pub(super) struct SubscriptionReader {
    pub(super) messages: broadcast::Receiver<Received>,
    pub(super) names: Arc<Names>,
    pub(super) codec: Arc<EnvelopeCodec>,
    pub(super) backlog: MessageBacklog,
    pub(super) redis_health: Arc<RedisHealth>,
    pub(super) questions: Arc<Questions>,
    pub(super) peer_lags: Arc<PeerLags>,
    pub(super) boundary: Arc<Boundary>,
}

/// Recognizes external messages that the cluster sent itself: an announcement precedes each.
#[derive(Debug, Default)]
struct OwnMessages {
    /// The announcement that was the latest message.
    announced: Option<(GroupName, Announcement)>,
}

impl SubscriptionReader {
    /// Whether this is an external message that the cluster sent itself, or its announcement.
    ///
    /// Asked before a message can be lost for want of room: the external message without its
    /// announcement would be delivered a second time.
    fn is_own(&self, channel: &Channel, bytes: &[u8], own: &mut OwnMessages) -> bool {
        let announced = own.announced.take();
        match channel {
            Channel::Group(group) => {
                own.announced = Announcement::read(bytes).map(|next| (group.clone(), next));
                own.announced.is_some()
            }
            Channel::External(group) => announced.is_some_and(|(of, next)| {
                let channel = self.names.found(Origin::Group(group)).channel;
                of == *group && self.codec.is_announced(&next, channel, bytes)
            }),
            Channel::User
            | Channel::Instance
            | Channel::Control
            | Channel::Questions
            | Channel::Boundary => false,
        }
    }

    /// Reads until the client has ended.
    pub(super) async fn run(mut self) {
        let mut own = OwnMessages::default();
        loop {
            match self.messages.recv().await {
                Ok(message) => self.take(&message, &mut own),
                Err(RecvError::Lagged(count)) => {
                    self.push(Backlogged::Gap(PendingGap::of_unknown(count)));
                }
                Err(RecvError::Closed) => return,
            }
        }
    }

    fn take(&self, message: &Received, own: &mut OwnMessages) {
        let (Some(channel), Some(bytes)) =
            (self.names.read(&message.channel), message.value.as_bytes())
        else {
            return;
        };
        if self.is_own(&channel, bytes, own) {
            return;
        }
        if channel == Channel::Boundary {
            if let Some(mark) = self.boundary.take(bytes) {
                self.push(Backlogged::Resubscribing);
                self.boundary.stands(mark);
            }
            return;
        }
        let bytes = Bytes::copy_from_slice(bytes);
        if channel == Channel::Questions {
            return self.take_question(bytes);
        }
        if channel == Channel::Instance && self.note_probe_or_answer(&bytes) {
            return;
        }
        self.push(Backlogged::Message(channel, bytes));
    }

    /// Takes note of a probe before anything in front of it is delivered: only a connection on
    /// which nothing arrives is of no use, not one that brings too much. Returns whether it is an
    /// answer to a question instead, which needs no place in the backlog.
    fn note_probe_or_answer(&self, bytes: &Bytes) -> bool {
        let found = self.names.found(Origin::Instance);
        match self.codec.read(found, bytes.clone(), 0, Instant::now()) {
            Ok(Decoded::From(instance, Message::Probe(number, _))) => {
                if instance == self.codec.instance() {
                    self.redis_health.probe_read(number);
                }
                false
            }
            Ok(Decoded::From(instance, Message::Answer(number, body))) => {
                self.questions.answered(instance, number, body);
                true
            }
            _ => false,
        }
    }

    /// Hands on a question of another instance, and takes its report of what waits there. Neither
    /// waits in the backlog: they matter most when that is long.
    fn take_question(&self, bytes: Bytes) {
        let found = self.names.found(Origin::Questions);
        match self.codec.read(found, bytes, 0, Instant::now()) {
            Ok(Decoded::From(from, Message::Question(number, body)))
                if from != self.codec.instance() =>
            {
                self.questions.asked(PeerQuestion { from, number, body });
            }
            Ok(Decoded::From(from, Message::Lag(report))) if from != self.codec.instance() => {
                self.peer_lags.report(from, report);
            }
            Ok(_) => {}
            Err(_) => self.redis_health.count_unreadable(),
        }
    }

    fn push(&self, entry: Backlogged) {
        self.backlog.push(entry.queue(), entry);
    }
}
