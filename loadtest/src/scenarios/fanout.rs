//! One event at a time to a group of a thousand: what a delivery costs, beside the bare write.

use std::io;

use clap::Args;

use super::{Series, Surroundings, measure, ratios};
use crate::control::Writes;
use crate::event::{MIN_BYTES, Template};
use crate::limits;
use crate::progress;
use crate::report::{FanoutBudget, Report};
use crate::run::Pace;
use crate::subject::Subject;

/// Events one by one to a large group: CPU per delivery beside the control
#[derive(Debug, Clone, Args)]
pub struct Fanout {
    /// Browsers in the group.
    #[arg(long, default_value_t = 1000, value_name = "N")]
    pub members: usize,
    /// Length of an event, bytes of JSON.
    #[arg(long, default_value_t = 200, value_name = "N")]
    pub bytes: usize,
    /// Events a second.
    #[arg(long, default_value_t = 25.0, value_name = "N")]
    pub rate: f64,
    /// Length of a measured window; the idle window before it is as long.
    #[arg(long, default_value_t = 20, value_name = "S")]
    pub seconds: u64,
    /// Pairs of runs, gateway then control.
    #[arg(long, default_value_t = 5, value_name = "N")]
    pub pairs: usize,
    /// Measure the control alone, with frames of an assumed shape: the floor of this machine.
    #[arg(long)]
    pub control_only: bool,
}

impl Fanout {
    /// Small enough for every build: shows that all is delivered, measures nothing.
    pub fn quick() -> Self {
        let control_only = false;
        Self { members: 50, bytes: 200, rate: 25.0, seconds: 1, pairs: 1, control_only }
    }

    /// Runs it.
    pub fn run(&self, around: &Surroundings, budget: &FanoutBudget) -> io::Result<Report> {
        limits::allow_sockets(self.members)?;
        let bytes = self.bytes.max(MIN_BYTES);
        let pace = Pace { rate: self.rate, batch: 1 };
        let (mut gateway, mut control) = (Series::default(), Series::default());
        let mut template = Template::assumed(bytes);
        for pair in 1..=self.pairs {
            progress::step(&format!("fanout: pair {pair} of {}", self.pairs));
            if !self.control_only {
                let subject = Subject::gateway(&around.setup, bytes)?;
                let run = measure(subject, self.members, pace, self.seconds, &mut gateway)?;
                template = run.template()?;
                run.stop()?;
            }
            let threads = around.control_threads;
            let subject = Subject::control(threads, template.clone(), Writes::Single)?;
            measure(subject, self.members, pace, self.seconds, &mut control)?.stop()?;
        }
        progress::end();
        Ok(self.report(gateway, control, &template, around, budget))
    }

    fn report(
        &self,
        gateway: Series,
        control: Series,
        template: &Template,
        around: &Surroundings,
        budget: &FanoutBudget,
    ) -> Report {
        let Self { members, bytes, rate, seconds, pairs, .. } = self;
        let (frame, threads) = (template.len(), around.control_threads);
        let mut report = Report::new(
            "fanout",
            format!(
                "{members} members, events of {bytes} B in frames of {frame} B, {rate}/s, {pairs} \
                 pairs of {seconds} s, control with {threads} writers; all delivered"
            ),
        );
        let user = budget.user_us_per_delivery;
        report.bar("user CPU per delivery, us", "gateway", gateway.user.clone(), user);
        report.figure("user CPU per delivery, us", "control", control.user.clone());
        report.figure("total CPU per delivery, us", "gateway", gateway.total.clone());
        report.figure("total CPU per delivery, us", "control", control.total.clone());
        let ratio = ratios(&gateway.total, &control.total);
        let bar = budget.total_ratio_to_control;
        report.bar("total CPU, ratio", "gateway/control", ratio, bar);
        let writes = budget.write_calls_per_delivery;
        report.bar("writes per delivery (metric)", "gateway", gateway.writes.clone(), writes);
        report.figure("writes per delivery (kernel)", "gateway", gateway.write_calls.clone());
        gateway.latencies(&mut report, "gateway");
        control.latencies(&mut report, "control");
        report
    }
}
