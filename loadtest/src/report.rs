//! Results: a table for people, JSON for machines, and what they are held against.

use std::borrow::Cow;
use std::fs;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::stats::Spread;

/// The bars, as in `budgets.toml`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Budgets {
    pub fanout: FanoutBudget,
    pub backlog: BacklogBudget,
    pub idle: IdleBudget,
    pub slow: SlowBudget,
    pub drain: DrainBudget,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FanoutBudget {
    pub user_us_per_delivery: f64,
    pub total_ratio_to_control: f64,
    pub write_calls_per_delivery: f64,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BacklogBudget {
    pub write_calls_per_delivery: f64,
    pub total_us_per_delivery: f64,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IdleBudget {
    pub kib_per_connection: f64,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SlowBudget {
    pub p99_shift: f64,
    pub outbox_kib: f64,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DrainBudget {
    pub lost_to_full_mailboxes: f64,
}

impl Budgets {
    /// The ones this program was built with.
    pub fn load() -> io::Result<Self> {
        toml::from_str(include_str!("../budgets.toml"))
            .map_err(|e| io::Error::other(format!("budgets.toml: {e}")))
    }
}

/// What one scenario found.
#[derive(Debug, Serialize)]
pub struct Report {
    scenario: &'static str,
    conditions: String,
    figures: Vec<Figure>,
    checks: Vec<Check>,
}

#[derive(Debug, Serialize)]
struct Figure {
    name: Cow<'static, str>,
    subject: &'static str,
    #[serde(flatten)]
    spread: Spread,
}

#[derive(Debug, Serialize)]
struct Check {
    name: &'static str,
    median: f64,
    at_most: f64,
    kept: bool,
}

impl Report {
    /// Of `scenario`, under `conditions` in words.
    pub fn new(scenario: &'static str, conditions: String) -> Self {
        Self { scenario, conditions, figures: Vec::new(), checks: Vec::new() }
    }

    /// Adds a figure with its value in each run; one without runs is left out.
    pub fn figure(
        &mut self,
        name: impl Into<Cow<'static, str>>,
        subject: &'static str,
        runs: Vec<f64>,
    ) {
        if let Some(spread) = Spread::of(runs) {
            self.figures.push(Figure { name: name.into(), subject, spread });
        }
    }

    /// Holds the median of `runs` against a bar, beside showing it.
    pub fn bar(&mut self, name: &'static str, subject: &'static str, runs: Vec<f64>, at_most: f64) {
        let Some(Spread { median, .. }) = Spread::of(runs.clone()) else { return };
        self.checks.push(Check { name, median, at_most, kept: median <= at_most });
        self.figure(name, subject, runs);
    }

    /// Leaves the bars out: of a quick run, which shows that all is delivered and measures nothing.
    pub fn unjudged(mut self) -> Self {
        self.conditions.push_str("; quick: the figures mean nothing");
        self.checks.clear();
        self
    }

    /// Whether every bar was kept.
    pub fn kept(&self) -> bool {
        self.checks.iter().all(|check| check.kept)
    }

    /// The table.
    pub fn text(&self) -> String {
        let Self { scenario, conditions, .. } = self;
        let mut out = format!("\n{scenario}: {conditions}\n");
        let head = ("figure", "subject", "median", "min", "max");
        out.push_str(&format!(
            "  {:<38} {:<16} {:>10} {:>10} {:>10}\n",
            head.0, head.1, head.2, head.3, head.4
        ));
        for Figure { name, subject, spread: Spread { median, min, max, .. } } in &self.figures {
            out.push_str(&format!(
                "  {name:<38} {subject:<16} {median:>10.3} {min:>10.3} {max:>10.3}\n"
            ));
        }
        for Check { name, median, at_most, kept } in &self.checks {
            let verdict = if *kept { "kept  " } else { "MISSED" };
            out.push_str(&format!("  {verdict} {name}: {median:.3}, at most {at_most}\n"));
        }
        out
    }
}

/// Writes `reports` and what the machine is to `path`.
pub fn write_json(path: &Path, reports: &[Report]) -> io::Result<()> {
    #[derive(Serialize)]
    struct Document<'a> {
        cores: usize,
        cpu: String,
        kernel: String,
        reports: &'a [Report],
    }
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let document = Document {
        cores: crate::limits::cores(),
        cpu: model.map_or("unknown", |(_, model)| model).to_owned(),
        kernel: fs::read_to_string("/proc/sys/kernel/osrelease")?.trim().to_owned(),
        reports,
    };
    fs::write(path, serde_json::to_string_pretty(&document)? + "\n")
        .map_err(|e| io::Error::other(format!("cannot write {}: {e}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_budgets_can_be_read() {
        assert!(Budgets::load().unwrap().fanout.total_ratio_to_control > 1.0);
    }

    #[test]
    fn a_bar_is_held_against_the_median_and_not_the_worst() {
        let mut report = Report::new("x", String::new());
        report.bar("a", "gateway", vec![1.0, 1.1, 9.0], 1.1);
        assert!(report.kept());
        report.bar("b", "gateway", vec![1.0, 1.2, 1.2], 1.1);
        assert!(!report.kept() && report.text().contains("MISSED b: 1.200, at most 1.1"));
    }
}
