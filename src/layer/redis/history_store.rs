//! Groups with history: one script numbers, keeps and publishes, so no two publications have one
//! position, and none is published that is not kept.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::join_all;

use super::connect::Commands;
use super::history_tables::add_history;
use super::known_positions::KnownPositions;
use super::names::Names;
use super::redis_health::RedisHealth;
use super::script::{NUMBERING, PARKING, Script, number};
use super::script_batch::ScriptBatch;
use crate::event::{Position, Publication};
use crate::group::GroupName;
use crate::layer::LayerError;
use crate::layer::envelope::{Decoded, EnvelopeCodec, Message, Origin};
use crate::layer::history::{History, Retention, random_epoch};
use crate::lua_table::{LuaTable, ScriptKeys};
use crate::telemetry::LogLimit;

/// The histories of one cluster.
pub(super) struct HistoryStore {
    pub(super) history: History,
    pub(super) names: Arc<Names>,
    pub(super) codec: Arc<EnvelopeCodec>,
    pub(super) commands: Commands,
    pub(super) redis_health: Arc<RedisHealth>,
    /// Whether groups are registered here, so that it is known since when senders find them.
    pub(super) holds_groups: bool,
    commit: Script,
    publish_many: Script,
    pub(super) once: Script,
    pub(super) recover: Script,
    pub(super) unreadable_log: LogLimit,
    pub(super) known: KnownPositions,
}

impl HistoryStore {
    pub(super) fn new(
        history: History,
        names: Arc<Names>,
        codec: Arc<EnvelopeCodec>,
        commands: Commands,
        redis_health: Arc<RedisHealth>,
        holds_groups: bool,
    ) -> Self {
        let commit = Script::new(&[NUMBERING, include_str!("commit.lua")]);
        let publish_many = Script::new(&[NUMBERING, include_str!("publish_many.lua")]);
        let once = Script::new(&[NUMBERING, PARKING, include_str!("once.lua")]);
        let recover = Script::new(&[NUMBERING, include_str!("recover.lua")]);
        let unreadable_log = LogLimit::default();
        Self {
            history,
            names,
            codec,
            commands,
            redis_health,
            holds_groups,
            commit,
            publish_many,
            once,
            recover,
            unreadable_log,
            known: KnownPositions::default(),
        }
    }

    /// Has Redis load the scripts, so that a wave of calls on a new connection does not find them
    /// unknown. Without the right to, the first call of each sends its text.
    pub(super) async fn load_scripts(&self) {
        let scripts = [&self.commit, &self.publish_many, &self.once, &self.recover];
        join_all(scripts.map(|script| script.load(&self.commands))).await;
    }

    pub(super) fn history(&self) -> &History {
        &self.history
    }

    pub(super) fn of(&self, group: &GroupName) -> Option<Retention> {
        self.history.of(group)
    }

    /// Numbers, keeps and publishes the publication in `envelope`.
    pub(super) async fn commit(
        &self,
        group: &GroupName,
        kept: Retention,
        channel: String,
        envelope: Vec<u8>,
    ) -> Result<Position, LayerError> {
        let mut keys = ScriptKeys::new(vec![self.names.generation()]);
        let publication = LuaTable::new().text("channel", channel).text("envelope", envelope);
        let publication = add_history(publication, &mut keys, &self.names, group, kept);
        let arguments =
            vec![number(self.redis_health.generation()), random_epoch().into(), publication.pack()];
        let answer: Vec<String> =
            self.commit.run(&self.commands, keys.into_vec(), arguments).await?;
        match answer.as_slice() {
            [epoch, offset] => position(epoch, offset).ok_or_else(unexpected),
            [] => Err(self.generation_changed()),
            _ => Err(unexpected()),
        }
    }

    /// Publishes a batch of groups with and without history, and calls `published` for each that
    /// was. Returns how many were, if others are parked for the group of the next one, which must
    /// be parked behind them.
    pub(super) async fn commit_many(
        &self,
        batch: ScriptBatch<'_>,
        mut published: impl FnMut(Option<Position>),
    ) -> Result<Option<usize>, LayerError> {
        let generation = self.redis_health.generation().to_string();
        let (keys, arguments, kept) = batch.command(generation, random_epoch());
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
            Some("") => Ok(None),
            Some("PARKED") => Ok(Some(sent)),
            cause => Err(LayerError::Refused(cause.unwrap_or("no readable reason").to_owned())),
        }
    }

    /// Redis or its data was replaced. Nothing is committed until the next heartbeat has the new
    /// generation.
    pub(super) fn generation_changed(&self) -> LayerError {
        self.redis_health.set_silent();
        LayerError::Unreachable("redis has another generation".to_owned())
    }

    /// One entry of a log: how long ago it was accepted, by Redis' clock, and its envelope.
    pub(super) fn read(
        &self,
        group: &GroupName,
        entry: &[Bytes],
        position: Position,
    ) -> Option<Arc<Publication>> {
        let [age, envelope] = entry else { return None };
        let age = Duration::from_millis(text(age)?.parse().ok()?);
        let now = Instant::now();
        let then = now.checked_sub(age).unwrap_or(now);
        let found = self.names.found(Origin::Group(group));
        // Decoded as of the moment at which it was stored, from which its ages count.
        match self.codec.read(found, envelope.clone(), usize::MAX, then).ok()? {
            Decoded::From(_, Message::Publication(publication)) => {
                Some(Arc::new(Publication { position: Some(position), ..publication }))
            }
            _ => None,
        }
    }
}

pub(super) fn position(epoch: &str, offset: &str) -> Option<Position> {
    Some(Position { epoch: epoch.into(), offset: offset.parse().ok()? })
}

pub(super) fn text(bytes: &Bytes) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}

pub(super) fn unexpected() -> LayerError {
    LayerError::Unreachable("redis sent a reply of an unknown form".to_owned())
}
