//! Publishes the sends of browsers: in order for each connection, in parallel across connections.

use std::sync::Arc;

use tokio::sync::mpsc;

use crate::event::{Except, Target};
use crate::frame::Frame;
use crate::hub::{Answer, Hub, RequestKind, Send};
use crate::protocol::{Code, Refusal, outbound};
use crate::publish::{DedupeKey, PublishError, PublishRequest, Publisher, Scope};

/// A connection always has the same worker, so its sends stay in order, and one slow publication
/// does not delay those of all others.
const WORKERS: usize = 4;

/// Sends that may wait for one worker before connections stop being read.
const WAITING: usize = 256;

/// The workers; they end with it.
pub(super) struct SendWorkers(Vec<mpsc::Sender<Box<Send>>>);

impl SendWorkers {
    pub(super) fn new(hub: &Hub, publisher: &Arc<Publisher>) -> Self {
        let workers = (0..WORKERS).map(|_| {
            let (sender, receiver) = mpsc::channel(WAITING);
            tokio::spawn(work(receiver, hub.clone(), Arc::clone(publisher)));
            sender
        });
        Self(workers.collect())
    }

    /// Serves until the hub ends.
    pub(super) async fn serve(&self, mut sends: mpsc::Receiver<Box<Send>>) {
        while let Some(send) = sends.recv().await {
            let worker = &self.0[(send.to.serial % WORKERS as u64) as usize];
            // A worker ends only with its sender.
            let _ = worker.send(send).await;
        }
    }
}

async fn work(mut sends: mpsc::Receiver<Box<Send>>, hub: Hub, publisher: Arc<Publisher>) {
    while let Some(send) = sends.recv().await {
        publish(*send, &hub, &publisher).await;
    }
}

async fn publish(send: Send, hub: &Hub, publisher: &Publisher) {
    let Send { to, shard, sub, id, group, event, echo, key } = send;
    let mut request = PublishRequest::new(event);
    if !echo {
        request.except = Except { connections: vec![to], users: Vec::new() };
    }
    let frame = match key.map(|text| DedupeKey::new(Scope::User(&sub), &text)).transpose() {
        Ok(key) => {
            request.key = key;
            match publisher.publish(Target::Group(group), request).await {
                Ok(receipt) => outbound::sent(id, receipt.id, receipt.position.as_ref()),
                Err(error) => refusal_frame(id, code_of(&error), &error),
            }
        }
        Err(error) => refusal_frame(id, Code::BadRequest, &error),
    };
    hub.answer(shard, Answer { to, kind: RequestKind::Send, frame: Some(frame) }).await;
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
