//! Events to a group of a thousand: what a delivery costs beside the bare write, one by one, and
//! whether ten by one request leave by one write.

use super::*;
use crate::event::Template;

/// Events one by one to a large group: CPU per delivery beside the control
#[derive(Debug, Args)]
pub struct Fanout {
    #[command(flatten)]
    group: Group,
    /// Measure the control alone, with frames of an assumed shape: the floor of this machine.
    #[arg(long)]
    control_only: bool,
}

/// Several events by one request: write calls and CPU per delivery
#[derive(Debug, Args)]
#[command(mut_arg("rate", |arg| arg.default_value("10")))]
pub struct Backlog {
    #[command(flatten)]
    group: Group,
    /// Events in one request.
    #[arg(long, default_value_t = 10, value_name = "N")]
    batch: usize,
}

#[derive(Debug, Args)]
struct Group {
    /// Browsers in the group.
    #[arg(long, default_value_t = 1000, value_name = "N")]
    members: usize,
    #[command(flatten)]
    events: Events,
    #[command(flatten)]
    windows: Windows,
}

/// Names of the controls, and whether they write a batch with one call.
type Controls<'a> = &'a [(&'static str, bool)];

impl Fanout {
    pub fn run(&self, bench: &Bench, report: &mut Report) -> io::Result<()> {
        self.group.measure(bench, report, 1, &[("control", false)], self.control_only)?;
        let total = "total CPU per delivery, us";
        report.ratio("total CPU, ratio", "gateway/control", total, ["gateway", "control"]);
        report.check("user CPU per delivery, us", "gateway", "user_us_per_delivery")?;
        report.check("total CPU, ratio", "gateway/control", "total_ratio_to_control")?;
        report.check("writes per delivery (metric)", "gateway", "write_calls_per_delivery")
    }
}

impl Backlog {
    pub fn run(&self, bench: &Bench, report: &mut Report) -> io::Result<()> {
        let controls = [("control, single", false), ("control, writev", true)];
        self.group.measure(bench, report, self.batch, &controls, false)?;
        report.check("writes per delivery (metric)", "gateway", "write_calls_per_delivery")?;
        report.check("total CPU per delivery, us", "gateway", "total_us_per_delivery")
    }
}

impl Group {
    fn measure(
        &self,
        bench: &Bench,
        report: &mut Report,
        batch: usize,
        controls: Controls<'_>,
        control_only: bool,
    ) -> io::Result<()> {
        let Self { members, events, windows } = self;
        limits::allow_sockets(*members)?;
        let (bytes, threads) = (events.bytes, bench.control_threads);
        let pace = Pace { rate: events.rate, batch };
        let mut template = Template::assumed(bytes);
        for round in 1..=windows.rounds {
            progress::step(&format!("round {round} of {}", windows.rounds));
            if !control_only {
                let subject = Subject::gateway(&bench.setup, bytes)?;
                let run = measure(subject, *members, pace, windows, (report, "gateway"))?;
                template = run.template()?;
                run.stop()?;
            }
            for (name, vectored) in controls {
                let subject = Subject::control(threads, &template, *vectored)?;
                measure(subject, *members, pace, windows, (report, name))?.stop()?;
            }
        }
        let (Windows { seconds, rounds }, frame) = (windows, template.frame_bytes());
        report.conditions(format!(
            "{members} members, {batch} events of {bytes} B in frames of {frame} B by one request, \
             {} requests/s, {rounds} rounds of {seconds} s, control with {threads} writers; all \
             delivered",
            events.rate
        ));
        Ok(())
    }
}
