//! Medians and percentiles of raw samples; nothing here averages a percentile.

/// What is shown of the values of one figure over all runs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spread {
    /// Middle value; the mean of the two middle ones when their number is even.
    pub median: f64,
    pub min: f64,
    pub max: f64,
}

impl Spread {
    /// Of at least one run; `None` for none.
    pub fn of(runs: &[f64]) -> Option<Self> {
        let mut sorted = runs.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        let (below, above) = (sorted[(sorted.len() - 1) / 2], sorted[sorted.len() / 2]);
        Some(Self { median: f64::midpoint(below, above), min, max })
    }
}

/// Latencies of one window, nanoseconds, sorted.
#[derive(Debug, Clone, Default)]
pub struct Latencies(Vec<u64>);

impl Latencies {
    /// Takes raw samples in any order.
    pub fn new(mut nanoseconds: Vec<u64>) -> Self {
        nanoseconds.sort_unstable();
        Self(nanoseconds)
    }

    /// Those of several gateways as one.
    pub fn merged(all: impl Iterator<Item = Self>) -> Self {
        Self::new(all.flat_map(|one| one.0).collect())
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The nearest-rank percentile in milliseconds; 0 without samples.
    pub fn percentile(&self, percent: f64) -> f64 {
        let rank = (percent / 100.0 * self.0.len() as f64).ceil() as usize;
        let sample = self.0.get(rank.max(1) - 1).or(self.0.last());
        sample.map_or(0.0, |&ns| ns as f64 / 1e6)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_of_the_sorted_values() {
        let odd = Spread::of(&[3.0, 1.0, 2.0]).unwrap();
        assert_eq!((odd.median, odd.min, odd.max), (2.0, 1.0, 3.0));
        assert_eq!(Spread::of(&[4.0, 1.0]).unwrap().median, 2.5);
        assert_eq!(Spread::of(&[]), None);
    }

    #[test]
    fn percentiles_are_samples_without_interpolation() {
        let latencies = Latencies::new((1..=200).rev().map(|ms| ms * 1_000_000).collect());
        assert_eq!(latencies.percentile(50.0), 100.0);
        assert_eq!(latencies.percentile(99.0), 198.0);
        assert_eq!(latencies.percentile(100.0), 200.0);
        assert_eq!(latencies.percentile(0.0), 1.0);
        assert_eq!(Latencies::default().percentile(99.0), 0.0);
    }
}
