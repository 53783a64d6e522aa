//! Reads the metrics' own exposition, so that the console shows exactly its numbers.

use std::collections::BTreeMap;
use std::time::Duration;

/// Precedes the name of every metric.
const PREFIX: &str = "groupcast_";

/// The histogram of delivery times.
const DELIVERY_TIMES: &str = "publish_to_write_seconds_bucket";

/// Families that no view shows: they are many, or change with every scrape.
const LEFT_OUT: [&str; 3] = ["http_request", "build_info", "start_time_seconds"];

/// The values of an exposition at one moment.
#[derive(Debug, Clone, Default)]
pub(super) struct MetricValues {
    /// By name without the common prefix, with its labels as written: `dropped_total{reason="x"}`.
    values: BTreeMap<String, f64>,
    /// Samples up to each bound in seconds, in order; the last bound is infinite.
    delivery_times: Vec<(f64, f64)>,
}

impl MetricValues {
    /// Of a text exposition.
    pub(super) fn read(text: &str) -> Self {
        let mut read = Self::default();
        for line in text.lines().filter_map(|line| line.strip_prefix(PREFIX)) {
            let Some((name, value)) = line.rsplit_once(' ') else { continue };
            let Ok(value) = value.parse::<f64>() else { continue };
            if let Some(labels) = name.strip_prefix(DELIVERY_TIMES) {
                let bound = labels.split('"').nth(1).and_then(|bound| bound.parse().ok());
                read.delivery_times.push((bound.unwrap_or(f64::INFINITY), value));
            } else if !name.contains("_bucket{") && !LEFT_OUT.iter().any(|it| name.starts_with(it))
            {
                read.values.insert(name.to_owned(), value);
            }
        }
        read
    }

    /// The sum of a family over its labels.
    pub(super) fn sum(&self, family: &str) -> f64 {
        let of_family = self.values.range(family.to_owned()..);
        let of_family = of_family.take_while(|(name, _)| name.starts_with(family));
        let exactly =
            |name: &str| name.len() == family.len() || name.as_bytes()[family.len()] == b'{';
        of_family.filter(|(name, _)| exactly(name)).map(|(_, value)| value).sum()
    }

    /// The values, each by its name, without counters at zero.
    pub(super) fn shown(&self) -> BTreeMap<String, f64> {
        let is_shown = |name: &str, value: f64| value != 0.0 || !name.contains("_total");
        let shown = self.values.iter().filter(|(name, value)| is_shown(name, **value));
        shown.map(|(name, value)| (name.clone(), *value)).collect()
    }

    /// The time within which a share of the publications since `before` was written, by the bounds
    /// of the histogram; `None` = there were none.
    pub(super) fn delivery_time(&self, before: &Self, share: f64) -> Option<Duration> {
        let since = |(at, (bound, count)): (usize, &(f64, f64))| {
            let earlier = before.delivery_times.get(at).map_or(0.0, |(_, count)| *count);
            (*bound, count - earlier)
        };
        let counts: Vec<_> = self.delivery_times.iter().enumerate().map(since).collect();
        let wanted = counts.last().filter(|(_, all)| *all > 0.0)?.1 * share;
        let at = counts.iter().position(|(_, count)| *count >= wanted)?;
        let (below, floor) = match at {
            0 => (0.0, 0.0),
            at => counts[at - 1],
        };
        let (bound, count) = counts[at];
        if !bound.is_finite() {
            return Some(Duration::from_secs_f64(below));
        }
        let within = (wanted - floor) / (count - floor).max(1.0);
        Some(Duration::from_secs_f64(below + (bound - below) * within))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# HELP groupcast_dropped_total Dropped.\n\
        groupcast_dropped_total{reason=\"capacity\"} 3\n\
        groupcast_dropped_total{reason=\"expired\"} 4\n\
        groupcast_dropped_total_more 9\n\
        groupcast_gaps_total 2\n\
        groupcast_http_requests_total{route=\"/x\"} 5\n\
        groupcast_publish_to_write_seconds_bucket{le=\"0.001\"} 50\n\
        groupcast_publish_to_write_seconds_bucket{le=\"0.01\"} 100\n\
        groupcast_publish_to_write_seconds_bucket{le=\"+Inf\"} 100\n";

    #[test]
    fn sums_a_family_over_its_labels_alone() {
        let values = MetricValues::read(TEXT);
        assert_eq!((values.sum("dropped_total"), values.sum("gaps_total")), (7.0, 2.0));
        assert_eq!(values.sum("absent_total"), 0.0);
        assert!(values.shown().keys().all(|name| !name.starts_with("http")));
    }

    #[test]
    fn estimates_the_times_since_the_last_reading() {
        let values = MetricValues::read(TEXT);
        let half = values.delivery_time(&MetricValues::default(), 0.5);
        assert_eq!(half, Some(Duration::from_millis(1)));
        let most = values.delivery_time(&MetricValues::default(), 0.99).expect("there are some");
        assert!(most > Duration::from_millis(9) && most <= Duration::from_millis(10), "{most:?}");
        assert_eq!(values.delivery_time(&values, 0.5), None, "none since");
    }
}
