//! A bounded queue in which askers take turns, so that one with many entries delays no other.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

/// Queued entries, by asker. The entries of one asker stay in order.
#[derive(Debug)]
pub(crate) struct FairQueue<K, T> {
    limit: usize,
    count: usize,
    by_asker: HashMap<K, VecDeque<T>>,
    /// Askers with entries, the next one first.
    turns: VecDeque<K>,
}

impl<K: Clone + Eq + Hash, T> FairQueue<K, T> {
    /// Creates an empty queue of at most `limit` entries.
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, count: 0, by_asker: HashMap::new(), turns: VecDeque::new() }
    }

    pub(crate) fn len(&self) -> usize {
        self.count
    }

    /// Appends an entry. If that is one too many, returns the newest of the asker with most of
    /// them, which may be this one.
    pub(crate) fn push(&mut self, asker: K, entry: T) -> Option<T> {
        let own = self.by_asker.entry(asker.clone()).or_default();
        if own.is_empty() {
            self.turns.push_back(asker);
        }
        own.push_back(entry);
        self.count += 1;
        if self.count > self.limit { self.take_surplus() } else { None }
    }

    /// The next entry of the asker whose turn it is.
    pub(crate) fn pop(&mut self) -> Option<T> {
        self.pop_of(|_| true)
    }

    /// The next entry of the first asker in turn that may have one now. The others keep their
    /// turns.
    pub(crate) fn pop_of(&mut self, may: impl Fn(&K) -> bool) -> Option<T> {
        let first = self.turns.iter().position(may)?;
        let asker = self.turns.remove(first)?;
        let own = self.by_asker.get_mut(&asker)?;
        let next = own.pop_front();
        match own.is_empty() {
            true => drop(self.by_asker.remove(&asker)),
            false => self.turns.push_back(asker),
        }
        self.count -= usize::from(next.is_some());
        next
    }

    fn take_surplus(&mut self) -> Option<T> {
        let (asker, own) = self.by_asker.iter_mut().max_by_key(|(_, own)| own.len())?;
        let surplus = own.pop_back();
        self.count -= usize::from(surplus.is_some());
        if own.is_empty() {
            let asker = asker.clone();
            self.by_asker.remove(&asker);
            self.turns.retain(|turn| *turn != asker);
        }
        surplus
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drained(mut queue: FairQueue<char, u8>) -> Vec<u8> {
        std::iter::from_fn(|| queue.pop()).collect()
    }

    #[test]
    fn askers_take_turns_and_keep_their_own_order() {
        let mut queue = FairQueue::new(10);
        for (asker, entry) in [('a', 1), ('a', 2), ('a', 3), ('b', 4), ('c', 5), ('b', 6)] {
            assert_eq!(queue.push(asker, entry), None);
        }
        assert_eq!(queue.len(), 6);
        assert_eq!(drained(queue), [1, 4, 5, 2, 6, 3]);
    }

    #[test]
    fn an_asker_that_may_not_have_one_keeps_its_turn() {
        let mut queue = FairQueue::new(10);
        for (asker, entry) in [('a', 1), ('b', 2), ('b', 3), ('c', 4)] {
            queue.push(asker, entry);
        }
        let others = |asker: &char| *asker != 'a';
        assert_eq!((queue.pop_of(others), queue.pop_of(others)), (Some(2), Some(4)));
        assert_eq!(queue.pop_of(|_| false), None);
        assert_eq!(drained(queue), [1, 3]);
    }

    #[test]
    fn one_entry_too_many_costs_the_asker_with_most_of_them() {
        let mut queue = FairQueue::new(3);
        let entries = [('a', 1), ('a', 2), ('a', 3), ('b', 4), ('c', 5)];
        let surplus = entries.map(|(asker, entry)| queue.push(asker, entry));
        assert_eq!(surplus, [None, None, None, Some(3), Some(2)]);
        assert_eq!(queue.len(), 3);
        assert_eq!(drained(queue), [1, 4, 5]);
        let mut full: FairQueue<char, u8> = FairQueue::new(0);
        assert_eq!((full.push('a', 1), full.len(), full.pop()), (Some(1), 0, None));
    }
}
