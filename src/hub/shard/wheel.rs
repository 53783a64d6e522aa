//! When to run a timer: one coarse wheel per shard instead of a timer per connection.

use crate::hub::store::ConnectionKey;

/// Slots of a second each. A connection due later is looked at once a round and put back: once a minute
/// costs nothing, and an entry stays four bytes.
const SLOTS: u64 = 64;

/// The wheel. A connection put again (its timer was moved forward) leaves an entry behind, which its
/// owner passes over.
pub(super) struct TimerWheel {
    slots: Vec<Vec<ConnectionKey>>,
    /// The second that was turned to last.
    second: u64,
}

impl TimerWheel {
    pub(super) fn new() -> Self {
        Self { slots: vec![Vec::new(); SLOTS as usize], second: 0 }
    }

    /// Puts `key` where it is met at `second`, or after one round if that is farther; the second at
    /// which it is met.
    pub(super) fn put(&mut self, key: ConnectionKey, second: u64) -> u64 {
        let second = second.clamp(self.second + 1, self.second + SLOTS - 1);
        self.slots[(second % SLOTS) as usize].push(key);
        second
    }

    /// Turns to `second`, collecting the connections met on the way into `due`.
    pub(super) fn turn(&mut self, second: u64, due: &mut Vec<ConnectionKey>) {
        // After a pause longer than a round every slot is met once.
        let from = (self.second + 1).max((second + 1).saturating_sub(SLOTS));
        for passed in from..=second {
            let slot = &mut self.slots[(passed % SLOTS) as usize];
            due.append(slot);
            // A burst of arrivals must not stay resident as an empty slot.
            if slot.capacity() > 1024 {
                *slot = Vec::new();
            }
        }
        self.second = self.second.max(second);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turned(wheel: &mut TimerWheel, second: u64) -> Vec<ConnectionKey> {
        let mut due = Vec::new();
        wheel.turn(second, &mut due);
        due
    }

    #[test]
    fn fires_once_at_the_second_of_a_connection() {
        let mut wheel = TimerWheel::new();
        wheel.put(7, 3);
        assert!(turned(&mut wheel, 2).is_empty());
        assert_eq!(turned(&mut wheel, 3), [7]);
        assert!(turned(&mut wheel, 200).is_empty());
    }

    #[test]
    fn fires_an_overdue_connection_at_the_next_second() {
        let mut wheel = TimerWheel::new();
        assert!(turned(&mut wheel, 10).is_empty());
        wheel.put(7, 3);
        assert_eq!(turned(&mut wheel, 11), [7]);
    }

    #[test]
    fn fires_a_distant_connection_within_one_round() {
        let mut wheel = TimerWheel::new();
        wheel.put(7, 1_000_000);
        assert_eq!(turned(&mut wheel, SLOTS - 1), [7]);
    }

    #[test]
    fn fires_every_connection_once_after_a_long_pause() {
        let mut wheel = TimerWheel::new();
        for key in 0..50 {
            wheel.put(key, u64::from(key) + 1);
        }
        let mut due = turned(&mut wheel, 100_000);
        due.sort_unstable();
        assert_eq!(due, (0..50).collect::<Vec<_>>());
    }
}
