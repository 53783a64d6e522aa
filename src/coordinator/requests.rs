//! Serves what the hub wants done elsewhere: joins in batches, sends in order, calls in lanes.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};

use super::Settings;
use super::calls::Lanes;
use super::confirm::Confirmations;
use super::membership::Membership;
use crate::backend::BackEnd;
use crate::channels::ChannelLayer;
use crate::event::{Except, Target};
use crate::frame::Frame;
use crate::hub::{Hub, Request, Send};
use crate::layer::Layer;
use crate::protocol::{Code, Refusal, outbound};
use crate::publish::{DedupeKey, PublishError, PublishRequest, Publisher, Scope};
use crate::shutdown::{Phase, Shutdown};
use crate::telemetry::Metrics;

/// Requests taken at once: a wave of joins becomes few questions to the layer.
const BATCH: usize = 256;

/// Workers that publish for browsers. A connection always has the same one, so its sends stay in
/// order, while one slow publication does not hold up everybody's.
const WORKERS: usize = 4;

/// Requests that may wait for one worker before reading from browsers pauses.
const WAITING: usize = 256;

/// Between two looks for groups whose linger is over.
const TIDY: Duration = Duration::from_secs(1);

/// The one reader of the hub's requests.
pub struct Coordinator {
    membership: Membership,
    workers: Vec<mpsc::Sender<Send>>,
    calls: Lanes,
    confirmations: Confirmations,
    shutdown: Shutdown,
}

/// Whom the coordinator asks.
pub struct Collaborators {
    /// For joins.
    pub layer: Layer,
    /// For joins, where senders of other formats are to find the groups.
    pub channel_layer: Option<ChannelLayer>,
    /// For sends.
    pub publisher: Arc<Publisher>,
    /// For calls, and for who a browser is.
    pub backend: BackEnd,
}

impl Coordinator {
    /// A coordinator that serves `hub`; its workers end with it.
    pub fn new(
        settings: &Settings,
        hub: Hub,
        collaborators: Collaborators,
        metrics: Arc<Metrics>,
        shutdown: Shutdown,
    ) -> Self {
        let Collaborators { layer, channel_layer, publisher, backend } = collaborators;
        let workers = (0..WORKERS).map(|_| {
            let (sender, receiver) = mpsc::channel(WAITING);
            tokio::spawn(work(receiver, hub.clone(), Arc::clone(&publisher)));
            sender
        });
        let workers = workers.collect();
        let calls = Lanes::new(backend.calls, channel_layer.clone(), hub.clone(), metrics);
        let confirmations = Confirmations::new(backend.hook, channel_layer.clone(), hub.clone());
        let membership = Membership::new(hub, layer, channel_layer, settings.linger);
        Self { membership, workers, calls, confirmations, shutdown }
    }

    /// Serves until the hub ends.
    pub async fn serve(mut self, mut requests: mpsc::Receiver<Request>) {
        let mut tidy = interval(TIDY);
        tidy.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            tokio::select! {
                taken = requests.recv_many(&mut batch, BATCH) => {
                    if taken == 0 {
                        return;
                    }
                    self.take(batch.drain(..)).await;
                }
                _ = tidy.tick() => self.tidy().await,
            }
        }
    }

    /// Joins are gathered up to the next request of another kind, which must not overtake them: who
    /// joins a group and then sends to it expects to hear itself.
    async fn take(&mut self, batch: impl Iterator<Item = Request>) {
        let mut joins = Vec::new();
        for request in batch {
            match request {
                Request::Join(join) => joins.push(join),
                Request::Release { shard, groups } => {
                    self.membership.join(std::mem::take(&mut joins)).await;
                    self.membership.release(shard, groups);
                    if self.shutdown.phase() != Phase::Running {
                        self.membership.depart().await;
                    }
                }
                Request::Send(send) => {
                    self.membership.join(std::mem::take(&mut joins)).await;
                    self.hand_on(*send).await;
                }
                Request::Confirm(confirm) => self.confirmations.take(confirm).await,
                Request::Call(call) => {
                    self.membership.join(std::mem::take(&mut joins)).await;
                    self.calls.take(*call).await;
                }
            }
        }
        self.membership.join(joins).await;
    }

    async fn tidy(&mut self) {
        match self.shutdown.phase() {
            Phase::Running => self.membership.tidy().await,
            Phase::Draining | Phase::Closed => self.membership.depart().await,
        }
    }

    async fn hand_on(&self, send: Send) {
        let worker = &self.workers[(send.to.serial % WORKERS as u64) as usize];
        // A worker ends only with the coordinator.
        let _ = worker.send(send).await;
    }
}

async fn work(mut sends: mpsc::Receiver<Send>, hub: Hub, publisher: Arc<Publisher>) {
    while let Some(send) = sends.recv().await {
        publish(send, &hub, &publisher).await;
    }
}

async fn publish(send: Send, hub: &Hub, publisher: &Publisher) {
    let Send { to, shard, sub, id, group, event, echo, key } = send;
    let mut draft = PublishRequest::new(event);
    if !echo {
        draft.except = Except { connections: vec![to], users: Vec::new() };
    }
    let frame = match key.map(|text| DedupeKey::new(Scope::User(&sub), &text)).transpose() {
        Ok(key) => {
            draft.key = key;
            match publisher.publish(Target::Group(group), draft).await {
                Ok(accepted) => outbound::sent(id, accepted.id, accepted.position.as_ref()),
                Err(error) => refusal_frame(id, code_of(&error), &error),
            }
        }
        Err(error) => refusal_frame(id, Code::BadRequest, &error),
    };
    hub.answer(shard, to, Some(frame)).await;
}

fn refusal_frame(id: u64, code: Code, error: &impl std::error::Error) -> Frame {
    outbound::error(Some(id), &Refusal::new(code, error.to_string()))
}

fn code_of(error: &PublishError) -> Code {
    match error {
        PublishError::TooLarge { .. } => Code::TooLarge,
        PublishError::KeyReused(_) => Code::DuplicateKey,
        PublishError::Busy(_) | PublishError::Layer(_) => Code::Unavailable,
    }
}
