//! Spreads reconnections: all instances lose a broker at the same moment.

use std::time::Duration;

use aws_lc_rs::rand;

/// A time between half of `pause` and one and a half of it.
pub(crate) fn jittered(pause: Duration) -> Duration {
    let mut bytes = [0; 4];
    // Without randomness they come together, which is better than not at all.
    let _ = rand::fill(&mut bytes);
    let share = f64::from(u32::from_ne_bytes(bytes)) / f64::from(u32::MAX);
    pause.mul_f64(0.5 + share)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn instances_do_not_return_together() {
        let pause = Duration::from_millis(300);
        let pauses: Vec<_> = (0..1000).map(|_| jittered(pause)).collect();
        assert!(pauses.iter().all(|it| (pause / 2..=pause * 3 / 2).contains(it)));
        let slots: HashSet<_> = pauses.iter().map(|it| it.as_millis() / 30).collect();
        assert_eq!(slots.len() / 10, 1, "each tenth of the span has some: {slots:?}");
    }
}
