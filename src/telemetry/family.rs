//! Metrics with one label of a fixed set: an array, so that the hot path needs no look-up.

use std::marker::PhantomData;
use std::sync::Arc;

use metrics::{Counter, Gauge};

use super::histogram::Histogram;
use crate::event::TargetKind;

/// A label with a fixed set of values.
pub trait Label: Copy + 'static {
    /// The label's name in the exposition.
    const NAME: &'static str;
    /// Every value, in the order of [`Label::index`].
    const ALL: &'static [Self];
    /// The value in the exposition.
    fn text(self) -> &'static str;
    /// The value's place in [`Label::ALL`].
    fn index(self) -> usize;
}

/// The label values under which an enum is counted.
macro_rules! label {
    ($label:ident = $name:literal { $($value:ident = $text:literal,)+ }) => {
        impl $crate::telemetry::Label for $label {
            const NAME: &'static str = $name;
            const ALL: &'static [Self] = &[$(Self::$value,)+];

            fn text(self) -> &'static str {
                match self { $(Self::$value => $text,)+ }
            }

            fn index(self) -> usize {
                self as usize
            }
        }
    };
}

pub(crate) use label;

label!(TargetKind = "target" {
    Group = "group",
    User = "user",
    Connection = "connection",
    All = "all",
});

/// One counter for each value of `L`.
#[derive(Debug)]
pub struct Counters<L>(Box<[Counter]>, PhantomData<fn(L)>);

/// One gauge for each value of `L`.
#[derive(Debug)]
pub struct Gauges<L>(Box<[Gauge]>, PhantomData<fn(L)>);

/// One histogram for each value of `L`.
#[derive(Debug)]
pub struct Histograms<L>(Vec<Arc<Histogram>>, PhantomData<fn(L)>);

/// Counts one in a gauge until it is dropped.
#[derive(Debug)]
pub(crate) struct GaugeGuard(Gauge);

impl GaugeGuard {
    pub(crate) fn new(gauge: &Gauge) -> Self {
        gauge.increment(1.0);
        Self(gauge.clone())
    }
}

impl Drop for GaugeGuard {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}

impl<L: Label> Counters<L> {
    pub(super) fn new(register: impl FnMut(&L) -> Counter) -> Self {
        Self(L::ALL.iter().map(register).collect(), PhantomData)
    }

    /// The counter of `label`.
    pub fn of(&self, label: L) -> &Counter {
        &self.0[label.index()]
    }
}

impl<L: Label> Gauges<L> {
    pub(super) fn new(register: impl FnMut(&L) -> Gauge) -> Self {
        Self(L::ALL.iter().map(register).collect(), PhantomData)
    }

    /// The gauge of `label`.
    pub fn of(&self, label: L) -> &Gauge {
        &self.0[label.index()]
    }
}

impl<L: Label> Histograms<L> {
    pub(super) fn new(members: Vec<Arc<Histogram>>) -> Self {
        Self(members, PhantomData)
    }

    /// The histogram of `label`.
    pub fn of(&self, label: L) -> &Histogram {
        &self.0[label.index()]
    }
}
