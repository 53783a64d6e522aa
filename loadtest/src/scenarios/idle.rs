//! Ten thousand browsers that do nothing: what each keeps resident.

use std::io;
use std::time::Duration;

use clap::Args;

use super::Surroundings;
use crate::control::Writes;
use crate::event::{MIN_BYTES, Template};
use crate::limits;
use crate::proc::{Memory, Usage};
use crate::progress;
use crate::report::{IdleBudget, Report};
use crate::run::{Pace, Run};
use crate::subject::Subject;

/// Longest wait for memory to stop moving.
const SETTLE: Duration = Duration::from_secs(15);

/// Idle connections: resident memory of each, and the CPU of connecting
#[derive(Debug, Clone, Args)]
pub struct Idle {
    /// Browsers, each with its own sub, one private group and the shared one.
    #[arg(long, default_value_t = 10_000, value_name = "N")]
    pub connections: usize,
    /// Length of the token in each hello, bytes.
    #[arg(long, default_value_t = 1024, value_name = "N")]
    pub token_bytes: usize,
    /// Fresh processes that are measured.
    #[arg(long, default_value_t = 3, value_name = "N")]
    pub repeats: usize,
}

#[derive(Default)]
struct Found {
    resident: Vec<f64>,
    private: Vec<f64>,
    after_event: Vec<f64>,
    connecting: Vec<f64>,
}

impl Idle {
    /// Small enough for every build: shows that everybody gets in and gets an event.
    pub fn quick() -> Self {
        Self { connections: 200, token_bytes: 1024, repeats: 1 }
    }

    /// Runs it.
    pub fn run(&self, around: &Surroundings, budget: &IdleBudget) -> io::Result<Report> {
        limits::allow_sockets(self.connections)?;
        let (mut gateway, mut control) = (Found::default(), Found::default());
        for repeat in 1..=self.repeats {
            progress::step(&format!("idle: {repeat} of {}", self.repeats));
            self.one(Subject::gateway(&around.setup, MIN_BYTES)?, &mut gateway)?;
            let template = Template::assumed(MIN_BYTES);
            let subject = Subject::control(around.control_threads, template, Writes::Single)?;
            self.one(subject, &mut control)?;
        }
        progress::end();
        let Self { connections, token_bytes, repeats } = self;
        let mut report = Report::new(
            "idle",
            format!(
                "{connections} connections over plain TCP, own sub, token of {token_bytes} B in the \
                 hello, two groups each; {repeats} fresh processes"
            ),
        );
        let bar = budget.kib_per_connection;
        report.bar("resident per connection, KiB", "gateway", gateway.resident, bar);
        report.figure("resident per connection, KiB", "control", control.resident);
        report.figure("private per connection, KiB", "gateway", gateway.private);
        report.figure("resident after one event, KiB", "gateway", gateway.after_event);
        report.figure("CPU per new connection, us", "gateway", gateway.connecting);
        report.figure("CPU per new connection, us", "control", control.connecting);
        Ok(report)
    }

    fn one(&self, subject: Subject, found: &mut Found) -> io::Result<()> {
        let pid = subject.pid();
        let before = Memory::settled(pid, SETTLE)?;
        let usage = Usage::of(pid)?;
        let pace = Pace { rate: 1.0, batch: 1 };
        let mut run = Run::start(subject, self.connections, pace, self.token_bytes)?;
        let used = Usage::of(pid)?.since(&usage);
        progress::step("waiting for memory to settle");
        let after = Memory::settled(pid, SETTLE)?;
        run.publish_now()?;
        run.all_delivered()?;
        let touched = Memory::settled(pid, SETTLE)?;
        run.stop()?;
        let count = self.connections as f64;
        let each = |now: u64, before: u64| now.saturating_sub(before) as f64 / count;
        found.resident.push(each(after.resident, before.resident));
        found.private.push(each(after.private, before.private));
        found.after_event.push(each(touched.resident, before.resident));
        found.connecting.push(used.total / count * 1e6);
        Ok(())
    }
}
