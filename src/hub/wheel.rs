//! When to look at a seat again: one coarse wheel per shard instead of a timer per connection.

use super::members::SeatKey;

/// Slots of a second each. A seat due later is looked at once a round and put back: once a minute
/// costs nothing, and a seat's entry stays four bytes.
const SLOTS: u64 = 64;

/// The wheel. A seat put again (its end came sooner) leaves an entry behind that its owner passes over.
pub(super) struct Wheel {
    slots: Vec<Vec<SeatKey>>,
    /// The second that was turned to last.
    second: u64,
}

impl Wheel {
    pub(super) fn new() -> Self {
        Self { slots: vec![Vec::new(); SLOTS as usize], second: 0 }
    }

    /// Puts `seat` where it will be met at `second`, or after one round if that is farther; answers
    /// with the second at which it will be met.
    pub(super) fn put(&mut self, seat: SeatKey, second: u64) -> u64 {
        let second = second.clamp(self.second + 1, self.second + SLOTS - 1);
        self.slots[(second % SLOTS) as usize].push(seat);
        second
    }

    /// Turns to `second`, collecting the seats met on the way into `due`.
    pub(super) fn turn(&mut self, second: u64, due: &mut Vec<SeatKey>) {
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

    fn turned(wheel: &mut Wheel, second: u64) -> Vec<SeatKey> {
        let mut due = Vec::new();
        wheel.turn(second, &mut due);
        due
    }

    #[test]
    fn a_seat_is_met_at_its_second_and_once() {
        let mut wheel = Wheel::new();
        wheel.put(7, 3);
        assert!(turned(&mut wheel, 2).is_empty());
        assert_eq!(turned(&mut wheel, 3), [7]);
        assert!(turned(&mut wheel, 200).is_empty());
    }

    #[test]
    fn a_seat_due_in_the_past_is_met_next() {
        let mut wheel = Wheel::new();
        assert!(turned(&mut wheel, 10).is_empty());
        wheel.put(7, 3);
        assert_eq!(turned(&mut wheel, 11), [7]);
    }

    #[test]
    fn a_seat_far_ahead_is_met_within_a_round() {
        let mut wheel = Wheel::new();
        wheel.put(7, 1_000_000);
        assert_eq!(turned(&mut wheel, SLOTS - 1), [7]);
    }

    #[test]
    fn a_long_pause_meets_everybody_once() {
        let mut wheel = Wheel::new();
        for seat in 0..50 {
            wheel.put(seat, u64::from(seat) + 1);
        }
        let mut due = turned(&mut wheel, 100_000);
        due.sort_unstable();
        assert_eq!(due, (0..50).collect::<Vec<_>>());
    }
}
