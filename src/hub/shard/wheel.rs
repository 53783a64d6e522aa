//! A coarse timer wheel per shard, instead of a timer per connection.

use crate::hub::store::ConnectionKey;

/// Slots of one second each. A connection due later is checked once per round and put back, which
/// costs little, and an entry needs four bytes only.
const SLOTS: u64 = 64;

/// The wheel. Rescheduling a connection leaves its old entry behind, which the owner ignores.
pub(super) struct TimerWheel {
    slots: Vec<Vec<ConnectionKey>>,
    /// The second of the last turn of the wheel.
    second: u64,
}

impl TimerWheel {
    pub(super) fn new() -> Self {
        Self { slots: vec![Vec::new(); SLOTS as usize], second: 0 }
    }

    /// Schedules `key` for `second`, or for the end of one round if that is later. Returns the
    /// second.
    pub(super) fn put(&mut self, key: ConnectionKey, second: u64) -> u64 {
        let second = second.clamp(self.second + 1, self.second + SLOTS - 1);
        self.slots[(second % SLOTS) as usize].push(key);
        second
    }

    /// Advances to `second`, and collects the connections of all passed slots in `due`.
    pub(super) fn turn(&mut self, second: u64, due: &mut Vec<ConnectionKey>) {
        // After a pause longer than a round every slot is visited once.
        let from = (self.second + 1).max((second + 1).saturating_sub(SLOTS));
        for passed in from..=second {
            let slot = &mut self.slots[(passed % SLOTS) as usize];
            due.append(slot);
            // Memory of a burst of connections is released.
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
