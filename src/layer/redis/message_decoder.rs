//! Decodes the messages of the backlog and passes them to the coordinator, with gaps in their
//! place.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use tokio::sync::mpsc;

use super::backlog::{BACKLOG, Backlogged, MessageBacklog, PendingGap};
use super::command_stream::{CommandReplay, InboxClosed};
use super::names::{Channel, Names};
use super::position_check::PositionCheck;
use super::redis_health::RedisHealth;
use crate::event::{Control, Except, Publication, PublicationId, Stamp, Target};
use crate::layer::envelope::{
    CommandMark, Decoded, EnvelopeCodec, EnvelopeError, Found, Message, Origin,
};
use crate::layer::group_queues::{GroupQueues, Next};
use crate::layer::{Incoming, Loss};
use crate::telemetry::LogLimit;

/// The task.
pub(super) struct MessageDecoder {
    pub(super) backlog: MessageBacklog,
    pub(super) inbox: mpsc::Sender<Incoming>,
    pub(super) replay: CommandReplay,
    /// Largest bare event, bytes.
    pub(super) max_event_bytes: usize,
    /// Bytes that may be held while the subscription is renewed.
    pub(super) held_bytes: usize,
    pub(super) names: Arc<Names>,
    pub(super) codec: Arc<EnvelopeCodec>,
    pub(super) redis_health: Arc<RedisHealth>,
    pub(super) positions: PositionCheck,
    pub(super) unreadable_log: LogLimit,
}

/// What a message holds.
enum Arrival {
    Publication(Publication),
    Incoming(Incoming),
    Command(Control, Option<CommandMark>),
    /// A probe: every command up to this one has arrived, unless it was lost.
    NewestCommand(Stamp),
}

/// How a message is read: for the first time, or perhaps again.
type Decode =
    fn(&EnvelopeCodec, Found<'_>, Bytes, usize, Instant) -> Result<Decoded, EnvelopeError>;

/// Messages since [`Backlogged::Resubscribing`].
struct HeldMessages {
    /// In turn here as well, since a flood may be among them.
    queues: GroupQueues<Backlogged>,
    /// The place of the first command among them.
    command: Option<Stamp>,
}

impl MessageDecoder {
    /// Decodes until the coordinator has ended.
    pub(super) async fn run(mut self) {
        let mut held: Option<HeldMessages> = None;
        loop {
            let next = tokio::select! {
                passed = self.positions.answered(), if self.positions.is_waiting() => {
                    if let Err(InboxClosed) = self.pass_on(passed).await {
                        return;
                    }
                    continue;
                }
                next = self.backlog.next() => next,
            };
            let Some(entry) = next.map(entry_of) else { return };
            let handed_on = match (entry, &mut held) {
                (Backlogged::Message(channel, bytes), None) => self.decode(&channel, bytes).await,
                (Backlogged::Gap(gap), None) => self.report(gap).await,
                (Backlogged::Resubscribing, None) => {
                    held = Some(self.nothing_held());
                    Ok(())
                }
                (Backlogged::Message(channel, bytes), Some(held)) => {
                    held.command = held.command.or_else(|| self.place(&channel, &bytes));
                    let entry = Backlogged::Message(channel, bytes);
                    held.queues.push(entry.queue(), entry);
                    Ok(())
                }
                (gap @ Backlogged::Gap(_), Some(held)) => {
                    held.queues.push(None, gap);
                    Ok(())
                }
                // The next gap covers it.
                (Backlogged::Resubscribing, Some(_)) => Ok(()),
                (Backlogged::Resubscribed(newest), held) => {
                    let held = held.take().unwrap_or_else(|| self.nothing_held());
                    self.release(held, newest).await
                }
            };
            if let Err(InboxClosed) = handed_on {
                return;
            }
        }
    }

    async fn hand_on(&mut self, incoming: Incoming) -> Result<(), InboxClosed> {
        self.inbox.send(incoming).await.map_err(|_| InboxClosed)
    }

    async fn pass_on(&mut self, publications: Vec<Publication>) -> Result<(), InboxClosed> {
        for publication in publications {
            self.hand_on(Incoming::Publication(Arc::new(publication))).await?;
        }
        Ok(())
    }

    /// Waits for the messages whose positions are looked up: what concerns all groups comes behind
    /// them.
    async fn settle(&mut self) -> Result<(), InboxClosed> {
        while self.positions.is_waiting() {
            let passed = self.positions.answered().await;
            self.pass_on(passed).await?;
        }
        Ok(())
    }

    async fn hand_on_loss(&mut self, loss: Loss, count: u64) -> Result<(), InboxClosed> {
        self.settle().await?;
        self.positions.lost(&loss, count);
        self.hand_on(Incoming::Loss(loss)).await
    }

    async fn report(&mut self, gap: PendingGap) -> Result<(), InboxClosed> {
        self.redis_health.count_lost(gap.count());
        tracing::warn!(lost = gap.count(), "publications lost: the hub is behind");
        if gap.is_of_all() {
            // Their places are lost. Too early is better than behind what they forbid.
            self.replay.catch_up_to_the_end().await?;
        }
        let count = gap.count();
        self.hand_on_loss(gap.into_loss(), count).await
    }

    fn nothing_held(&self) -> HeldMessages {
        let queues = GroupQueues::new(BACKLOG, self.held_bytes);
        HeldMessages { queues: queues.weighed_by(self.backlog.member_counts()), command: None }
    }

    /// Hands on the commands that were lost with a subscription, then its gap: what a user missed
    /// is recovered from histories only if he may still see it. What was held follows.
    async fn release(&mut self, mut held: HeldMessages, newest: Stamp) -> Result<(), InboxClosed> {
        self.replay.resubscribed(newest, held.command).await?;
        self.hand_on_loss(Loss::All, 0).await?;
        while let Some(next) = held.queues.pop() {
            match entry_of(next) {
                Backlogged::Message(channel, bytes) => self.decode(&channel, bytes).await?,
                Backlogged::Gap(gap) => self.report(gap).await?,
                // Never held.
                Backlogged::Resubscribing | Backlogged::Resubscribed(_) => {}
            }
        }
        Ok(())
    }

    /// The place of a command.
    fn place(&self, channel: &Channel, bytes: &Bytes) -> Option<Stamp> {
        if *channel != Channel::Control {
            return None;
        }
        match self.read(channel, bytes.clone(), EnvelopeCodec::read) {
            Ok(Some(Arrival::Command(_, Some(mark)))) => mark.place,
            _ => None,
        }
    }

    async fn decode(&mut self, channel: &Channel, bytes: Bytes) -> Result<(), InboxClosed> {
        if *channel == Channel::Control {
            self.settle().await?;
        }
        if let Some(owed) = self.positions.take_owed() {
            self.hand_on(Incoming::Loss(owed)).await?;
        }
        match self.read(channel, bytes, EnvelopeCodec::receive) {
            Ok(Some(Arrival::Publication(publication))) => match self.positions.take(publication) {
                Some(checked) => self.hand_on(Incoming::Publication(Arc::new(checked))).await,
                None => Ok(()),
            },
            Ok(Some(Arrival::Incoming(incoming))) => self.hand_on(incoming).await,
            Ok(Some(Arrival::Command(control, mark))) => self.replay.receive(control, mark).await,
            Ok(Some(Arrival::NewestCommand(newest))) => self.replay.expect(newest).await,
            Ok(None) => Ok(()),
            Err(error) => {
                self.redis_health.count_unreadable();
                if self.unreadable_log.allows() {
                    tracing::warn!(?channel, %error, "malformed message on Redis discarded");
                }
                Ok(())
            }
        }
    }

    fn read(
        &self,
        channel: &Channel,
        bytes: Bytes,
        decode: Decode,
    ) -> Result<Option<Arrival>, EnvelopeError> {
        let origin = match channel {
            Channel::Group(group) => Origin::Group(group),
            Channel::External(group) => {
                let external = Incoming::External(group.clone(), bytes);
                return Ok(Some(Arrival::Incoming(external)));
            }
            Channel::User => Origin::User,
            Channel::Instance => Origin::Instance,
            Channel::Control => Origin::Control,
            // Handled by the reader.
            Channel::Boundary | Channel::Questions => return Ok(None),
        };
        let now = Instant::now();
        let found = self.names.found(origin);
        let decoded = decode(&self.codec, found, bytes, self.max_event_bytes, now)?;
        let incoming = match (decoded, origin) {
            (Decoded::Bare(event), Origin::Group(group)) => {
                Incoming::Publication(Arc::new(Publication {
                    id: PublicationId::random(),
                    target: Target::Group(group.clone()),
                    event,
                    except: Except::default(),
                    accepted: now,
                    deadline: None,
                    position: None,
                }))
            }
            (Decoded::Bare(_), _) => return Ok(None),
            (Decoded::From(_, Message::Publication(publication)), _) => {
                return Ok(Some(Arrival::Publication(publication)));
            }
            (Decoded::From(_, Message::Command(control, mark)), _) => {
                return Ok(Some(Arrival::Command(control, mark)));
            }
            (Decoded::From(_, Message::PossibleLoss(loss)), _) => {
                Incoming::Loss(Loss::Possible(loss))
            }
            (Decoded::From(instance, Message::Probe(number, newest)), _) => {
                if instance != self.codec.instance() {
                    return Ok(None);
                }
                self.redis_health.probe_returned(number);
                return Ok(newest.map(Arrival::NewestCommand));
            }
            // Handled by the reader.
            (
                Decoded::From(_, Message::Question(..) | Message::Answer(..) | Message::Lag(_)),
                _,
            ) => return Ok(None),
        };
        Ok(Some(Arrival::Incoming(incoming)))
    }
}

fn entry_of(next: Next<Backlogged>) -> Backlogged {
    match next {
        Next::Entry(entry) => entry,
        Next::Lost(queue, count) => Backlogged::Gap(PendingGap::of(queue, count)),
    }
}
