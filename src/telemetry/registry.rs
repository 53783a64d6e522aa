//! Creates the handles of metrics with their descriptions.

use std::sync::Arc;

use metrics::{Counter, Gauge, Key, Level, Metadata, Recorder, Unit};
use metrics_exporter_prometheus::PrometheusRecorder;
use parking_lot::Mutex;

use super::family::{Counters, Gauges, Histograms, Label};
use super::histogram::Histogram;

/// Precedes the name of every metric.
const PREFIX: &str = "groupcast_";

/// Histograms that rooms have registered, in that order.
pub(super) type Families = Mutex<Vec<HistogramFamily>>;

/// The histograms of one name, which differ in a label.
pub(super) struct HistogramFamily {
    name: &'static str,
    description: &'static str,
    /// Each with its label as in the exposition.
    members: Vec<(String, Arc<Histogram>)>,
}

/// Registers metrics with unit and description. Registered again, a name is the same metric.
pub struct MetricRegistry<'a> {
    recorder: &'a PrometheusRecorder,
    families: &'a Families,
}

impl<'a> MetricRegistry<'a> {
    pub(super) fn new(recorder: &'a PrometheusRecorder, families: &'a Families) -> Self {
        Self { recorder, families }
    }

    /// One histogram of durations for each value of `L`.
    pub fn histograms<L: Label>(
        &self,
        name: &'static str,
        description: &'static str,
    ) -> Histograms<L> {
        let mut families = self.families.lock();
        let known = families.iter().position(|family| family.name == name);
        let at = known.unwrap_or_else(|| {
            families.push(HistogramFamily::new::<L>(name, description));
            families.len() - 1
        });
        let members = families[at].members.iter();
        Histograms::new(members.map(|(_, histogram)| Arc::clone(histogram)).collect())
    }

    /// One counter for each value of `L`.
    pub fn counters<L: Label>(&self, name: &str, description: &'static str) -> Counters<L> {
        Counters::new(|label: &L| {
            self.counter(name, Unit::Count, description, &[(L::NAME, label.text())])
        })
    }

    /// One gauge for each value of `L`.
    pub fn gauges<L: Label>(&self, name: &str, description: &'static str) -> Gauges<L> {
        Gauges::new(|label: &L| {
            self.gauge(name, Unit::Count, description, &[(L::NAME, label.text())])
        })
    }

    /// A counter.
    pub fn count(&self, name: &str, description: &'static str) -> Counter {
        self.counter(name, Unit::Count, description, &[])
    }

    /// A gauge.
    pub fn measure(&self, name: &str, description: &'static str) -> Gauge {
        self.gauge(name, Unit::Count, description, &[])
    }

    pub(super) fn counter(
        &self,
        name: &str,
        unit: Unit,
        description: &'static str,
        labels: &[(&'static str, &str)],
    ) -> Counter {
        let key = key(name, labels);
        self.recorder.describe_counter(key.name_shared(), Some(unit), description.into());
        self.recorder.register_counter(&key, &METADATA)
    }

    pub(super) fn gauge(
        &self,
        name: &str,
        unit: Unit,
        description: &'static str,
        labels: &[(&'static str, &str)],
    ) -> Gauge {
        let key = key(name, labels);
        self.recorder.describe_gauge(key.name_shared(), Some(unit), description.into());
        self.recorder.register_gauge(&key, &METADATA)
    }
}

impl HistogramFamily {
    fn new<L: Label>(name: &'static str, description: &'static str) -> Self {
        let label = |value: &L| format!("{}=\"{}\",", L::NAME, value.text());
        let members = L::ALL.iter().map(|value| (label(value), Arc::default()));
        Self { name, description, members: members.collect() }
    }

    /// Appends the exposition.
    pub(super) fn render(&self, out: &mut String) {
        let name = format!("{PREFIX}{}", self.name);
        header(&name, self.description, out);
        for (label, histogram) in &self.members {
            histogram.render(&name, label, out);
        }
    }
}

static METADATA: Metadata<'static> =
    Metadata::new(module_path!(), Level::INFO, Some(module_path!()));

fn key(name: &str, labels: &[(&'static str, &str)]) -> Key {
    let labels: Vec<_> = labels
        .iter()
        .map(|(name, value)| metrics::Label::new(*name, (*value).to_owned()))
        .collect();
    Key::from_parts(format!("{PREFIX}{name}"), labels)
}

/// Appends the head of a histogram, which the recorder does not manage.
pub(super) fn header(name: &str, description: &str, out: &mut String) {
    out.push_str(&format!("# HELP {name} {description}\n# TYPE {name} histogram\n"));
}
