//! Repairs losses from the histories, beside delivery: what follows in a group that is being
//! repaired is held back, other groups do not wait.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream, SelectAll};
use tokio::time::{Instant, sleep, timeout_at};

use crate::event::{Control, Position, Recovery, Target};
use crate::group::GroupName;
use crate::layer::{Incoming, Layer, LayerError};

/// How long histories may take to answer after a loss. After that, what is missing becomes a gap.
/// 200,000 groups take some two seconds.
const DEADLINE: Duration = Duration::from_secs(3);

/// Pause between two attempts. The layer reports a loss as soon as it has resubscribed, perhaps
/// before its command connection is back.
const RETRY_INTERVAL: Duration = Duration::from_millis(25);

/// Groups recovered at once.
const MAX_GROUPS: usize = 256;

/// Recoveries in flight; each is one script or more.
const MAX_IN_FLIGHT: usize = 4;

/// Bytes held back in all groups. A group whose next event does not fit is not repaired.
const MAX_HELD_BYTES: usize = 8 * 1024 * 1024;

/// The groups that are being repaired.
pub(super) struct Mending {
    layer: Layer,
    groups: HashMap<GroupName, GroupRepair>,
    bytes: usize,
    /// Counts the times that something was lost.
    round: u64,
    answers: SelectAll<BoxStream<'static, Vec<HistoryAnswer>>>,
}

struct GroupRepair {
    /// Answers of earlier rounds are outdated.
    round: u64,
    held: VecDeque<Incoming>,
    /// Events that may be held: as many as its history keeps. If more come, what is missing may
    /// have left the history.
    capacity: usize,
}

/// What the history of a group says.
struct HistoryAnswer {
    round: u64,
    group: GroupName,
    recovery: Option<Recovery>,
}

/// A group that is no longer held back.
pub(super) struct Released {
    pub(super) group: GroupName,
    /// What its history has and comes before everything else; `None` = it is incomplete.
    pub(super) recovery: Option<Recovery>,
    pub(super) held: VecDeque<Incoming>,
}

/// Where a message goes.
pub(super) enum Way {
    Held,
    /// On, as nothing holds it back.
    On(Incoming),
    /// On, after its group is released.
    OnAfter(Released, Incoming),
}

impl Mending {
    pub(super) fn new(layer: Layer) -> Self {
        let (groups, answers) = (HashMap::new(), SelectAll::new());
        Self { layer, groups, bytes: 0, round: 0, answers }
    }

    pub(super) fn is_idle(&self) -> bool {
        self.groups.is_empty()
    }

    /// The groups that are being repaired.
    pub(super) fn groups(&self) -> impl Iterator<Item = &GroupName> {
        self.groups.keys()
    }

    /// Asks for what these groups have missed since their positions. One that is being repaired
    /// already is asked about again; what it holds comes behind the answer, and shards drop what
    /// they have.
    pub(super) fn begin(&mut self, positions: HashMap<GroupName, Position>) {
        self.round += 1;
        let round = self.round;
        for group in positions.keys() {
            let capacity = self.layer.retention(group).map_or(0, |kept| kept.size as usize);
            let new = || GroupRepair { round, held: VecDeque::new(), capacity };
            self.groups.entry(group.clone()).or_insert_with(new).round = round;
        }
        let asked: Vec<_> = positions.into_iter().map(|(group, at)| (group, Some(at))).collect();
        let chunks: Vec<_> = asked.chunks(MAX_GROUPS).map(<[_]>::to_vec).collect();
        let (layer, deadline) = (self.layer.clone(), Instant::now() + DEADLINE);
        let asking = move |chunk| answers_of(round, chunk, layer.clone(), deadline);
        self.answers.push(stream::iter(chunks).map(asking).buffered(MAX_IN_FLIGHT).boxed());
    }

    /// The next groups that are complete, or have been asked about in vain. Waits for ever while
    /// there are none; nothing is lost when the future is dropped.
    pub(super) async fn next(&mut self) -> Vec<Released> {
        let Some(answers) = self.answers.next().await else {
            return std::future::pending().await;
        };
        let is_of_round = |answer: &HistoryAnswer| {
            self.groups.get(&answer.group).is_some_and(|group| group.round == answer.round)
        };
        let answers: Vec<_> = answers.into_iter().filter(is_of_round).collect();
        let released =
            answers.into_iter().filter_map(|HistoryAnswer { group, recovery, .. }| {
                Some(Released { recovery, ..self.release(&group)? })
            });
        released.collect()
    }

    /// Stops repairing a group.
    pub(super) fn release(&mut self, group: &GroupName) -> Option<Released> {
        let (group, GroupRepair { held, .. }) = self.groups.remove_entry(group)?;
        self.bytes -= held.iter().map(bytes_of).sum::<usize>();
        Some(Released { group, recovery: None, held })
    }

    /// Holds a message back if its group is being repaired and there is room.
    pub(super) fn hold(&mut self, incoming: Incoming) -> Way {
        if self.groups.is_empty() {
            return Way::On(incoming);
        }
        let (group, is_command) = match &incoming {
            Incoming::Publication(publication) => match &publication.target {
                Target::Group(group) => (group, false),
                Target::User(_) | Target::Connection(_) | Target::All => {
                    return Way::On(incoming);
                }
            },
            Incoming::External(group, _) => (group, false),
            // It must neither wait nor come behind what the history has: that may be newer, and
            // not for who leaves.
            Incoming::Control(Control::Join(_, group) | Control::Leave(_, group), _) => {
                (group, true)
            }
            _ => return Way::On(incoming),
        };
        let Some(held) = self.groups.get_mut(group) else { return Way::On(incoming) };
        let bytes = bytes_of(&incoming);
        if is_command || held.held.len() >= held.capacity || self.bytes + bytes > MAX_HELD_BYTES {
            let group = group.clone();
            return match self.release(&group) {
                Some(released) => Way::OnAfter(released, incoming),
                None => Way::On(incoming),
            };
        }
        self.bytes += bytes;
        held.held.push_back(incoming);
        Way::Held
    }
}

fn bytes_of(incoming: &Incoming) -> usize {
    match incoming {
        Incoming::Publication(publication) => publication.event.json().len(),
        Incoming::External(_, payload) => payload.len(),
        _ => 0,
    }
}

/// What the histories of some groups have, as far as they answer before `deadline`.
async fn answers_of(
    round: u64,
    asked: Vec<(GroupName, Option<Position>)>,
    layer: Layer,
    deadline: Instant,
) -> Vec<HistoryAnswer> {
    let mut answers = Vec::with_capacity(asked.len());
    let mut pending = asked;
    loop {
        let recovered = match timeout_at(deadline, layer.recover(&pending)).await {
            Ok(Ok(recovered)) => recovered,
            Ok(Err(error)) => vec![Err(error); pending.len()],
            Err(_) => vec![Err(no_answer()); pending.len()],
        };
        let (mut unanswered, mut failure) = (Vec::new(), None);
        for ((group, since), recovery) in pending.into_iter().zip(recovered) {
            match recovery {
                Ok(recovery) => {
                    let recovery = Some(recovery).filter(|it| it.recovered == Some(true));
                    answers.push(HistoryAnswer { round, group, recovery });
                }
                Err(error) => {
                    failure = Some(error);
                    unanswered.push((group, since));
                }
            }
        }
        let Some(error) = failure else { return answers };
        if Instant::now() + RETRY_INTERVAL >= deadline {
            tracing::warn!(%error, groups = unanswered.len(), "histories could not be read");
            let without = |(group, _)| HistoryAnswer { round, group, recovery: None };
            answers.extend(unanswered.into_iter().map(without));
            return answers;
        }
        pending = unanswered;
        sleep(RETRY_INTERVAL).await;
    }
}

fn no_answer() -> LayerError {
    LayerError::Unreachable(format!("no answer within {DEADLINE:?}"))
}
