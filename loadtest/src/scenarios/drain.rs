//! What Django's channel layer sends, drained and delivered: at a steady rate, then ever faster.

use super::*;
use crate::cluster::{Cluster, Meters};
use crate::publishers::{Publishers, Sending, Way};
use crate::redis::bare::BareDrain;
use crate::redis::group_send::{ChannelLayer, Settings};
use crate::stats::Latencies;

/// A rate is held if so much of it was sent, and all of it delivered so soon after the last.
const ON_PACE: f64 = 0.98;
const CAUGHT_UP: Duration = Duration::from_secs(1);

/// Each step of the search for the ceiling asks for so much more than the one before.
const STEP: f64 = 1.25;
const MOST_STEPS: usize = 20;

/// Unchanged group_sends to many groups: none lost at a steady rate, then the highest rate
#[derive(Debug, Args)]
#[command(mut_arg("rate", |arg| arg.default_value("5000")))]
#[command(mut_arg("rounds", |arg| arg.default_value("3")))]
pub struct Drain {
    /// Groups, each with one browser.
    #[arg(long, default_value_t = 100, value_name = "N")]
    groups: usize,
    #[command(flatten)]
    events: Events,
    /// Senders, each with a connection that it keeps.
    #[arg(long, default_value_t = 8, value_name = "N")]
    senders: usize,
    /// Gateways that share the mailboxes and the browsers.
    #[arg(long, default_value_t = 1, value_name = "N")]
    instances: usize,
    /// Django's capacity.
    #[arg(long, default_value_t = 100, value_name = "N")]
    capacity: u32,
    #[command(flatten)]
    windows: Windows,
    /// Length of each step up; 0 leaves the search for the ceiling out.
    #[arg(long, default_value_t = 4, value_name = "S")]
    step_seconds: u64,
    /// Measure the control alone: what senders and Redis can do on this machine.
    #[arg(long)]
    control_only: bool,
}

enum Drainer {
    Gateways(Cluster),
    Bare(BareDrain),
}

/// One Redis with its senders and what drains it.
struct Setting {
    drainer: Drainer,
    senders: Publishers,
    redis: RedisServer,
}

struct Window {
    sending: Sending,
    /// From the last group_send until all were delivered.
    behind: Duration,
    used: [Used; 2],
    gaps: u64,
    latencies: Latencies,
}

impl Drain {
    pub fn run(&self, bench: &Bench, report: &mut Report) -> io::Result<()> {
        limits::allow_sockets(self.groups)?;
        let Self { groups, senders, instances, capacity, windows, .. } = self;
        let Windows { seconds, rounds } = windows;
        let mut ends = String::new();
        for round in 1..=*rounds {
            progress::step(&format!("drain: round {round} of {rounds}"));
            if !self.control_only {
                let redis = redis::start()?;
                let channels = Some(*capacity);
                let cluster = Cluster::start(&bench.setup, &redis, channels, *instances, *groups)?;
                self.measure(redis, Drainer::Gateways(cluster), report, &mut ends)?;
            }
            let redis = redis::start()?;
            let bare = BareDrain::start(redis.address(), &self.names())?;
            self.measure(redis, Drainer::Bare(bare), report, &mut ends)?;
        }
        report.conditions(format!(
            "group_sends of {} B to {groups} groups of one browser at capacity {capacity}, {}/s by \
             {senders} senders, {instances} gateway(s), {rounds} rounds of {seconds} s; all that \
             Redis took delivered once and in order{ends}",
            self.events.bytes, self.events.rate
        ));
        let redis = "redis CPU per group_send, us";
        report.ratio("CPU of Redis, ratio", "gateway/control", redis, ["gateway", "control"]);
        report.check("lost to full mailboxes", "gateway", "lost_to_full_mailboxes")
    }

    fn names(&self) -> Vec<String> {
        (0..self.groups).map(gateway::private_group).collect()
    }

    /// The steady window, then steps up until one is not held.
    fn measure(
        &self,
        redis: RedisServer,
        drainer: Drainer,
        report: &mut Report,
        ends: &mut String,
    ) -> io::Result<()> {
        let settings = Settings { capacity: self.capacity, ..Settings::default() };
        let (bytes, time, rate) = (self.events.bytes, self.windows.time(), self.events.rate);
        let senders = Publishers::new(&self.names(), bytes, self.senders, |number| {
            let seed = number as u64;
            ChannelLayer::connect(redis.address(), settings.clone(), seed).map(Way::GroupSend)
        })?;
        let mut setting = Setting { drainer, senders, redis };
        setting.window(rate, self.windows.warm_up(), "warming up")?;
        let meters = setting.meters()?;
        progress::wait(time, "drain: idle baseline")?;
        let idle = meters.used()?;
        let name = if setting.cluster().is_some() { "gateway" } else { "control" };
        setting.window(rate, time, "steady")?.report(&idle, report, name);
        if self.step_seconds > 0 {
            let (ceiling, end) = self.climb(&mut setting)?;
            report.add("highest rate held, group_sends/s", name, ceiling);
            let before = if ends.is_empty() { "; ceilings ended by" } else { "," };
            *ends += &format!("{before} {name}: {end}");
        }
        match setting.drainer {
            Drainer::Gateways(cluster) => cluster.finish(&setting.senders.taken()),
            Drainer::Bare(bare) => bare.stop(),
        }
    }

    /// The highest rate held, and what kept the next from being held.
    fn climb(&self, setting: &mut Setting) -> io::Result<(f64, &'static str)> {
        // From below the steady rate, so that a machine that cannot keep that has a ceiling, too.
        let (mut held, mut rate) = (0.0, self.events.rate / 2.0);
        for _ in 0..MOST_STEPS {
            let doing = format!("at {rate:.0}/s");
            let window = setting.window(rate, Duration::from_secs(self.step_seconds), &doing)?;
            if let Some(why) = window.not_held(rate) {
                return Ok((held, why));
            }
            held = window.rate();
            rate *= STEP;
        }
        Ok((held, "nothing"))
    }
}

impl Window {
    fn sent(&self) -> f64 {
        (self.sending.taken + self.sending.full) as f64
    }

    fn rate(&self) -> f64 {
        self.sent() / self.sending.time.as_secs_f64()
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

    fn report(&self, idle: &[Used; 2], report: &mut Report, name: &'static str) {
        let [gateway, redis] = &self.used;
        let each = |seconds: f64| seconds / self.sent() * 1e6;
        report.add("group_sends/s", name, self.rate());
        report.add("lost to full mailboxes", name, self.sending.full as f64);
        let redis = each(redis.less(&idle[1]).total);
        report.add("redis CPU per group_send, us", name, redis);
        report.add("senders' CPU per group_send, us", name, each(self.sending.cpu));
        if self.latencies.len() > 0 {
            let gateway = each(gateway.less(&idle[0]).total);
            report.add("gateway CPU per group_send, us", name, gateway);
            report.add("gaps reported, possible ones", name, self.gaps as f64);
            report.add_latencies(name, &self.latencies);
        }
    }
}

impl Setting {
    /// The gateways; `None` for the control.
    fn cluster(&self) -> Option<&Cluster> {
        match &self.drainer {
            Drainer::Gateways(cluster) => Some(cluster),
            Drainer::Bare(_) => None,
        }
    }

    fn meters(&self) -> io::Result<Meters> {
        Meters::start(&self.cluster().map_or_else(Vec::new, Cluster::pids), &self.redis)
    }

    fn gaps(&self) -> io::Result<u64> {
        self.cluster().map_or(Ok(0), Cluster::gaps)
    }

    /// Sends at `rate` for `time` and waits until everything is delivered.
    fn window(&mut self, rate: f64, time: Duration, doing: &str) -> io::Result<Window> {
        progress::step(&format!("drain: {doing}"));
        let gaps_before = self.gaps()?;
        self.cluster().inspect(|cluster| cluster.sample());
        let meters = self.meters()?;
        let sending = self.senders.pace(rate, time)?;
        let sent = Instant::now();
        let taken = self.senders.taken();
        let expected = taken.iter().sum();
        let delivered = || match &self.drainer {
            Drainer::Gateways(cluster) => cluster.delivered(),
            Drainer::Bare(bare) => bare.taken(),
        };
        let arrived = clients::wait(delivered, expected);
        let (behind, used) = (sent.elapsed(), meters.used()?);
        let mut latencies = Latencies::default();
        if let Some(cluster) = self.cluster() {
            cluster.check(&taken)?;
            latencies = cluster.latencies();
        } else if arrived != expected {
            let text = format!("the control took {arrived} of {expected}");
            return Err(io::Error::other(text));
        }
        Ok(Window { sending, behind, used, gaps: self.gaps()? - gaps_before, latencies })
    }
}
