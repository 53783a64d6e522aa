//! A histogram of fixed size.
//!
//! The exporter's histogram keeps every sample until the metrics are scraped, so it allocates, and
//! grows without limit if nothing scrapes. This one is an array of atomics.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Upper bounds in microseconds: from one write to the largest default timeout.
const BOUNDS: [u64; 16] = [
    50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000,
    1_000_000, 2_500_000, 10_000_000,
];

/// Durations, counted by size.
#[derive(Debug, Default)]
pub struct Histogram {
    /// Samples per bucket; the last bucket has no upper bound.
    buckets: [AtomicU64; BOUNDS.len() + 1],
    sum_nanos: AtomicU64,
}

impl Histogram {
    /// Counts one duration.
    pub fn record(&self, duration: Duration) {
        self.record_many(duration, 1);
    }

    /// Records a duration `times` times: a turn writes many publications of one age.
    pub fn record_many(&self, duration: Duration, times: u64) {
        let micros = duration.as_micros() as u64;
        let bucket = BOUNDS.partition_point(|bound| *bound < micros);
        self.buckets[bucket].fetch_add(times, Relaxed);
        self.sum_nanos.fetch_add((duration.as_nanos() as u64).saturating_mul(times), Relaxed);
    }

    /// Appends the exposition; `labels` is empty or `name="value",` with the comma.
    pub(super) fn render(&self, name: &str, labels: &str, out: &mut String) {
        let mut count = 0;
        for (bucket, samples) in self.buckets.iter().enumerate() {
            count += samples.load(Relaxed);
            let bound = BOUNDS.get(bucket).map(|micros| (*micros as f64 / 1e6).to_string());
            let bound = bound.as_deref().unwrap_or("+Inf");
            let _ = writeln!(out, "{name}_bucket{{{labels}le=\"{bound}\"}} {count}");
        }
        let sum = self.sum_nanos.load(Relaxed) as f64 / 1e9;
        let braced = match labels.trim_end_matches(',') {
            "" => String::new(),
            labels => format!("{{{labels}}}"),
        };
        let _ = writeln!(out, "{name}_sum{braced} {sum}\n{name}_count{braced} {count}");
    }
}
