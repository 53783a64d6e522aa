//! What one browser received, what it missed, and what gaps reported of that.

/// What one browser received, in publications of the shared group.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Account {
    /// Events that arrived.
    pub delivered: u64,
    /// Events whose number was not above that of the one before: duplicates or out of order.
    pub disordered: u64,
    /// Numbers that were skipped.
    pub missing: u64,
    /// `gap` frames.
    pub gaps: u64,
    /// Events that those gaps reported lost.
    pub reported_lost: u64,
    last: u64,
}

impl Account {
    /// Counts the arrival of publication `seq`.
    pub fn event(&mut self, seq: u64) {
        self.delivered += 1;
        if seq <= self.last {
            self.disordered += 1;
            return;
        }
        self.missing += seq - self.last - 1;
        self.last = seq;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_skipped_numbers_as_missing_and_repeated_or_smaller_ones_as_disordered() {
        let mut account = Account::default();
        for seq in [1, 2, 5, 5, 4, 6] {
            account.event(seq);
        }
        assert_eq!((account.delivered, account.missing, account.disordered), (6, 2, 2));
    }
}
