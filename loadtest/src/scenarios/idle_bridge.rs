//! Nothing to drain: what holding a thousand of Django's groups costs Redis and the gateway.

use std::collections::BTreeMap;
use std::io;
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;

use super::Surroundings;
use crate::cluster::{Cluster, Meter};
use crate::gateway::private_group;
use crate::limits;
use crate::progress;
use crate::redis::Server;
use crate::redis::group_send::Settings;
use crate::redis::resp::Reply;
use crate::report::Report;

/// What follows the joins is over by then.
const SETTLE: Duration = Duration::from_secs(3);

/// Commands shown by name, those called most.
const SHOWN: usize = 6;

/// Django's groups held without traffic: Redis commands and CPU, beside the same without Django
#[derive(Debug, Clone, Args)]
pub struct IdleBridge {
    /// Groups held, each by one browser.
    #[arg(long, default_value_t = 1000, value_name = "N")]
    pub groups: usize,
    /// Length of a window: a multiple of 60 has each refresh of the memberships as often as it is.
    #[arg(long, default_value_t = 60, value_name = "S")]
    pub seconds: u64,
    /// Pairs of fresh processes: receiving from Django's channel layer, and not.
    #[arg(long, default_value_t = 2, value_name = "N")]
    pub pairs: usize,
}

#[derive(Default)]
struct Found {
    commands: Vec<f64>,
    by_name: BTreeMap<String, Vec<f64>>,
    gateway: Vec<f64>,
    redis: Vec<f64>,
}

impl IdleBridge {
    /// Small enough for every build: shows that groups are held, measures nothing.
    pub fn quick() -> Self {
        Self { groups: 100, seconds: 1, pairs: 1 }
    }

    /// Runs it.
    pub fn run(&self, around: &Surroundings) -> io::Result<Report> {
        limits::allow_sockets(self.groups)?;
        let (mut with, mut without) = (Found::default(), Found::default());
        for pair in 1..=self.pairs {
            progress::step(&format!("idle-bridge: pair {pair} of {}", self.pairs));
            self.one(around, true, &mut with)?;
            self.one(around, false, &mut without)?;
        }
        progress::end();
        let Self { groups, seconds, pairs } = self;
        let mut report = Report::new(
            "idle-bridge",
            format!(
                "{groups} groups of one browser held, no traffic, {pairs} pairs of {seconds} s; calls \
                 within scripts count as commands"
            ),
        );
        let mut names: Vec<_> = with.by_name.into_iter().collect();
        names.sort_by(|(_, a), (_, b)| b[0].total_cmp(&a[0]));
        report.figure("Redis commands/s", "channels", with.commands);
        report.figure("Redis commands/s", "layer alone", without.commands);
        for (name, runs) in names.into_iter().take(SHOWN) {
            report.figure(format!("  {name}/s"), "channels", runs);
        }
        report.figure("gateway CPU, ms/s", "channels", with.gateway);
        report.figure("gateway CPU, ms/s", "layer alone", without.gateway);
        report.figure("redis CPU, ms/s", "channels", with.redis);
        report.figure("redis CPU, ms/s", "layer alone", without.redis);
        Ok(report)
    }

    fn one(&self, around: &Surroundings, channels: bool, found: &mut Found) -> io::Result<()> {
        let redis = Server::start()?;
        let capacity = channels.then_some(Settings::default().capacity);
        let cluster = Cluster::start(&around.setup, &redis, capacity, 1, self.groups)?;
        if channels {
            self.held(&redis)?;
        }
        thread::sleep(SETTLE);
        let (gateway, server) = (Meter::start(&cluster.pids())?, Meter::start(&[redis.pid()])?);
        let (before, start) = (redis.commands()?, Instant::now());
        let until = start + Duration::from_secs(self.seconds);
        while let Some(left) = until.checked_duration_since(Instant::now()) {
            progress::show(&format!("idle-bridge: {:.0} s left", left.as_secs_f32()));
            thread::sleep(left.min(Duration::from_millis(500)));
        }
        let (mut after, time) = (redis.commands()?, start.elapsed().as_secs_f64());
        let (gateway, server) = (gateway.used()?, server.used()?);
        // What looking at them took: a PING and an INFO.
        after.entry("ping".to_owned()).and_modify(|calls| *calls -= 1);
        after.entry("info".to_owned()).and_modify(|calls| *calls -= 1);
        let mut sum = 0.0;
        for (name, calls) in after {
            let calls = (calls - before.get(&name).copied().unwrap_or(0)) as f64 / time;
            sum += calls;
            if calls > 0.0 {
                found.by_name.entry(name).or_default().push(calls);
            }
        }
        found.commands.push(sum);
        found.gateway.push(gateway.total / gateway.wall * 1e3);
        found.redis.push(server.total / server.wall * 1e3);
        cluster.stop()
    }

    /// Fails unless Redis says of every group that somebody is in it: else this would measure nothing.
    fn held(&self, redis: &Server) -> io::Result<()> {
        let mut connection = redis.connect()?;
        for index in 0..self.groups {
            let key = format!("asgi:group:{}", private_group(index));
            let members = connection.ask(&[b"ZCARD", key.as_bytes()])?;
            if members != Reply::Integer(1) {
                let text = format!("{key} has not one member but {members:?}");
                return Err(io::Error::other(text));
            }
        }
        Ok(())
    }
}
