//! The questions that are asked of a gateway: four of one alone, four of what goes through Redis.

pub mod backlog;
pub mod drain;
pub mod fanout;
pub mod idle;
pub mod idle_bridge;
pub mod native;
pub mod redis_latency;
pub mod slow;

use std::io;
use std::time::Duration;

use crate::gateway::Setup;
use crate::proc::Used;
use crate::report::Report;
use crate::run::{Pace, Run, Window};
use crate::subject::Subject;

/// Publishing before a window: caches, sockets and allocators find their sizes.
const WARM_UP: Duration = Duration::from_secs(2);

/// A token of a usual length for the scenarios that don't care.
const TOKEN_BYTES: usize = 256;

/// What all scenarios share.
#[derive(Debug, Clone)]
pub struct Surroundings {
    /// How to start the gateway.
    pub setup: Setup,
    /// Writers of the control.
    pub control_threads: usize,
}

/// The runs of one subject, turned into figures.
#[derive(Default)]
struct Series {
    user: Vec<f64>,
    total: Vec<f64>,
    writes: Vec<f64>,
    write_calls: Vec<f64>,
    p50: Vec<f64>,
    p99: Vec<f64>,
    slowest: Vec<f64>,
}

impl Series {
    fn add(&mut self, window: &Window, idle: &Used) {
        let net = window.used.less(idle);
        let deliveries = window.deliveries as f64;
        self.user.push(net.user / deliveries * 1e6);
        self.total.push(net.total / deliveries * 1e6);
        self.writes.push(window.writes / deliveries);
        self.write_calls.push(net.write_calls as f64 / deliveries);
        self.p50.push(window.latencies.percentile(50.0));
        self.p99.push(window.latencies.percentile(99.0));
        self.slowest.push(window.latencies.percentile(100.0));
    }

    fn latencies(self, report: &mut Report, subject: &'static str) {
        report.figure("latency p50, ms", subject, self.p50);
        report.figure("latency p99, ms", subject, self.p99);
        report.figure("latency max, ms", subject, self.slowest);
    }
}

/// One run of a fresh process: connect, warm up, idle window, measured window. The control is only
/// measured: it has no timer, so idle it uses nothing.
fn measure(
    subject: Subject,
    members: usize,
    pace: Pace,
    seconds: u64,
    series: &mut Series,
) -> io::Result<Run> {
    let time = Duration::from_secs(seconds);
    let doing = match &subject {
        Subject::Gateway(..) => "gateway",
        Subject::Control(_) => "control",
    };
    let idles = matches!(subject, Subject::Gateway(..));
    let mut run = Run::start(subject, members, pace, TOKEN_BYTES)?;
    run.publish(WARM_UP.min(time), "warming up")?;
    run.all_delivered()?;
    let idle = if idles { run.idle(time)? } else { Used::default() };
    series.add(&run.window(time, doing)?, &idle);
    Ok(run)
}

/// `gateway / control`, pair by pair.
fn ratios(gateway: &[f64], control: &[f64]) -> Vec<f64> {
    gateway.iter().zip(control).map(|(gateway, control)| gateway / control).collect()
}
