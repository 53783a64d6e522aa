//! Ten events by one request: whether they leave by one write.

use std::io;

use clap::Args;

use super::{Series, Surroundings, measure};
use crate::control::Writes;
use crate::event::{MIN_BYTES, Template};
use crate::limits;
use crate::progress;
use crate::report::{BacklogBudget, Report};
use crate::run::Pace;
use crate::subject::Subject;

/// Several events by one request: write calls and CPU per delivery
#[derive(Debug, Clone, Args)]
pub struct Backlog {
    /// Browsers in the group.
    #[arg(long, default_value_t = 1000, value_name = "N")]
    pub members: usize,
    /// Length of an event, bytes of JSON.
    #[arg(long, default_value_t = 200, value_name = "N")]
    pub bytes: usize,
    /// Events in one request.
    #[arg(long, default_value_t = 10, value_name = "N")]
    pub batch: usize,
    /// Requests a second.
    #[arg(long, default_value_t = 10.0, value_name = "N")]
    pub rate: f64,
    /// Length of a measured window; the idle window before it is as long.
    #[arg(long, default_value_t = 20, value_name = "S")]
    pub seconds: u64,
    /// Rounds of runs: gateway, control one by one, control with one writev.
    #[arg(long, default_value_t = 5, value_name = "N")]
    pub pairs: usize,
}

impl Backlog {
    /// Small enough for every build: shows that all is delivered, measures nothing.
    pub fn quick() -> Self {
        Self { members: 50, bytes: 200, batch: 10, rate: 10.0, seconds: 1, pairs: 1 }
    }

    /// Runs it.
    pub fn run(&self, around: &Surroundings, budget: &BacklogBudget) -> io::Result<Report> {
        limits::allow_sockets(self.members)?;
        let bytes = self.bytes.max(MIN_BYTES);
        let pace = Pace { rate: self.rate, batch: self.batch };
        let [mut gateway, mut single, mut vectored] = [(); 3].map(|()| Series::default());
        for pair in 1..=self.pairs {
            progress::step(&format!("backlog: round {pair} of {}", self.pairs));
            let subject = Subject::gateway(&around.setup, bytes)?;
            let run = measure(subject, self.members, pace, self.seconds, &mut gateway)?;
            let template: Template = run.template()?;
            run.stop()?;
            for (writes, series) in
                [(Writes::Single, &mut single), (Writes::Vectored, &mut vectored)]
            {
                let threads = around.control_threads;
                let subject = Subject::control(threads, template.clone(), writes)?;
                measure(subject, self.members, pace, self.seconds, series)?.stop()?;
            }
        }
        progress::end();
        Ok(self.report(gateway, single, vectored, around, budget))
    }

    fn report(
        &self,
        gateway: Series,
        single: Series,
        vectored: Series,
        around: &Surroundings,
        budget: &BacklogBudget,
    ) -> Report {
        let Self { members, bytes, batch, rate, seconds, pairs } = self;
        let threads = around.control_threads;
        let mut report = Report::new(
            "backlog",
            format!(
                "{members} members, {batch} events of {bytes} B by one request, {rate} requests/s, \
                 {pairs} rounds of {seconds} s, control with {threads} writers; all delivered"
            ),
        );
        let writes = budget.write_calls_per_delivery;
        report.bar("writes per delivery (metric)", "gateway", gateway.writes.clone(), writes);
        report.figure("writes per delivery (kernel)", "gateway", gateway.write_calls.clone());
        let total = budget.total_us_per_delivery;
        report.bar("total CPU per delivery, us", "gateway", gateway.total.clone(), total);
        report.figure("total CPU per delivery, us", "control, single", single.total.clone());
        report.figure("total CPU per delivery, us", "control, writev", vectored.total.clone());
        report.figure("user CPU per delivery, us", "gateway", gateway.user.clone());
        report.figure("user CPU per delivery, us", "control, single", single.user.clone());
        report.figure("user CPU per delivery, us", "control, writev", vectored.user.clone());
        gateway.latencies(&mut report, "gateway");
        single.latencies(&mut report, "control, single");
        vectored.latencies(&mut report, "control, writev");
        report
    }
}
