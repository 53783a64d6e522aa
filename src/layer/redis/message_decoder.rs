//! Decodes the messages of the backlog and passes them to the coordinator, with gaps in their
//! place.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use tokio::sync::mpsc;

use super::backlog::{BACKLOG, Backlogged, PendingGap};
use super::names::Channel;
use super::redis_health::RedisHealth;
use crate::byte_budget::ByteBudget;
use crate::event::{Except, InstanceId, Publication, PublicationId, Target};
use crate::layer::envelope::{self, Decoded, EnvelopeError, Message, Origin};
use crate::layer::{Incoming, Loss};
use crate::telemetry::LogLimit;

/// The task.
pub(super) struct MessageDecoder {
    pub(super) backlog: mpsc::Receiver<Backlogged>,
    pub(super) inbox: mpsc::Sender<Incoming>,
    pub(super) budget: Arc<ByteBudget>,
    /// Largest bare event, bytes.
    pub(super) max_event_bytes: usize,
    pub(super) instance: InstanceId,
    pub(super) redis_health: Arc<RedisHealth>,
    pub(super) unreadable_log: LogLimit,
}

/// The coordinator no longer reads the inbox.
struct InboxClosed;

impl MessageDecoder {
    /// Decodes until the reader or the coordinator has ended.
    pub(super) async fn run(mut self) {
        // Messages since Resubscribing. The gap that comes before them covers what finds no room
        // here.
        let mut held: Option<Vec<(Channel, Bytes)>> = None;
        while let Some(entry) = self.backlog.recv().await {
            let handed_on = match (entry, &mut held) {
                (Backlogged::Message(channel, bytes), None) => self.decode(&channel, bytes).await,
                (Backlogged::Gap(gap), None) => self.report(gap).await,
                (Backlogged::Resubscribing, None) => {
                    held = Some(Vec::new());
                    Ok(())
                }
                (Backlogged::Message(channel, bytes), Some(held)) => {
                    self.hold(channel, bytes, held);
                    Ok(())
                }
                // The next gap covers it.
                (Backlogged::Gap(_) | Backlogged::Resubscribing, Some(_)) => Ok(()),
                (Backlogged::Resubscribed, held) => {
                    self.release(held.take().unwrap_or_default()).await
                }
            };
            if let Err(InboxClosed) = handed_on {
                return;
            }
        }
    }

    async fn hand_on(&self, incoming: Incoming) -> Result<(), InboxClosed> {
        self.inbox.send(incoming).await.map_err(|_| InboxClosed)
    }

    async fn report(&self, gap: PendingGap) -> Result<(), InboxClosed> {
        tracing::warn!(lost = gap.count(), "publications lost: the hub is behind");
        self.hand_on(Incoming::Loss(gap.into_loss())).await
    }

    fn hold(&self, channel: Channel, bytes: Bytes, held: &mut Vec<(Channel, Bytes)>) {
        if held.len() < BACKLOG {
            held.push((channel, bytes));
            return;
        }
        self.budget.give_back(bytes.len());
        self.redis_health.count_lost(1);
    }

    /// Reports the gap of a lost subscription, then what was held for it.
    async fn release(&self, held: Vec<(Channel, Bytes)>) -> Result<(), InboxClosed> {
        self.hand_on(Incoming::Loss(Loss::All)).await?;
        for (channel, bytes) in held {
            self.decode(&channel, bytes).await?;
        }
        Ok(())
    }

    async fn decode(&self, channel: &Channel, bytes: Bytes) -> Result<(), InboxClosed> {
        self.budget.give_back(bytes.len());
        match self.read(channel, bytes) {
            Ok(Some(incoming)) => self.hand_on(incoming).await,
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

    fn read(&self, channel: &Channel, bytes: Bytes) -> Result<Option<Incoming>, EnvelopeError> {
        let origin = match channel {
            Channel::Group(group) => Origin::Group(group),
            Channel::External(group) => return Ok(Some(Incoming::External(group.clone(), bytes))),
            Channel::User => Origin::User,
            Channel::Instance => Origin::Instance,
            Channel::Control => Origin::Control,
            // Handled by the reader.
            Channel::Boundary => return Ok(None),
        };
        let now = Instant::now();
        let decoded = envelope::decode(origin, bytes, self.max_event_bytes, now)?;
        Ok(match (decoded, origin) {
            (Decoded::Bare(event), Origin::Group(group)) => {
                Some(Incoming::Publication(Arc::new(Publication {
                    id: PublicationId::random(),
                    target: Target::Group(group.clone()),
                    event,
                    except: Except::default(),
                    accepted: now,
                    deadline: None,
                    position: None,
                })))
            }
            (Decoded::Bare(_), _) => None,
            (Decoded::From(_, Message::Publication(publication)), _) => {
                Some(Incoming::Publication(Arc::new(publication)))
            }
            (Decoded::From(_, Message::Control(control)), _) => Some(Incoming::Control(control)),
            (Decoded::From(_, Message::PossibleLoss(loss)), _) => {
                Some(Incoming::Loss(Loss::Possible(loss)))
            }
            (Decoded::From(instance, Message::Probe(number)), _) => {
                if instance == self.instance {
                    self.redis_health.probe_returned(number);
                }
                None
            }
        })
    }
}
