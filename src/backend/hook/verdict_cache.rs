//! Caches verdicts of the connect hook, and tracks requests in flight.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::request::VerdictKey;
use super::verdict::HookVerdict;
use crate::bounded_map::{ExpiringMap, MapLimits};

/// Most bytes of verdicts. At about 500 bytes each, 30,000 visitors within the minute that a
/// verdict is cached; beyond that the oldest are requested again.
const MAX_BYTES: usize = 16 << 20;

/// Bytes of an entry in addition to its answer.
const OVERHEAD: usize = 400;

/// A verdict in flight.
pub(super) type PendingVerdict = watch::Receiver<Option<HookVerdict>>;

/// Bounded in bytes.
#[derive(Debug)]
pub(super) struct VerdictCache {
    /// Bounded by the hook's queue.
    in_flight: HashMap<VerdictKey, PendingVerdict>,
    verdicts: ExpiringMap<VerdictKey, HookVerdict>,
}

/// The result of a lookup.
pub(super) enum Lookup {
    Cached(HookVerdict),
    /// A request for the same verdict is in flight.
    InFlight(PendingVerdict),
    Missing,
}

impl VerdictCache {
    pub(super) fn get(&self, key: &VerdictKey, now: Instant) -> Lookup {
        match (self.in_flight.get(key), self.verdicts.get(key, now)) {
            // If the task ended without a verdict, there will be no answer.
            (Some(pending), _) if pending.has_changed().is_ok() => {
                Lookup::InFlight(pending.clone())
            }
            (None, Some(verdict)) => Lookup::Cached(verdict.clone()),
            _ => Lookup::Missing,
        }
    }

    /// Records a request in flight.
    pub(super) fn begin(&mut self, key: VerdictKey, pending: PendingVerdict, now: Instant) {
        self.verdicts.remove(&key, now);
        self.in_flight.insert(key, pending);
    }

    /// Removes a request that ended, with or without a verdict.
    pub(super) fn forget_in_flight(&mut self, key: &VerdictKey) {
        self.in_flight.remove(key);
    }

    /// Caches a verdict for `time`, which may be zero.
    pub(super) fn insert(
        &mut self,
        key: VerdictKey,
        verdict: HookVerdict,
        time: Duration,
        now: Instant,
    ) {
        self.in_flight.remove(&key);
        if time.is_zero() {
            self.verdicts.remove(&key, now);
            return;
        }
        let answer =
            if let HookVerdict::Accepted(accepted) = &verdict { accepted.weight } else { 0 };
        self.verdicts.insert(key, verdict, OVERHEAD + answer, now + time, now);
    }
}

impl Default for VerdictCache {
    fn default() -> Self {
        Self { in_flight: HashMap::new(), verdicts: ExpiringMap::new(MapLimits::bytes(MAX_BYTES)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn is_known(cache: &VerdictCache, key: u8, now: Instant) -> bool {
        matches!(cache.get(&[key; 32], now), Lookup::Cached(_))
    }

    #[test]
    fn a_verdict_is_cached_for_its_time() {
        let (mut cache, now) = (VerdictCache::default(), Instant::now());
        cache.insert([1; 32], HookVerdict::Forbidden, MINUTE, now);
        cache.insert([2; 32], HookVerdict::Forbidden, Duration::ZERO, now);
        assert!(is_known(&cache, 1, now + MINUTE - Duration::from_millis(1)));
        assert!(!is_known(&cache, 1, now + MINUTE));
        assert!(!is_known(&cache, 2, now), "not kept at all");
        cache.insert([3; 32], HookVerdict::Forbidden, MINUTE, now + MINUTE);
        assert_eq!(cache.verdicts.len(), 1, "the old is forgotten");
    }

    #[test]
    fn evicts_the_oldest_verdicts_beyond_its_bytes() {
        let (mut cache, now) = (VerdictCache::default(), Instant::now());
        let count = MAX_BYTES / OVERHEAD + 10;
        for n in 0..count {
            let mut key = [0; 32];
            key[..8].copy_from_slice(&n.to_be_bytes());
            cache.insert(key, HookVerdict::Forbidden, MINUTE, now);
        }
        assert_eq!(cache.verdicts.len(), MAX_BYTES / OVERHEAD);
        assert!(!is_known(&cache, 0, now), "the first of all");
    }

    #[test]
    fn a_request_that_ended_without_a_verdict_is_asked_again() {
        let (mut cache, now) = (VerdictCache::default(), Instant::now());
        let (asker, pending) = watch::channel(None);
        cache.begin([1; 32], pending, now);
        assert!(matches!(cache.get(&[1; 32], now), Lookup::InFlight(_)));
        drop(asker);
        assert!(matches!(cache.get(&[1; 32], now), Lookup::Missing));
    }
}
