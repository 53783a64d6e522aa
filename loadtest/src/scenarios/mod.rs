//! What is measured: four scenarios of one gateway alone, four of what goes through Redis.

pub mod drain;
pub mod fanout;
pub mod idle;
pub mod idle_channels;
pub mod native;
pub mod redis_latency;
pub mod slow;

use std::io;
use std::time::{Duration, Instant};

use clap::Args;

use crate::gateway::{self, Setup};
use crate::proc::Used;
use crate::redis::{self, RedisServer};
use crate::report::Report;
use crate::run::{Pace, Run};
use crate::subject::Subject;
use crate::{clients, limits, progress};

/// Publishing before a window: caches, sockets and allocators find their sizes.
const WARM_UP: Duration = Duration::from_secs(2);

/// A token of a usual length for the scenarios that don't care.
const TOKEN_BYTES: usize = 256;

/// What all scenarios share.
pub struct Bench {
    /// How to start the gateway.
    pub setup: Setup,
    /// Writers of the control.
    pub control_threads: usize,
}

/// How long and how often.
#[derive(Debug, Clone, Args)]
pub struct Windows {
    /// Length of a measured window; the idle window before it is as long.
    #[arg(long, default_value_t = 20, value_name = "S")]
    pub seconds: u64,
    /// Rounds, each with fresh processes; what is compared alternates within.
    #[arg(long, aliases = ["pairs", "windows"], default_value_t = 5, value_name = "N")]
    pub rounds: usize,
}

/// What is published.
#[derive(Debug, Clone, Args)]
pub struct Events {
    /// Length of an event, bytes of JSON.
    #[arg(long, default_value_t = 200, value_name = "N")]
    pub bytes: usize,
    /// Requests, or events, a second.
    #[arg(long, default_value_t = 25.0, value_name = "N")]
    pub rate: f64,
}

impl Windows {
    pub fn time(&self) -> Duration {
        Duration::from_secs(self.seconds)
    }

    pub fn warm_up(&self) -> Duration {
        WARM_UP.min(self.time())
    }
}

/// One run of a fresh process: connect, warm up, idle window, measured window. The control is only
/// measured: it has no timer, so idle it uses nothing.
fn measure(
    subject: Subject,
    members: usize,
    pace: Pace,
    windows: &Windows,
    (report, name): (&mut Report, &'static str),
) -> io::Result<Run> {
    let is_gateway = matches!(subject, Subject::Gateway(..));
    let mut run = Run::start(subject, members, pace, TOKEN_BYTES)?;
    run.publish(windows.warm_up(), "warming up")?;
    run.all_delivered()?;
    let mut idle = Used::default();
    if is_gateway {
        idle = run.used(|_| progress::wait(windows.time(), "idle baseline"))?;
    }
    let writes = run.subject.counter("groupcast_writes_total")?;
    let delivered = run.clients.delivered();
    run.clients.sample(0..members);
    let used = run.used(|run| {
        run.publish(windows.time(), name)?;
        run.all_delivered()
    })?;
    let (net, deliveries) = (used.less(&idle), (run.clients.delivered() - delivered) as f64);
    let writes = run.subject.counter("groupcast_writes_total")? - writes;
    let latencies = run.clients.latencies();
    report.add("user CPU per delivery, us", name, net.user / deliveries * 1e6);
    report.add("total CPU per delivery, us", name, net.total / deliveries * 1e6);
    if is_gateway {
        report.add("writes per delivery (metric)", name, writes / deliveries);
        report.add("writes per delivery (kernel)", name, net.write_calls / deliveries);
    }
    report.add_latencies(name, &latencies);
    report.add("latency max, ms", name, latencies.percentile(100.0));
    Ok(run)
}
