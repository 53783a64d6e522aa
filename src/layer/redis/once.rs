//! Publishes under keys: one script looks for the mark of a key, publishes and marks.

use std::time::Duration;

use bytes::Bytes;

use super::history_store::{HistoryStore, position, text, unexpected};
use super::once_batch::OnceBatch;
use crate::event::PublicationId;
use crate::failpoint;
use crate::layer::history::random_epoch;
use crate::layer::{LayerError, OnceOutcome};

/// Values for each publication in the script's answer.
const VALUES: usize = 4;

impl HistoryStore {
    /// Publishes a batch; `done` is called with each outcome, in order. Fewer follow if the script
    /// stopped, whose error is then returned; or the id under which the next publication was sent
    /// before, and must be signed now.
    pub(super) async fn commit_once(
        &self,
        batch: OnceBatch<'_>,
        window: Duration,
        mut done: impl FnMut(OnceOutcome),
    ) -> Result<Option<PublicationId>, LayerError> {
        let generation = self.redis_health.generation().to_string();
        let (keys, arguments) = batch.command(generation, random_epoch(), window);
        let answer: Vec<Bytes> = self.once.run(&self.commands, keys, arguments).await?;
        failpoint::pass("after-once");
        let [cause, outcomes @ ..] = answer.as_slice() else {
            return Err(self.generation_changed());
        };
        if outcomes.len() < VALUES && text(cause) == Some("") {
            return Err(unexpected());
        }
        for values in outcomes.chunks_exact(VALUES) {
            if let [sign_anew, id, ..] = values
                && sign_anew.as_ref() == b"sign_anew"
            {
                return publication_id(id).map(Some).ok_or_else(unexpected);
            }
            done(outcome(values).ok_or_else(unexpected)?);
        }
        match text(cause) {
            Some("") => Ok(None),
            cause => Err(LayerError::Refused(cause.unwrap_or("no readable reason").to_owned())),
        }
    }
}

fn publication_id(bytes: &[u8]) -> Option<PublicationId> {
    bytes.try_into().ok().map(|bytes| PublicationId(u128::from_be_bytes(bytes)))
}

fn outcome(values: &[Bytes]) -> Option<OnceOutcome> {
    let [outcome, id, epoch, offset] = values else { return None };
    let sent = || {
        let id = publication_id(id)?;
        let position = match epoch.is_empty() {
            true => None,
            false => Some(position(text(epoch)?, text(offset)?)?),
        };
        Some((id, position))
    };
    match outcome.as_ref() {
        b"sent" => sent().map(|(id, position)| OnceOutcome::Sent { id, position }),
        b"earlier" => sent().map(|(id, position)| OnceOutcome::Earlier { id, position }),
        b"other" => Some(OnceOutcome::OtherContent),
        b"full" => Some(OnceOutcome::ScopeFull),
        _ => None,
    }
}
