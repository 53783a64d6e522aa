//! Creates the handles of metrics with their descriptions.

use metrics::{Counter, Gauge, Key, Level, Metadata, Recorder, Unit};
use metrics_exporter_prometheus::PrometheusRecorder;

use super::family::{Counters, Gauges, Label};

/// Registers metrics on one recorder, with unit and description.
pub(super) struct MetricRegistry<'a>(&'a PrometheusRecorder);

impl<'a> MetricRegistry<'a> {
    pub(super) fn new(recorder: &'a PrometheusRecorder) -> Self {
        Self(recorder)
    }

    pub(super) fn counters<L: Label>(&self, name: &str, description: &'static str) -> Counters<L> {
        Counters::new(|label: &L| {
            self.counter(name, Unit::Count, description, &[(L::NAME, label.text())])
        })
    }

    pub(super) fn gauges<L: Label>(&self, name: &str, description: &'static str) -> Gauges<L> {
        Gauges::new(|label: &L| {
            self.gauge(name, Unit::Count, description, &[(L::NAME, label.text())])
        })
    }

    pub(super) fn count(&self, name: &str, description: &'static str) -> Counter {
        self.counter(name, Unit::Count, description, &[])
    }

    pub(super) fn measure(&self, name: &str, description: &'static str) -> Gauge {
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
        self.0.describe_counter(key.name_shared(), Some(unit), description.into());
        self.0.register_counter(&key, &METADATA)
    }

    pub(super) fn gauge(
        &self,
        name: &str,
        unit: Unit,
        description: &'static str,
        labels: &[(&'static str, &str)],
    ) -> Gauge {
        let key = key(name, labels);
        self.0.describe_gauge(key.name_shared(), Some(unit), description.into());
        self.0.register_gauge(&key, &METADATA)
    }
}

static METADATA: Metadata<'static> =
    Metadata::new(module_path!(), Level::INFO, Some(module_path!()));

fn key(name: &str, labels: &[(&'static str, &str)]) -> Key {
    let labels: Vec<_> = labels
        .iter()
        .map(|(name, value)| metrics::Label::new(*name, (*value).to_owned()))
        .collect();
    Key::from_parts(format!("groupcast_{name}"), labels)
}

/// Appends the head of a histogram, which the recorder does not manage.
pub(super) fn header(name: &str, description: &str, out: &mut String) {
    out.push_str(&format!("# HELP {name} {description}\n# TYPE {name} histogram\n"));
}
