//! Positions and replays of many groups, by few scripts.
//!
//! A script for each group filled the queue of commands when all clients of an instance came back
//! at once, and refused most of their joins while Redis idled.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream;

use super::history_store::{HistoryStore, position, text, unexpected};
use super::history_tables::add_history;
use super::script::number;
use crate::event::{Position, Recovery};
use crate::group::GroupName;
use crate::layer::LayerError;
use crate::layer::history::Retention;
use crate::lua_table::{LuaTable, ScriptKeys};

/// Groups in one script, which occupies Redis for less than 3 ms.
const MAX_GROUPS: usize = 384;

/// Scripts in flight for one caller. Other commands wait behind them for some 10 ms at most; with
/// 20 ms to Redis, 200,000 groups take three seconds.
const MAX_IN_FLIGHT: usize = 4;

/// Weight of the replays after which a script answers no further group: about bytes.
const MAX_WEIGHT: u64 = 256 * 1024;

/// A group with history, and the position last seen there.
struct Question<'a> {
    group: &'a GroupName,
    kept: Retention,
    since: Option<&'a Position>,
}

/// The answer for one group.
type GroupAnswer = Result<Recovery, LayerError>;

impl HistoryStore {
    /// The position of each group, and what was missed, or why that cannot be known: a failure
    /// affects only its group. Equal requests are sent once.
    pub(super) async fn recover(
        &self,
        asked: &[(GroupName, Option<Position>)],
    ) -> Vec<GroupAnswer> {
        let mut places = HashMap::new();
        let mut questions = Vec::new();
        for request @ (group, since) in asked {
            let Some(kept) = self.history.of(group) else { continue };
            places.entry(request).or_insert_with(|| {
                questions.push(Question { group, kept, since: since.as_ref() });
                questions.len() - 1
            });
        }
        // Not `chunks`: of its items' lifetime the compiler cannot tell that the future is `Send`.
        let chunks = (0..questions.len()).step_by(MAX_GROUPS).map(|start| {
            let end = questions.len().min(start + MAX_GROUPS);
            self.recover_chunk(&questions[start..end])
        });
        let mut chunks = stream::iter(chunks).buffered(MAX_IN_FLIGHT);
        let mut answers = Vec::with_capacity(questions.len());
        while let Some(of_chunk) = chunks.next().await {
            answers.extend(of_chunk);
        }
        let answer_of = |request: &(GroupName, Option<Position>)| match places.get(request) {
            Some(place) => answers[*place].clone(),
            None => Ok(Recovery::without_history(request.1.as_ref())),
        };
        asked.iter().map(answer_of).collect()
    }

    /// The answers for one script's groups; as many scripts as it takes if they have much to
    /// replay.
    async fn recover_chunk(&self, mut rest: &[Question<'_>]) -> Vec<GroupAnswer> {
        let mut answers = Vec::with_capacity(rest.len());
        while !rest.is_empty() {
            match self.recover_some(rest).await {
                Ok(some) => {
                    rest = &rest[some.len()..];
                    answers.extend(some);
                }
                Err(error) => {
                    answers.extend(rest.iter().map(|_| Err(error.clone())));
                    break;
                }
            }
        }
        answers
    }

    /// The answers for the first of these groups, at least one.
    async fn recover_some(
        &self,
        questions: &[Question<'_>],
    ) -> Result<Vec<GroupAnswer>, LayerError> {
        let mut keys = ScriptKeys::new(vec![self.names.generation()]);
        let mut arguments = Vec::with_capacity(3 + questions.len());
        arguments.extend([
            number(self.redis_health.generation()),
            Bytes::from_static(if self.holds_groups { b"1" } else { b"0" }),
            number(MAX_WEIGHT),
        ]);
        for Question { group, kept, since } in questions {
            let table = LuaTable::new().number("held", keys.place(self.names.held(group)));
            let table = match since {
                Some(since) => {
                    table.text("epoch", &*since.epoch).text("offset", since.offset.to_string())
                }
                None => table,
            };
            arguments.push(add_history(table, &mut keys, &self.names, group, *kept).pack());
        }
        let keys = keys.into_vec();
        let answers: Vec<Vec<Bytes>> = self.recover.run(&self.commands, keys, arguments).await?;
        match answers.len() {
            0 => Err(self.generation_changed()),
            count if count > questions.len() => Err(unexpected()),
            _ => {
                let pairs = questions.iter().zip(answers);
                Ok(pairs.map(|(question, answer)| self.read_one(question, &answer)).collect())
            }
        }
    }

    fn read_one(&self, question: &Question<'_>, answer: &[Bytes]) -> GroupAnswer {
        let group = question.group;
        let (epoch, offset, recovered, entries) = match answer {
            [epoch, offset, recovered, entries @ ..] => (epoch, offset, recovered, entries),
            [error] => {
                let words = String::from_utf8_lossy(error).into_owned();
                return Err(LayerError::Refused(words));
            }
            _ => return Err(unexpected()),
        };
        let position =
            text(epoch).zip(text(offset)).and_then(|(epoch, offset)| position(epoch, offset));
        let position = position.ok_or_else(unexpected)?;
        self.known.answered(group, &position);
        let recovered = match recovered.as_ref() {
            b"" => None,
            found => Some(found == b"1"),
        };
        let first = position.offset.saturating_sub(entries.len() as u64 / 2) + 1;
        let replay = entries.chunks_exact(2).zip(first..).map(|(entry, offset)| {
            let position = Position { epoch: Arc::clone(&position.epoch), offset };
            self.read(group, entry, position)
        });
        let Some(replay): Option<Vec<_>> = replay.collect() else {
            return Ok(self.unreadable(group, position));
        };
        Ok(match (recovered, question.since) {
            (Some(true), Some(since)) => Recovery::complete(position, since, replay),
            _ => Recovery { position: Some(position), recovered, ..Recovery::default() },
        })
    }

    fn unreadable(&self, group: &GroupName, position: Position) -> Recovery {
        // An unreadable entry is lost: the join succeeds, with an incomplete history.
        self.redis_health.count_unreadable();
        if self.unreadable_log.allows() {
            tracing::warn!(%group, "malformed entry in a history; nothing is replayed");
        }
        Recovery::incomplete(position)
    }
}
