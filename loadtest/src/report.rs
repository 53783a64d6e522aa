//! Figures of all runs: a table for people, JSON for machines, and the budgets they must keep.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use serde::Serialize;
use serde_json::json;

use crate::limits;
use crate::stats::{Latencies, Spread};

/// What one scenario measured.
pub struct Report {
    scenario: &'static str,
    conditions: String,
    figures: Vec<Figure>,
    checks: Vec<Check>,
}

struct Figure {
    name: String,
    subject: &'static str,
    runs: Vec<f64>,
}

#[derive(Serialize)]
struct Check {
    name: &'static str,
    median: f64,
    at_most: f64,
    kept: bool,
}

impl Report {
    pub fn new(scenario: &'static str) -> Self {
        Self { scenario, conditions: String::new(), figures: Vec::new(), checks: Vec::new() }
    }

    /// States under which conditions all was measured.
    pub fn conditions(&mut self, text: String) {
        self.conditions = text;
    }

    /// Adds a figure's value of one more run.
    pub fn add(&mut self, name: impl Into<String>, subject: &'static str, value: f64) {
        let name = name.into();
        let known = self.figures.iter_mut().find(|f| f.name == name && f.subject == subject);
        match known {
            Some(figure) => figure.runs.push(value),
            None => self.figures.push(Figure { name, subject, runs: vec![value] }),
        }
    }

    /// Adds the percentiles of one more run.
    pub fn add_latencies(&mut self, subject: &'static str, latencies: &Latencies) {
        self.add("latency p50, ms", subject, latencies.percentile(50.0));
        self.add("latency p99, ms", subject, latencies.percentile(99.0));
    }

    /// Adds a figure of `figure`'s ratios between two subjects, run by run.
    pub fn ratio(&mut self, name: &str, label: &'static str, figure: &str, of: [&'static str; 2]) {
        let [above, below] = of.map(|subject| self.runs(figure, subject).to_vec());
        for (above, below) in above.iter().zip(below) {
            self.add(name, label, above / below);
        }
    }

    /// What was added of a figure so far.
    pub fn runs(&self, name: &str, subject: &str) -> &[f64] {
        let figure = self.figures.iter().find(|f| f.name == name && f.subject == subject);
        figure.map_or(&[], |figure| &figure.runs)
    }

    /// Compares the median of a figure with `key` of the scenario's section in `budgets.toml`.
    pub fn check(&mut self, name: &'static str, subject: &str, key: &str) -> io::Result<()> {
        let at_most = budget(self.scenario, key)?;
        if let Some(Spread { median, .. }) = Spread::of(self.runs(name, subject)) {
            self.checks.push(Check { name, median, at_most, kept: median <= at_most });
        }
        Ok(())
    }

    /// For a quick run, which shows that all is delivered and measures nothing.
    pub fn drop_checks(&mut self) {
        self.conditions.push_str("; quick: the figures mean nothing");
        self.checks.clear();
    }

    pub fn within_budget(&self) -> bool {
        self.checks.iter().all(|check| check.kept)
    }

    /// Figures of one name are grouped, in the order in which names were first added.
    fn sorted(&self) -> Vec<&Figure> {
        let mut figures: Vec<_> = self.figures.iter().collect();
        figures.sort_by_key(|figure| self.figures.iter().position(|f| f.name == figure.name));
        figures
    }

    pub fn text(&self) -> String {
        let row = |name: &str, subject: &str, columns: [String; 3]| {
            let [median, min, max] = columns;
            format!("  {name:<38} {subject:<16} {median:>10} {min:>10} {max:>10}\n")
        };
        let mut out = format!("\n{}: {}\n", self.scenario, self.conditions);
        out += &row("figure", "subject", ["median", "min", "max"].map(str::to_owned));
        for Figure { name, subject, runs } in self.sorted() {
            let Some(Spread { median, min, max }) = Spread::of(runs) else { continue };
            out += &row(name, subject, [median, min, max].map(|value| format!("{value:.3}")));
        }
        for Check { name, median, at_most, kept } in &self.checks {
            let verdict = if *kept { "within  " } else { "EXCEEDED" };
            out += &format!("  {verdict} {name}: {median:.3}, at most {at_most}\n");
        }
        out
    }

    fn json(&self) -> serde_json::Value {
        let figure = |Figure { name, subject, runs }: &Figure| {
            let Spread { median, min, max } = Spread::of(runs)?;
            Some(json!({
                "name": name, "subject": subject,
                "median": median, "min": min, "max": max, "runs": runs,
            }))
        };
        let figures: Vec<_> = self.sorted().into_iter().filter_map(figure).collect();
        let Self { scenario, conditions, checks, .. } = self;
        json!({
            "scenario": scenario, "conditions": conditions, "figures": figures, "checks": checks,
        })
    }
}

fn budget(scenario: &str, key: &str) -> io::Result<f64> {
    type Budgets = BTreeMap<String, BTreeMap<String, f64>>;
    let budgets: Budgets = toml::from_str(include_str!("../budgets.toml"))
        .map_err(|e| io::Error::other(format!("budgets.toml: {e}")))?;
    let found = budgets.get(scenario).and_then(|section| section.get(key));
    found.copied().ok_or_else(|| io::Error::other(format!("budgets.toml has no {scenario}.{key}")))
}

/// Writes `reports` and what the machine is to `path`.
pub fn write_json(path: &Path, reports: &[Report]) -> io::Result<()> {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let document = json!({
        "cores": limits::cores(),
        "cpu": model.map_or("unknown", |(_, model)| model),
        "kernel": fs::read_to_string("/proc/sys/kernel/osrelease")?.trim(),
        "reports": reports.iter().map(Report::json).collect::<Vec<_>>(),
    });
    fs::write(path, serde_json::to_string_pretty(&document)? + "\n")
        .map_err(|e| io::Error::other(format!("cannot write {}: {e}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compares_a_budget_with_the_median_run() {
        let mut report = Report::new("slow");
        let mut verdict = |runs: [f64; 3]| {
            runs.iter().for_each(|value| report.add("shift", "gateway", *value));
            report.check("shift", "gateway", "p99_shift").unwrap();
            report.within_budget()
        };
        assert!(verdict([0.05, 0.1, 9.0]));
        assert!(!verdict([0.2, 0.2, 0.2]));
        assert!(report.text().contains("EXCEEDED shift: 0.200, at most 0.1"), "{}", report.text());
        assert!(report.check("shift", "gateway", "p99").is_err());
    }

    #[test]
    fn computes_ratios_per_run_and_groups_figures_by_name() {
        let mut report = Report::new("fanout");
        for (gateway, control) in [(3.0, 2.0), (8.0, 4.0)] {
            report.add("CPU", "gateway", gateway);
            report.add("writes", "gateway", 1.0);
            report.add("CPU", "control", control);
        }
        report.ratio("ratio", "gateway/control", "CPU", ["gateway", "control"]);
        assert_eq!(report.runs("ratio", "gateway/control"), [1.5, 2.0]);
        let names = report.sorted().into_iter().map(|figure| figure.name.as_str());
        assert_eq!(names.collect::<Vec<_>>(), ["CPU", "CPU", "writes", "ratio"]);
    }
}
