//! Groups with history: one script numbers, keeps and publishes, so no two publications have one
//! position, and none is published that is not kept.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::join_all;

use super::connect::Commands;
use super::names::Names;
use super::redis_health::RedisHealth;
use super::script::{NUMBERING, Script, millis, number};
use super::script_batch::ScriptBatch;
use crate::event::{Position, Publication, Recovery};
use crate::group::GroupName;
use crate::layer::LayerError;
use crate::layer::envelope::{self, Decoded, Message, Origin};
use crate::layer::history::{self, History, Retention, random_epoch};
use crate::telemetry::LogLimit;

/// The histories of one cluster.
pub(super) struct HistoryStore {
    history: History,
    names: Arc<Names>,
    commands: Commands,
    redis_health: Arc<RedisHealth>,
    commit: Script,
    publish_many: Script,
    recover: Script,
    unreadable_log: LogLimit,
}

impl HistoryStore {
    pub(super) fn new(
        history: History,
        names: Arc<Names>,
        commands: Commands,
        redis_health: Arc<RedisHealth>,
    ) -> Self {
        let commit = Script::new(&[NUMBERING, include_str!("commit.lua")]);
        let publish_many = Script::new(&[NUMBERING, include_str!("publish_many.lua")]);
        let recover = Script::new(&[NUMBERING, include_str!("recover.lua")]);
        let unreadable_log = LogLimit::default();
        Self {
            history,
            names,
            commands,
            redis_health,
            commit,
            publish_many,
            recover,
            unreadable_log,
        }
    }

    pub(super) fn history(&self) -> &History {
        &self.history
    }

    pub(super) fn of(&self, group: &GroupName) -> Option<Retention> {
        self.history.of(group)
    }

    fn keys(&self, group: &GroupName) -> Vec<String> {
        vec![self.names.generation(), self.names.numbering(group), self.names.log(group)]
    }

    /// Numbers, keeps and publishes the publication in `envelope`.
    pub(super) async fn commit(
        &self,
        group: &GroupName,
        kept: Retention,
        envelope: Vec<u8>,
    ) -> Result<Position, LayerError> {
        let arguments = vec![
            number(self.redis_health.generation()),
            number(u64::from(kept.size)),
            millis(kept.ttl),
            millis(kept.ttl + history::NUMBERING),
            Bytes::from(random_epoch()),
            Bytes::from(self.names.overflow_field(group)),
            Bytes::from(self.names.of_group(group)),
            Bytes::from(envelope),
        ];
        let answer: Vec<String> =
            self.commit.run(&self.commands, self.keys(group), arguments).await?;
        match answer.as_slice() {
            [epoch, offset] => position(epoch, offset).ok_or_else(unexpected),
            [] => Err(self.generation_changed()),
            _ => Err(unexpected()),
        }
    }

    /// Publishes a batch of groups with and without history, and calls `published` for each that
    /// was.
    pub(super) async fn commit_many(
        &self,
        batch: ScriptBatch<'_>,
        mut published: impl FnMut(Option<Position>),
    ) -> Result<(), LayerError> {
        let generation = number(self.redis_health.generation());
        let epoch = Bytes::from(random_epoch());
        let (keys, arguments, kept) = batch.command(self.names.generation(), generation, epoch);
        let answer: Vec<Bytes> = self.publish_many.run(&self.commands, keys, arguments).await?;
        let [cause, sent, positions @ ..] = answer.as_slice() else {
            return Err(if answer.is_empty() { self.generation_changed() } else { unexpected() });
        };
        let sent = text(sent).and_then(|sent| sent.parse().ok()).ok_or_else(unexpected)?;
        let mut positions = positions.chunks_exact(2).map(|pair| {
            let (epoch, offset) = text(&pair[0]).zip(text(&pair[1]))?;
            position(epoch, offset)
        });
        for kept in kept.into_iter().take(sent) {
            let position = kept.then(|| positions.next().flatten().ok_or_else(unexpected));
            published(position.transpose()?);
        }
        match text(cause) {
            Some("") => Ok(()),
            cause => Err(LayerError::Refused(cause.unwrap_or("no readable reason").to_owned())),
        }
    }

    /// The position of each group, and what was missed, or why that cannot be known: a failure
    /// affects only its group. Equal requests are sent once.
    pub(super) async fn recover(
        &self,
        asked: &[(GroupName, Option<Position>)],
    ) -> Vec<Result<Recovery, LayerError>> {
        let mut places = HashMap::new();
        let mut distinct = Vec::new();
        for question in asked {
            places.entry(question).or_insert_with(|| {
                distinct.push(question);
                distinct.len() - 1
            });
        }
        let answers = distinct.iter().map(|(group, since)| self.recover_one(group, since.as_ref()));
        let answers = join_all(answers).await;
        asked.iter().map(|question| answers[places[question]].clone()).collect()
    }

    async fn recover_one(
        &self,
        group: &GroupName,
        since: Option<&Position>,
    ) -> Result<Recovery, LayerError> {
        let Some(kept) = self.history.of(group) else {
            return Ok(Recovery::without_history(since));
        };
        let (epoch, offset) = since.map_or(("", 0), |since| (&*since.epoch, since.offset));
        let arguments = vec![
            number(self.redis_health.generation()),
            millis(kept.ttl),
            millis(kept.ttl + history::NUMBERING),
            Bytes::from(random_epoch()),
            Bytes::from(self.names.overflow_field(group)),
            Bytes::from(epoch.to_owned()),
            number(offset),
        ];
        let answer: Vec<Bytes> =
            self.recover.run(&self.commands, self.keys(group), arguments).await?;
        let [epoch, offset, recovered, entries @ ..] = answer.as_slice() else {
            return Err(if answer.is_empty() { self.generation_changed() } else { unexpected() });
        };
        let position =
            text(epoch).zip(text(offset)).and_then(|(epoch, offset)| position(epoch, offset));
        let position = position.ok_or_else(unexpected)?;
        let recovered = match recovered.as_ref() {
            b"" => None,
            found => Some(found == b"1"),
        };
        let first = position.offset.saturating_sub(entries.len() as u64 / 2) + 1;
        let replay = entries.chunks_exact(2).zip(first..).map(|(entry, offset)| {
            let position = Position { epoch: Arc::clone(&position.epoch), offset };
            read(group, entry, position)
        });
        if let Some(replay) = replay.collect() {
            return Ok(Recovery { position: Some(position), recovered, replay });
        }
        // An unreadable entry is lost: the join succeeds, with an incomplete history.
        self.redis_health.count_unreadable();
        if self.unreadable_log.allows() {
            tracing::warn!(%group, "malformed entry in a history; nothing is replayed");
        }
        Ok(Recovery { position: Some(position), recovered: Some(false), replay: Vec::new() })
    }

    /// Redis or its data was replaced. Nothing is committed until the next heartbeat has the new
    /// generation.
    fn generation_changed(&self) -> LayerError {
        self.redis_health.set_answering(false);
        LayerError::Unreachable("redis has another generation".to_owned())
    }
}

/// One entry of a log: how long ago it was accepted, by Redis' clock, and its envelope.
fn read(group: &GroupName, entry: &[Bytes], position: Position) -> Option<Arc<Publication>> {
    let [age, envelope] = entry else { return None };
    let age = Duration::from_millis(text(age)?.parse().ok()?);
    let now = Instant::now();
    let then = now.checked_sub(age).unwrap_or(now);
    // Decoded as of the moment at which it was stored, from which its ages count.
    match envelope::decode(Origin::Group(group), envelope.clone(), usize::MAX, then).ok()? {
        Decoded::From(_, Message::Publication(publication)) => {
            Some(Arc::new(Publication { position: Some(position), ..publication }))
        }
        _ => None,
    }
}

fn position(epoch: &str, offset: &str) -> Option<Position> {
    Some(Position { epoch: epoch.into(), offset: offset.parse().ok()? })
}

fn text(bytes: &Bytes) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}

fn unexpected() -> LayerError {
    LayerError::Unreachable("redis sent a reply of an unknown form".to_owned())
}
