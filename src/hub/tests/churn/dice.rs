//! What a seed decides, and the bounds under which it does.

use std::time::Duration;

use crate::group::GroupPattern;
use crate::socket::{self, Limits, Overflow};

/// Splitmix64: the same numbers for the same seed.
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % sides
    }

    pub(super) fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.roll(of.len() as u64) as usize]
    }

    pub(super) fn any<'a, T>(&mut self, of: &'a [T]) -> Option<&'a T> {
        (!of.is_empty()).then(|| &of[self.roll(of.len() as u64) as usize])
    }
}

/// Bounds narrow enough to be met: a policy for each first letter of a group.
pub(super) fn settings() -> socket::Settings {
    let limits = |pattern: &str, capacity, overflow| {
        let expiry = Duration::from_secs(4);
        (
            GroupPattern::parse(pattern).unwrap(),
            Limits { capacity, expiry, overflow, ..Limits::default() },
        )
    };
    socket::Settings {
        outbox_bytes: 24 * 1024,
        // No pings: the clients of this test answer none.
        ping: Duration::from_secs(3600),
        group_limits: vec![
            limits("o.*", 5, Overflow::DropOldest),
            limits("n.*", 7, Overflow::DropNewest),
            limits("c.*", 20, Overflow::Close),
            limits("*", 6, Overflow::DropOldest),
        ],
        ..Default::default()
    }
}
