//! What Django's channel layer sends, drained and delivered: at a steady rate, then as much as goes.

use std::io;
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;

use super::{Surroundings, WARM_UP, ratios};
use crate::clients;
use crate::cluster::{Cluster, Meter};
use crate::event::MIN_BYTES;
use crate::gateway;
use crate::limits;
use crate::proc::Used;
use crate::progress;
use crate::redis::Server;
use crate::redis::bare::BareDrain;
use crate::redis::group_send::Settings;
use crate::report::{DrainBudget, Report};
use crate::senders::{Senders, Sending};
use crate::stats::Latencies;

/// How long nothing may arrive before what Redis took counts as lost.
const PATIENCE: Duration = Duration::from_secs(5);

/// A rate is held if so much of it was sent, and all of it delivered so soon after the last was sent.
const ON_PACE: f64 = 0.98;
const CAUGHT_UP: Duration = Duration::from_secs(1);

/// Each step of the search for the ceiling asks for so much more than the one before.
const STEP: f64 = 1.25;
const MOST_STEPS: usize = 20;

/// Unchanged group_sends to many groups: none lost at a steady rate, then the highest rate
#[derive(Debug, Clone, Args)]
pub struct Drain {
    /// Groups, each with one browser.
    #[arg(long, default_value_t = 100, value_name = "N")]
    pub groups: usize,
    /// Length of an event, bytes of JSON.
    #[arg(long, default_value_t = 200, value_name = "N")]
    pub bytes: usize,
    /// group_sends a second, all senders together.
    #[arg(long, default_value_t = 5000.0, value_name = "N")]
    pub rate: f64,
    /// Senders, each with a connection that it keeps.
    #[arg(long, default_value_t = 8, value_name = "N")]
    pub senders: usize,
    /// Gateways that share the mailboxes and the browsers.
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub instances: usize,
    /// Django's capacity.
    #[arg(long, default_value_t = 100, value_name = "N")]
    pub capacity: u32,
    /// Length of the window at the steady rate; the idle window before it is as long.
    #[arg(long, default_value_t = 20, value_name = "S")]
    pub seconds: u64,
    /// Length of each step up; 0 leaves the search for the ceiling out.
    #[arg(long, default_value_t = 4, value_name = "S")]
    pub step_seconds: u64,
    /// Pairs of runs, gateway then control.
    #[arg(long, default_value_t = 3, value_name = "N")]
    pub pairs: usize,
    /// Measure the control alone: what senders and Redis can do on this machine.
    #[arg(long)]
    pub control_only: bool,
}

/// Who drains.
enum Drainer {
    Gateways(Cluster),
    Bare(BareDrain),
}

/// One Redis with its senders and who drains it.
struct Bench {
    drainer: Drainer,
    senders: Senders,
    redis: Server,
}

struct Window {
    sending: Sending,
    /// From the last group_send until all were delivered.
    behind: Duration,
    gateway: Used,
    redis: Used,
    gaps: u64,
    latencies: Latencies,
}

#[derive(Default)]
struct Found {
    rate: Vec<f64>,
    full: Vec<f64>,
    gaps: Vec<f64>,
    gateway: Vec<f64>,
    redis: Vec<f64>,
    senders: Vec<f64>,
    p50: Vec<f64>,
    p99: Vec<f64>,
    ceiling: Vec<f64>,
    ended_by: Vec<&'static str>,
}

impl Drain {
    /// Small enough for every build: shows that all is delivered, measures nothing.
    pub fn quick() -> Self {
        Self {
            groups: 20,
            bytes: 200,
            rate: 400.0,
            senders: 2,
            instances: 2,
            capacity: 100,
            seconds: 1,
            step_seconds: 0,
            pairs: 1,
            control_only: false,
        }
    }

    /// Runs it.
    pub fn run(&self, around: &Surroundings, budget: &DrainBudget) -> io::Result<Report> {
        limits::allow_sockets(self.groups)?;
        let (mut gateway, mut control) = (Found::default(), Found::default());
        for pair in 1..=self.pairs {
            progress::step(&format!("drain: pair {pair} of {}", self.pairs));
            if !self.control_only {
                let Self { instances, groups, capacity, .. } = *self;
                let start = |redis: &Server| {
                    Cluster::start(&around.setup, redis, Some(capacity), instances, groups)
                        .map(Drainer::Gateways)
                };
                self.one(start, &mut gateway)?;
            }
            let start = |redis: &Server| {
                BareDrain::start(redis.address(), &self.names()).map(Drainer::Bare)
            };
            self.one(start, &mut control)?;
        }
        progress::end();
        Ok(self.report(gateway, control, budget))
    }

    fn names(&self) -> Vec<String> {
        (0..self.groups).map(gateway::private_group).collect()
    }

    /// A fresh Redis and drainer: the steady window, then steps up until one is not held.
    fn one(
        &self,
        start: impl FnOnce(&Server) -> io::Result<Drainer>,
        found: &mut Found,
    ) -> io::Result<()> {
        let redis = Server::start()?;
        let drainer = start(&redis)?;
        let settings = Settings { capacity: self.capacity, ..Settings::default() };
        let bytes = self.bytes.max(MIN_BYTES);
        let senders =
            Senders::connect(redis.address(), &settings, self.senders, &self.names(), bytes)?;
        let mut bench = Bench { drainer, senders, redis };
        let time = Duration::from_secs(self.seconds);
        bench.window(self.rate, WARM_UP.min(time), "warming up")?;
        let idle = bench.idle(time)?;
        let window = bench.window(self.rate, time, "steady")?;
        found.add(&window, &idle);
        if self.step_seconds > 0 {
            let (ceiling, ended_by) = self.climb(&mut bench)?;
            found.ceiling.push(ceiling);
            found.ended_by.push(ended_by);
        }
        bench.stop()
    }

    /// The highest rate held, and what kept the next from being held.
    fn climb(&self, bench: &mut Bench) -> io::Result<(f64, &'static str)> {
        // From below the steady rate, so that a machine that cannot keep that has a ceiling, too.
        let (mut held, mut rate) = (0.0, self.rate / 2.0);
        for _ in 0..MOST_STEPS {
            let doing = format!("at {rate:.0}/s");
            let window = bench.window(rate, Duration::from_secs(self.step_seconds), &doing)?;
            if let Some(why) = window.not_held(rate) {
                return Ok((held, why));
            }
            held = window.rate();
            rate *= STEP;
        }
        Ok((held, "nothing"))
    }

    fn report(&self, gateway: Found, control: Found, budget: &DrainBudget) -> Report {
        let Self { groups, bytes, rate, senders, instances, capacity, seconds, pairs, .. } = self;
        let mut ended: Vec<_> =
            gateway.ended_by.iter().map(|why| format!("gateway: {why}")).collect();
        ended.extend(control.ended_by.iter().map(|why| format!("control: {why}")));
        let ended = match ended.is_empty() {
            true => String::new(),
            false => format!("; ceilings ended by {}", ended.join(", ")),
        };
        let mut report = Report::new(
            "drain",
            format!(
                "group_sends of {bytes} B to {groups} groups of one browser at capacity {capacity}, \
                 {rate}/s by {senders} senders, {instances} gateway(s), {pairs} pairs of {seconds} s; \
                 all that Redis took delivered once and in order{ended}"
            ),
        );
        let ratio = ratios(&gateway.redis, &control.redis);
        report.figure("group_sends/s", "gateway", gateway.rate);
        report.figure("group_sends/s", "control", control.rate);
        let full = "lost to full mailboxes";
        report.bar(full, "gateway", gateway.full, budget.lost_to_full_mailboxes);
        report.figure(full, "control", control.full);
        report.figure("gaps told, possible ones", "gateway", gateway.gaps);
        report.figure("CPU per group_send, us", "gateway", gateway.gateway);
        report.figure("CPU per group_send, us", "redis", gateway.redis);
        report.figure("CPU per group_send, us", "redis, control", control.redis);
        report.figure("CPU per group_send, us", "senders", gateway.senders);
        report.figure("CPU per group_send, us", "senders, control", control.senders);
        report.figure("CPU of Redis, ratio", "gateway/control", ratio);
        report.figure("latency p50, ms", "gateway", gateway.p50);
        report.figure("latency p99, ms", "gateway", gateway.p99);
        report.figure("highest rate held, group_sends/s", "gateway", gateway.ceiling);
        report.figure("highest rate held, group_sends/s", "control", control.ceiling);
        report
    }
}

impl Found {
    fn add(&mut self, window: &Window, [gateway, redis]: &[Used; 2]) {
        let sent = (window.sending.taken + window.sending.full) as f64;
        self.rate.push(window.rate());
        self.full.push(window.sending.full as f64);
        self.redis.push(window.redis.less(redis).total / sent * 1e6);
        self.senders.push(window.sending.cpu / sent * 1e6);
        if window.latencies.len() > 0 {
            self.gaps.push(window.gaps as f64);
            self.gateway.push(window.gateway.less(gateway).total / sent * 1e6);
            self.p50.push(window.latencies.percentile(50.0));
            self.p99.push(window.latencies.percentile(99.0));
        }
    }
}

impl Window {
    fn rate(&self) -> f64 {
        (self.sending.taken + self.sending.full) as f64 / self.sending.time.as_secs_f64()
    }

    fn not_held(&self, rate: f64) -> Option<&'static str> {
        if self.sending.full > 0 {
            return Some("full mailboxes");
        }
        if self.behind > CAUGHT_UP {
            return Some("deliveries late");
        }
        (self.rate() < ON_PACE * rate).then_some("senders and Redis")
    }
}

impl Bench {
    /// Sends at `rate` for `time` and waits until everything is delivered.
    fn window(&mut self, rate: f64, time: Duration, doing: &str) -> io::Result<Window> {
        progress::step(&format!("drain: {doing}"));
        let gaps_before = self.gaps()?;
        if let Drainer::Gateways(cluster) = &self.drainer {
            cluster.sample()?;
        }
        let meters = self.meters()?;
        let sending = self.senders.send(rate, time)?;
        let sent = Instant::now();
        let taken = self.senders.taken();
        let delivered = || match &self.drainer {
            Drainer::Gateways(cluster) => cluster.delivered(),
            Drainer::Bare(bare) => bare.taken(),
        };
        let expected = taken.iter().sum();
        let all = clients::wait(delivered, expected, PATIENCE) == expected;
        let behind = sent.elapsed();
        let [gateway, redis] = used(&meters)?;
        let latencies = match &self.drainer {
            Drainer::Gateways(cluster) => {
                cluster.check(&taken)?;
                cluster.latencies()?
            }
            Drainer::Bare(_) if all => Latencies::default(),
            Drainer::Bare(bare) => {
                let text = format!("the control took {} of {expected}", bare.taken());
                return Err(io::Error::other(text));
            }
        };
        let gaps = self.gaps()? - gaps_before;
        Ok(Window { sending, behind, gateway, redis, gaps, latencies })
    }

    fn gaps(&self) -> io::Result<u64> {
        match &self.drainer {
            Drainer::Gateways(cluster) => cluster.gaps(),
            Drainer::Bare(_) => Ok(0),
        }
    }

    /// What gateways and Redis use while nothing is sent.
    fn idle(&self, time: Duration) -> io::Result<[Used; 2]> {
        progress::step("drain: idle baseline");
        let meters = self.meters()?;
        thread::sleep(time);
        used(&meters)
    }

    fn meters(&self) -> io::Result<[Meter; 2]> {
        let gateways = match &self.drainer {
            Drainer::Gateways(cluster) => cluster.pids(),
            Drainer::Bare(_) => Vec::new(),
        };
        Ok([Meter::start(&gateways)?, Meter::start(&[self.redis.pid()])?])
    }

    fn stop(self) -> io::Result<()> {
        match self.drainer {
            Drainer::Gateways(cluster) => cluster.finish(&self.senders.taken()),
            Drainer::Bare(bare) => bare.stop(),
        }
    }
}

fn used([gateway, redis]: &[Meter; 2]) -> io::Result<[Used; 2]> {
    Ok([gateway.used()?, redis.used()?])
}
