//! Ten thousand browsers that do nothing: what each keeps resident.

use super::*;
use crate::event::{MIN_BYTES, Template};
use crate::proc::{Memory, Usage};

/// Longest wait for memory to stop moving.
const SETTLE: Duration = Duration::from_secs(15);

/// Idle connections: resident memory of each, and the CPU of connecting
#[derive(Debug, Args)]
pub struct Idle {
    /// Browsers, each with its own sub, one private group and the shared one.
    #[arg(long, default_value_t = 10_000, value_name = "N")]
    connections: usize,
    /// Length of the token in each hello, bytes.
    #[arg(long, default_value_t = 1024, value_name = "N")]
    token_bytes: usize,
    /// Fresh processes that are measured.
    #[arg(long, alias = "repeats", default_value_t = 3, value_name = "N")]
    rounds: usize,
}

impl Idle {
    pub fn run(&self, bench: &Bench, report: &mut Report) -> io::Result<()> {
        let Self { connections, token_bytes, rounds } = self;
        limits::allow_sockets(*connections)?;
        let template = Template::assumed(MIN_BYTES);
        for round in 1..=*rounds {
            progress::step(&format!("idle: {round} of {rounds}"));
            self.measure(Subject::gateway(&bench.setup, MIN_BYTES)?, report, "gateway")?;
            let control = Subject::control(bench.control_threads, &template, false)?;
            self.measure(control, report, "control")?;
        }
        report.conditions(format!(
            "{connections} connections over plain TCP, own sub, token of {token_bytes} B in the \
             hello, two groups each; {rounds} fresh processes"
        ));
        report.check("resident per connection, KiB", "gateway", "kib_per_connection")
    }

    fn measure(&self, subject: Subject, report: &mut Report, name: &'static str) -> io::Result<()> {
        let pid = subject.pid();
        let before = Memory::settled(pid, SETTLE)?;
        let usage = Usage::of(pid)?;
        let pace = Pace { rate: 1.0, batch: 1 };
        let mut run = Run::start(subject, self.connections, pace, self.token_bytes)?;
        let used = Usage::of(pid)?.since(&usage);
        progress::step("waiting for memory to settle");
        let after = Memory::settled(pid, SETTLE)?;
        run.publish_one(Instant::now())?;
        run.all_delivered()?;
        let published = Memory::settled(pid, SETTLE)?;
        run.stop()?;
        let count = self.connections as f64;
        let each = |now: u64, before: u64| now.saturating_sub(before) as f64 / count;
        let resident = each(after.resident, before.resident);
        report.add("resident per connection, KiB", name, resident);
        report.add("private per connection, KiB", name, each(after.private, before.private));
        let resident = each(published.resident, before.resident);
        report.add("resident after one event, KiB", name, resident);
        report.add("CPU per new connection, us", name, used.total / count * 1e6);
        Ok(())
    }
}
