//! Maps with limits: the oldest entries make room for new ones.
//!
//! Age is the order of insertion. Replacing an entry makes it the newest; reading does not.

use std::borrow::Borrow;
use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::time::Instant;

/// Expired entries that one insertion into an [`ExpiringMap`] removes at most: more than one, so
/// that a map past its peak shrinks; few, so that no caller pays for a hundred thousand.
const SWEEP: usize = 4;

/// The limits of a map.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MapLimits {
    /// Most entries.
    pub(crate) entries: usize,
    /// Most bytes, as the callers of `insert` count them.
    pub(crate) bytes: usize,
}

/// A map bounded in entries and bytes.
///
/// Ages are kept in a `BTreeMap`: a deque is cheaper per entry, but has no way to forget an entry
/// that was replaced or removed, so it would need a bound of its own.
#[derive(Debug)]
pub(crate) struct BoundedMap<K, V> {
    limits: MapLimits,
    entries: HashMap<K, MapEntry<V>>,
    /// Keys by the number of their insertion.
    ages: BTreeMap<u64, K>,
    inserted: u64,
    bytes: usize,
}

#[derive(Debug)]
struct MapEntry<V> {
    value: V,
    number: u64,
    bytes: usize,
}

/// A [`BoundedMap`] whose entries also end at a time of their own.
#[derive(Debug)]
pub(crate) struct ExpiringMap<K, V>(BoundedMap<K, Expiring<V>>);

#[derive(Debug)]
struct Expiring<V> {
    value: V,
    until: Instant,
}

impl MapLimits {
    /// A limit of entries alone.
    pub(crate) const fn entries(entries: usize) -> Self {
        Self { entries, bytes: usize::MAX }
    }

    /// A limit of bytes alone.
    pub(crate) const fn bytes(bytes: usize) -> Self {
        Self { entries: usize::MAX, bytes }
    }
}

impl<K: Clone + Eq + Hash, V> BoundedMap<K, V> {
    pub(crate) fn new(limits: MapLimits) -> Self {
        let (entries, ages) = Default::default();
        Self { limits, entries, ages, inserted: 0, bytes: 0 }
    }

    /// Inserts an entry of so many bytes as the newest. One that exceeds the limits by itself is
    /// not kept.
    pub(crate) fn insert(&mut self, key: K, value: V, bytes: usize) {
        self.remove(&key);
        self.inserted += 1;
        self.bytes = self.bytes.saturating_add(bytes);
        self.ages.insert(self.inserted, key.clone());
        self.entries.insert(key, MapEntry { value, number: self.inserted, bytes });
        while self.entries.len() > self.limits.entries || self.bytes > self.limits.bytes {
            self.remove_oldest();
        }
    }

    pub(crate) fn get<Q: Eq + Hash + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.entries.get(key).map(|entry| &entry.value)
    }

    pub(crate) fn remove<Q: Eq + Hash + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let entry = self.entries.remove(key)?;
        self.ages.remove(&entry.number);
        self.bytes -= entry.bytes;
        Some(entry.value)
    }

    /// The entries, the newest first.
    pub(crate) fn newest(&self) -> impl Iterator<Item = (&K, &V)> {
        self.ages
            .values()
            .rev()
            .filter_map(|key| self.entries.get_key_value(key))
            .map(|(key, entry)| (key, &entry.value))
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    fn oldest(&self) -> Option<(&K, &V)> {
        let (_, key) = self.ages.first_key_value()?;
        self.entries.get_key_value(key).map(|(key, entry)| (key, &entry.value))
    }

    fn remove_oldest(&mut self) {
        if let Some((_, key)) = self.ages.pop_first()
            && let Some(entry) = self.entries.remove(&key)
        {
            self.bytes -= entry.bytes;
        }
    }
}

impl<K: Clone + Eq + Hash, V> ExpiringMap<K, V> {
    pub(crate) fn new(limits: MapLimits) -> Self {
        Self(BoundedMap::new(limits))
    }

    /// Inserts an entry of so many bytes that is found until `until`, and removes a few of the
    /// oldest entries if they have expired.
    ///
    /// An expired entry behind a younger one that lives longer waits for it: it is not found, and
    /// it counts for the limits.
    pub(crate) fn insert(&mut self, key: K, value: V, bytes: usize, until: Instant, now: Instant) {
        self.0.insert(key, Expiring { value, until }, bytes);
        for _ in 0..SWEEP {
            if self.0.oldest().is_some_and(|(_, oldest)| oldest.until <= now) {
                self.0.remove_oldest();
            }
        }
    }

    pub(crate) fn get<Q: Eq + Hash + ?Sized>(&self, key: &Q, now: Instant) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.0.get(key).filter(|entry| now < entry.until).map(|entry| &entry.value)
    }

    /// Removes an entry; returns it if it had not expired.
    pub(crate) fn remove<Q: Eq + Hash + ?Sized>(&mut self, key: &Q, now: Instant) -> Option<V>
    where
        K: Borrow<Q>,
    {
        self.0.remove(key).filter(|entry| now < entry.until).map(|entry| entry.value)
    }

    /// Entries held, expired ones included.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn evicts_the_oldest_entries_beyond_the_limit() {
        let mut map = BoundedMap::new(MapLimits::entries(2));
        for key in ["a", "b", "c"] {
            map.insert(key, key, 0);
        }
        assert_eq!((map.get("a"), map.get("b"), map.get("c")), (None, Some(&"b"), Some(&"c")));
    }

    #[test]
    fn replacing_an_entry_makes_it_the_newest() {
        let mut map = BoundedMap::new(MapLimits::entries(2));
        for (key, value) in [("a", 1), ("b", 2), ("a", 3), ("c", 4)] {
            map.insert(key, value, 0);
        }
        assert_eq!((map.get("a"), map.get("b"), map.get("c")), (Some(&3), None, Some(&4)));
    }

    #[test]
    fn an_entry_larger_than_the_limit_is_not_kept() {
        let mut map = BoundedMap::new(MapLimits::bytes(10));
        map.insert("small", (), 4);
        map.insert("large", (), 11);
        assert_eq!((map.len(), map.bytes), (0, 0));
    }

    #[test]
    fn an_expired_entry_is_not_found() {
        let (mut map, now) = (ExpiringMap::new(MapLimits::entries(9)), Instant::now());
        map.insert("a", 1, 0, now + SECOND, now);
        let last = now + SECOND - Duration::from_nanos(1);
        assert_eq!((map.get("a", last), map.get("a", now + SECOND)), (Some(&1), None));
        assert_eq!(map.remove("a", now + SECOND), None);
        assert_eq!(map.len(), 0);
    }

    #[test]
    fn later_insertions_remove_a_few_expired_entries_each() {
        let (mut map, now) = (ExpiringMap::new(MapLimits::entries(100)), Instant::now());
        for key in 0..10 {
            map.insert(key, (), 0, now + SECOND, now);
        }
        map.insert(10, (), 0, now + 3 * SECOND, now + 2 * SECOND);
        assert_eq!(map.len(), 11 - SWEEP);
        map.insert(11, (), 0, now + 3 * SECOND, now + 2 * SECOND);
        map.insert(12, (), 0, now + 3 * SECOND, now + 2 * SECOND);
        assert_eq!(map.len(), 3);
    }

    proptest! {
        /// Against a list, which needs no bookkeeping.
        #[test]
        fn behaves_like_a_list_that_drops_its_head(
            steps in prop::collection::vec((0..8u8, 0..6usize, prop::bool::ANY), 0..200),
        ) {
            let limits = MapLimits { entries: 4, bytes: 12 };
            let mut map = BoundedMap::new(limits);
            let mut list: Vec<(u8, usize)> = Vec::new();
            for (key, bytes, insert) in steps {
                list.retain(|(known, _)| *known != key);
                if insert {
                    map.insert(key, bytes, bytes);
                    list.push((key, bytes));
                    let total = |list: &[(u8, usize)]| list.iter().map(|(_, b)| b).sum::<usize>();
                    while list.len() > limits.entries || total(&list) > limits.bytes {
                        list.remove(0);
                    }
                } else {
                    map.remove(&key);
                }
                let kept: Vec<_> =
                    map.ages.values().map(|key| (*key, map.entries[key].value)).collect();
                prop_assert_eq!(&kept, &list);
                prop_assert_eq!(map.len(), list.len());
                prop_assert_eq!(map.bytes, list.iter().map(|(_, bytes)| bytes).sum::<usize>());
            }
        }
    }
}
