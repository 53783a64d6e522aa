//! The time from a ping to its pong, in four bytes: every connection has one.

/// No ping waits for its pong.
const ANSWERED: u16 = u16::MAX;

/// No pong has come yet.
const UNKNOWN: u16 = u16::MAX;

/// The last round trip of one connection, and the ping of the next.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RoundTrip {
    /// The milliseconds within its second at which the last ping was queued.
    pinged: u16,
    /// The last one measured, milliseconds; a longer one counts as the longest that fits.
    millis: u16,
}

impl RoundTrip {
    /// None is known.
    pub(super) const UNKNOWN: Self = Self { pinged: ANSWERED, millis: UNKNOWN };

    /// A ping was queued at this millisecond of the shard's clock.
    pub(crate) fn begin(&mut self, now_ms: u64) {
        self.pinged = (now_ms % 1000) as u16;
    }

    /// A pong has come at this millisecond; `second` is that of the last ping. A pong that nobody
    /// asked for measures nothing.
    pub(crate) fn end(&mut self, second: u32, now_ms: u64) {
        if self.pinged == ANSWERED {
            return;
        }
        let began = u64::from(second) * 1000 + u64::from(self.pinged);
        self.millis = now_ms.saturating_sub(began).min(u64::from(UNKNOWN - 1)) as u16;
        self.pinged = ANSWERED;
    }

    /// The last one, milliseconds, as long as the client took to read and to answer included.
    pub(crate) fn millis(self) -> Option<u64> {
        (self.millis != UNKNOWN).then_some(self.millis.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn measures_from_the_ping_to_the_first_pong() {
        let mut trip = RoundTrip::UNKNOWN;
        trip.end(0, 5000);
        assert_eq!(trip.millis(), None, "nobody asked for it");
        trip.begin(26_950);
        trip.end(26, 27_030);
        trip.end(26, 29_000);
        assert_eq!(trip.millis(), Some(80));
        trip.begin(52_000);
        trip.end(52, 200_000);
        assert_eq!(trip.millis(), Some(65_534), "the longest that fits");
    }
}
