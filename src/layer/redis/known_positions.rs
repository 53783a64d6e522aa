//! The newest position of each subscribed group, against which those of messages are checked.
//!
//! Any program that may publish on a group's channel can claim a position there. A member that
//! believed one far ahead would take everything up to it for old, so it would be mute.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::event::{Position, PublicationId};
use crate::group::GroupName;

/// Least time between two questions about one group.
const ASK_INTERVAL: Duration = Duration::from_secs(1);

/// Groups asked about at once, with those in doubt.
const MAX_ASKED: usize = 384;

/// What is known of the groups with history that are subscribed.
#[derive(Default)]
pub(super) struct KnownPositions(Mutex<State>);

#[derive(Default)]
struct State {
    groups: HashMap<GroupName, KnownGroup>,
    /// Groups of which messages may have been lost, so that their positions may skip.
    doubtful: Vec<GroupName>,
    /// The generation of Redis' data in which they were asked about.
    generation: u64,
    /// Groups of which a message was discarded that may have been genuine.
    owed: Vec<GroupName>,
    /// When they may be reported.
    owed_from: Option<Instant>,
}

#[derive(Default)]
struct KnownGroup {
    /// The newest position; `None` = unknown.
    newest: Option<(Position, Option<PublicationId>)>,
    /// The offset up to which Redis has confirmed it.
    confirmed: u64,
    /// Messages that were lost here since, so that the next may skip as many.
    skips: u64,
    /// The offset up to which members believe to be in this epoch, because of messages that Redis
    /// does not know.
    misled_to: u64,
    asked: Option<Instant>,
    is_owed: bool,
}

/// What is to be done with a message that has a position.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Claim {
    /// It continues what is known.
    Follows,
    /// It is passed on without its position, which members believe to have passed.
    WithoutPosition,
    /// Redis has to be asked.
    Unknown,
    /// Redis knows no such position, or was asked too recently.
    Discarded,
}

impl KnownPositions {
    /// Groups with history whose messages arrive from now on.
    pub(super) fn subscribed<'a>(&self, groups: impl Iterator<Item = &'a GroupName>) {
        let mut state = self.0.lock();
        for group in groups {
            if !state.groups.contains_key(group) {
                state.groups.insert(group.clone(), KnownGroup::default());
            }
        }
    }

    pub(super) fn unsubscribed(&self, groups: &[GroupName]) {
        let mut state = self.0.lock();
        for group in groups {
            state.groups.remove(group);
        }
        // Memory of a crowd is released.
        if state.groups.is_empty() {
            *state = State::default();
        }
    }

    /// So many messages of each of these groups were lost.
    pub(super) fn skip(&self, groups: &[GroupName], count: u64) {
        let mut state = self.0.lock();
        for group in groups {
            if let Some(known) = state.groups.get_mut(group) {
                known.skips = known.skips.saturating_add(count);
            }
        }
    }

    /// Messages of any group may have been lost.
    pub(super) fn doubt_all(&self) {
        self.0.lock().doubt_all();
    }

    /// Redis has answered with the position of a group.
    pub(super) fn answered(&self, group: &GroupName, position: &Position) {
        let mut state = self.0.lock();
        let Some(known) = state.groups.get_mut(group) else { return };
        match &known.newest {
            Some((newest, _)) if newest.epoch == position.epoch => {
                if newest.offset > position.offset {
                    // Messages that Redis does not know of, or that were sent since it answered.
                    return;
                }
            }
            // The first were sent since it answered.
            Some((newest, _)) if position.is_before_first_of(newest) => return,
            _ => known.misled_to = 0,
        }
        known.newest = Some((position.clone(), None));
        (known.confirmed, known.skips) = (position.offset, 0);
    }

    /// Judges the position of a message.
    pub(super) fn judge(&self, group: &GroupName, at: &Position, id: PublicationId) -> Claim {
        let mut state = self.0.lock();
        let Some(known) = state.groups.get_mut(group) else { return Claim::Follows };
        let Some((newest, newest_id)) = &mut known.newest else { return Claim::Unknown };
        let next = newest.offset.saturating_add(1);
        if newest.epoch != at.epoch {
            if !newest.is_before_first_of(at) || at.offset != 1 {
                return Claim::Unknown;
            }
            *newest = at.clone();
            (*newest_id, known.confirmed, known.skips) = (Some(id), 0, 0);
            return Claim::Follows;
        }
        if at.offset > next.saturating_add(known.skips).max(known.confirmed) {
            return Claim::Unknown;
        }
        if at.offset >= next {
            known.skips = known.skips.saturating_sub(at.offset - next);
            (newest.offset, *newest_id) = (at.offset, Some(id));
        } else if at.offset > known.confirmed && *newest_id != Some(id) {
            // Another message had this position.
            return Claim::Unknown;
        }
        match at.offset <= known.misled_to {
            true => Claim::WithoutPosition,
            false => Claim::Follows,
        }
    }

    /// Notes that Redis is asked about this group now, and returns it with others that are in
    /// doubt. Empty if it was asked too recently.
    pub(super) fn ask(&self, group: &GroupName, generation: u64, now: Instant) -> Vec<GroupName> {
        let state = &mut *self.0.lock();
        if std::mem::replace(&mut state.generation, generation) != generation {
            // All epochs are over.
            state.doubt_all();
        }
        let Some(known) = state.groups.get_mut(group) else { return Vec::new() };
        if known.asked.is_some_and(|asked| now < asked + ASK_INTERVAL) {
            return Vec::new();
        }
        known.asked = Some(now);
        let mut asked = vec![group.clone()];
        while asked.len() < MAX_ASKED
            && let Some(other) = state.doubtful.pop()
        {
            if other != *group && state.groups.contains_key(&other) {
                asked.push(other);
            }
        }
        asked
    }

    /// Whether a position is beyond what is known of its epoch.
    pub(super) fn is_ahead(&self, group: &GroupName, at: &Position) -> bool {
        let state = self.0.lock();
        let known = state.groups.get(group).and_then(|known| known.newest.as_ref());
        known.is_some_and(|(newest, _)| newest.epoch == at.epoch && newest.offset < at.offset)
    }

    /// Judges the position of a message by the position that Redis has just answered.
    pub(super) fn judge_by(&self, group: &GroupName, at: &Position, answer: &Position) -> Claim {
        let mut state = self.0.lock();
        let Some(known) = state.groups.get_mut(group) else { return Claim::Follows };
        if at.epoch != answer.epoch || at.offset > answer.offset {
            return Claim::Discarded;
        }
        match &known.newest {
            Some((newest, _)) if newest.epoch == at.epoch && newest.offset > answer.offset => {
                known.misled_to = known.misled_to.max(newest.offset);
            }
            _ => {}
        }
        known.newest = Some((answer.clone(), None));
        (known.confirmed, known.skips) = (answer.offset, 0);
        match at.offset <= known.misled_to {
            true => Claim::WithoutPosition,
            false => Claim::Follows,
        }
    }

    /// A message of this group was discarded that may have been genuine.
    pub(super) fn owe(&self, group: &GroupName, now: Instant) {
        let state = &mut *self.0.lock();
        if let Some(known) = state.groups.get_mut(group)
            && !std::mem::replace(&mut known.is_owed, true)
        {
            state.owed.push(group.clone());
            state.owed_from.get_or_insert(now + ASK_INTERVAL);
        }
    }

    /// The groups whose histories are to be read, since messages of them were discarded.
    pub(super) fn take_owed(&self, now: Instant) -> Option<Vec<GroupName>> {
        let state = &mut *self.0.lock();
        state.owed_from.take_if(|from| *from <= now)?;
        let owed = std::mem::take(&mut state.owed);
        for group in &owed {
            if let Some(known) = state.groups.get_mut(group) {
                known.is_owed = false;
            }
        }
        Some(owed)
    }
}

impl State {
    fn doubt_all(&mut self) {
        self.doubtful = self.groups.keys().cloned().collect();
        self.groups.values_mut().for_each(|known| known.asked = None);
    }
}
