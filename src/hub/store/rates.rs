//! The groups with most publications on a shard, counted in fixed memory while somebody looks.

use super::keys::GroupKey;

/// Groups that a sketch holds: enough for a page of the console.
const ENTRIES: usize = 64;

/// Seconds after which a sketch that nobody has read ends.
const LAPSE: u32 = 10;

/// Space-saving counts (Metwally et al., 2005): a group that is not held takes the place of the one
/// with the smallest count, and its count with it. So a count is never too small, and too large by
/// at most the smallest one; a group with more than a 64th of all publications is always held.
///
/// Keys and counts stand in arrays of their own: the search compares 64 keys at a time, some 30 ns
/// a publication, and nothing for each receiver.
#[derive(Debug)]
pub(super) struct RateSketch {
    keys: [u64; ENTRIES],
    counts: [u32; ENTRIES],
    /// How much of each count the group may have inherited.
    inherited: [u32; ENTRIES],
    used: usize,
    /// Second of the shard's clock of the last reading.
    read: u32,
}

/// A group with its publications since the last reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::hub) struct CountedGroup {
    pub(in crate::hub) group: GroupKey,
    pub(in crate::hub) publications: u32,
    /// By how many it may be too large.
    pub(in crate::hub) inherited: u32,
}

impl RateSketch {
    pub(super) fn new(second: u32) -> Self {
        let (keys, counts) = ([0; ENTRIES], [0; ENTRIES]);
        Self { keys, counts, inherited: counts, used: 0, read: second }
    }

    /// Counts one publication.
    pub(super) fn count(&mut self, group: GroupKey) {
        let key = group.to_bits();
        if let Some(at) = self.keys[..self.used].iter().position(|known| *known == key) {
            self.counts[at] = self.counts[at].saturating_add(1);
            return;
        }
        let at = match self.used < ENTRIES {
            true => {
                self.used += 1;
                self.used - 1
            }
            false => {
                let smallest = self.counts.iter().enumerate().min_by_key(|(_, count)| **count);
                smallest.map_or(0, |(at, _)| at)
            }
        };
        self.inherited[at] = self.counts[at];
        self.keys[at] = key;
        self.counts[at] = self.counts[at].saturating_add(1);
    }

    /// The counts since the last reading, which begin anew.
    pub(super) fn read(&mut self, second: u32) -> Vec<CountedGroup> {
        let counted = (0..self.used).map(|at| CountedGroup {
            group: GroupKey::from_bits(self.keys[at]),
            publications: self.counts[at],
            inherited: self.inherited[at],
        });
        let counted = counted.collect();
        *self = Self::new(second);
        counted
    }

    /// Whether nobody has read it for a while.
    pub(super) fn has_lapsed(&self, second: u32) -> bool {
        second.saturating_sub(self.read) > LAPSE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(index: u32) -> GroupKey {
        GroupKey { index, generation: 1 }
    }

    #[test]
    fn counts_exactly_while_the_groups_fit() {
        let mut sketch = RateSketch::new(0);
        (0..64).for_each(|index| (0..=index).for_each(|_| sketch.count(key(index))));
        let read = sketch.read(1);
        assert_eq!(read.len(), 64);
        let exact = |it: &CountedGroup| it.publications == it.group.index + 1 && it.inherited == 0;
        assert!(read.iter().all(exact));
        assert!(sketch.read(2).is_empty(), "counts begin anew");
    }

    #[test]
    fn holds_the_busiest_groups_among_thousands() {
        let mut sketch = RateSketch::new(0);
        for round in 0..1000 {
            (0..8).for_each(|index| sketch.count(key(index)));
            (0..20).for_each(|other| sketch.count(key(100 + (round * 20 + other) % 5000)));
        }
        let read = sketch.read(1);
        for index in 0..8 {
            let held = read.iter().find(|it| it.group == key(index)).expect("held");
            assert!(held.publications >= 1000, "never too small");
            assert!(held.publications - held.inherited <= 1000, "no more is certain than came");
        }
    }

    #[test]
    fn ends_when_nobody_reads_it() {
        let mut sketch = RateSketch::new(5);
        assert!(!sketch.has_lapsed(15));
        assert!(sketch.has_lapsed(16));
        sketch.read(16);
        assert!(!sketch.has_lapsed(26));
    }
}
