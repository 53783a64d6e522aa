//! Commands of the last minute, which are appended again where Redis has lost its data.
//!
//! Redis answers before its data is on a disk or a replica, so a failover or a FLUSHALL can take
//! commands back that instances without a subscription at that moment have not read.

use std::collections::{HashSet, VecDeque};
use std::time::{Duration, Instant};

use crate::event::{Control, Stamp};
use crate::layer::envelope::CommandMark;

/// How long before the last contact with the old data a command may be lost with it.
const WINDOW: Duration = Duration::from_secs(60);

/// Most commands kept: about 70 a second.
pub(super) const MAX_RECENT: usize = 4096;

/// A command that was accepted or applied here.
pub(super) struct Recent {
    id: u128,
    /// Of its first acceptance.
    stamp: Stamp,
    /// The generation in whose stream it is.
    generation: u64,
    control: Control,
    at: Instant,
}

impl Recent {
    /// Accepted at `stamp`, and in the stream at `place`.
    pub(super) fn new(id: u128, stamp: Stamp, place: Stamp, control: Control) -> Self {
        Self { id, stamp, generation: place.generation, control, at: Instant::now() }
    }
}

/// The commands of the last minute, oldest first. One that was accepted here stands there twice,
/// since it is applied here as well.
#[derive(Default)]
pub(super) struct RecentCommands(VecDeque<Recent>);

impl RecentCommands {
    pub(super) fn insert(&mut self, recent: Recent) {
        if self.0.len() == MAX_RECENT {
            self.0.pop_front();
        }
        self.0.push_back(recent);
    }

    /// Those that are not known to be in the stream of `generation`, in the order of their stamps.
    pub(super) fn outside(&self, generation: u64) -> Vec<(Control, CommandMark)> {
        let mut ids = HashSet::new();
        let outside = self.0.iter().filter(|recent| recent.generation < generation);
        let mut outside: Vec<_> = outside.filter(|recent| ids.insert(recent.id)).collect();
        outside.sort_by_key(|recent| recent.stamp);
        let marked = |recent: &&Recent| {
            let accepted = Some(recent.stamp);
            (recent.control.clone(), CommandMark { id: recent.id, accepted, place: None })
        };
        outside.iter().map(marked).collect()
    }

    /// These are in the stream of `generation` now.
    pub(super) fn appended(&mut self, commands: &[(Control, CommandMark)], generation: u64) {
        let ids: HashSet<_> = commands.iter().map(|(_, mark)| mark.id).collect();
        for recent in self.0.iter_mut().filter(|recent| ids.contains(&recent.id)) {
            recent.generation = recent.generation.max(generation);
        }
    }

    pub(super) fn forget_old(&mut self) {
        while self.0.front().is_some_and(|recent| recent.at.elapsed() > WINDOW) {
            self.0.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Member;

    fn recent(id: u128, number: u64) -> Recent {
        let stamp = Stamp { generation: 1, number };
        Recent::new(id, stamp, stamp, Control::Close(Member::User("7".into()), 4403))
    }

    #[test]
    fn finds_each_command_of_an_older_generation_once_and_in_order() {
        let mut commands = RecentCommands::default();
        for (id, number) in [(2, 2), (1, 1), (2, 2), (3, 3)] {
            commands.insert(recent(id, number));
        }
        let ids = |found: &[(Control, CommandMark)]| -> Vec<_> {
            found.iter().map(|(_, mark)| mark.id).collect()
        };
        assert_eq!(ids(&commands.outside(1)), []);
        let outside = commands.outside(2);
        assert_eq!(ids(&outside), [1, 2, 3]);
        commands.appended(&outside[..2], 2);
        assert_eq!(ids(&commands.outside(2)), [3]);
        assert_eq!(ids(&commands.outside(3)), [1, 2, 3]);
    }

    #[test]
    fn keeps_a_bounded_number() {
        let mut commands = RecentCommands::default();
        for id in 0..2 * MAX_RECENT as u128 {
            commands.insert(recent(id, 1));
        }
        assert_eq!(commands.0.len(), MAX_RECENT);
    }
}
