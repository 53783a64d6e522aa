//! Slows down those who guess keys: a few wrong ones are forgiven, then one a second per address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::address::Address;

/// Wrong keys that an address may send before it is slowed.
const FORGIVEN: u32 = 5;

/// Time after which one more is allowed.
const REFILL: Duration = Duration::from_secs(1);

/// Addresses that are remembered; IPv6 counts by /64.
const ADDRESSES: usize = 4096;

/// The wrong keys of each address.
///
/// A right key waits as well while its address is slowed, or every guess would be free. Consoles
/// that are open already are not concerned.
#[derive(Debug, Default)]
pub(crate) struct GuessLimit(Mutex<HashMap<Address, Guesses>>);

#[derive(Debug, Clone, Copy)]
struct Guesses {
    wrong: u32,
    since: Instant,
}

impl GuessLimit {
    /// Whether a key from this address is looked at.
    pub(super) fn allows(&self, address: IpAddr, now: Instant) -> bool {
        let guesses = self.0.lock().get(&Address::of(address)).copied();
        guesses.is_none_or(|guesses| guesses.left(now) < FORGIVEN)
    }

    /// Forgives an address that has sent a right key. Whoever has one need not guess.
    pub(super) fn forgive(&self, address: IpAddr) {
        self.0.lock().remove(&Address::of(address));
    }

    /// Counts a wrong key.
    pub(super) fn count(&self, address: IpAddr, now: Instant) {
        let mut all = self.0.lock();
        if all.len() >= ADDRESSES {
            all.retain(|_, guesses| guesses.left(now) > 0);
            // Everybody guesses: forgetting all is better than refusing all.
            if all.len() >= ADDRESSES {
                all.clear();
            }
        }
        let guesses = all.entry(Address::of(address)).or_insert(Guesses { wrong: 0, since: now });
        *guesses = Guesses { wrong: guesses.left(now) + 1, since: now };
    }
}

impl Guesses {
    /// Those that are not forgiven yet.
    fn left(self, now: Instant) -> u32 {
        let passed = now.saturating_duration_since(self.since).as_secs() / REFILL.as_secs();
        self.wrong.saturating_sub(u32::try_from(passed).unwrap_or(u32::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slows_an_address_to_one_guess_a_second() {
        let (limit, now) = (GuessLimit::default(), Instant::now());
        let (guesser, other) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2]));
        for _ in 0..FORGIVEN {
            assert!(limit.allows(guesser, now));
            limit.count(guesser, now);
        }
        assert!(!limit.allows(guesser, now));
        assert!(limit.allows(other, now));
        let later = now + REFILL;
        assert!(limit.allows(guesser, later));
        limit.count(guesser, later);
        assert!(!limit.allows(guesser, later));
        limit.forgive(guesser);
        assert!(limit.allows(guesser, later));
    }

    #[test]
    fn remembers_a_bounded_number_of_addresses() {
        let (limit, now) = (GuessLimit::default(), Instant::now());
        for number in 0..ADDRESSES as u32 + 10 {
            limit.count(IpAddr::from(number.to_be_bytes()), now);
        }
        assert!(limit.0.lock().len() <= ADDRESSES);
    }
}
