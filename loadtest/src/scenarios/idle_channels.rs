//! Nothing to drain: what holding a thousand of Django's groups costs Redis and the gateway.

use std::thread;

use super::*;
use crate::cluster::{Cluster, Meters};
use crate::gateway::private_group;
use crate::redis::group_send::Settings;
use crate::redis::resp::Connection;

/// What follows the joins is over by then.
const SETTLE: Duration = Duration::from_secs(3);

/// Calls a second below which a command is not listed by name.
const SELDOM: f64 = 1.0;

/// Django's groups held without traffic: Redis commands and CPU, beside the same without Django
#[derive(Debug, Args)]
// A multiple of 60 s has each refresh of the memberships as often as it is.
#[command(mut_arg("seconds", |arg| arg.default_value("60")))]
#[command(mut_arg("rounds", |arg| arg.default_value("2")))]
pub struct IdleChannels {
    /// Groups held, each by one browser.
    #[arg(long, default_value_t = 1000, value_name = "N")]
    groups: usize,
    #[command(flatten)]
    windows: Windows,
}

impl IdleChannels {
    pub fn run(&self, bench: &Bench, report: &mut Report) -> io::Result<()> {
        let Self { groups, windows: Windows { seconds, rounds } } = self;
        limits::allow_sockets(*groups)?;
        for round in 1..=*rounds {
            progress::step(&format!("idle-channels: round {round} of {rounds}"));
            self.measure(bench, Some(Settings::default().capacity), (report, "channels"))?;
            self.measure(bench, None, (report, "layer alone"))?;
        }
        report.conditions(format!(
            "{groups} groups of one browser held, no traffic, {rounds} rounds of {seconds} s; \
             calls within scripts count as commands"
        ));
        Ok(())
    }

    fn measure(
        &self,
        bench: &Bench,
        channels: Option<u32>,
        (report, name): (&mut Report, &'static str),
    ) -> io::Result<()> {
        let redis = redis::start()?;
        let cluster = Cluster::start(&bench.setup, &redis, channels, 1, self.groups)?;
        if channels.is_some() {
            self.check_members(&redis)?;
        }
        thread::sleep(SETTLE);
        let meters = Meters::start(&cluster.pids(), &redis)?;
        let (before, start) = (redis::commands(&redis)?, Instant::now());
        progress::wait(self.windows.time(), "idle-channels")?;
        let (mut after, time) = (redis::commands(&redis)?, start.elapsed().as_secs_f64());
        let [gateway, server] = meters.used()?;
        // What reading them took.
        after.entry("info".to_owned()).and_modify(|calls| *calls -= 1);
        let mut sum = 0.0;
        for (command, calls) in after {
            let rate = (calls - before.get(&command).copied().unwrap_or(0)) as f64 / time;
            sum += rate;
            if rate >= SELDOM {
                report.add(format!("  {command}/s"), name, rate);
            }
        }
        report.add("Redis commands/s", name, sum);
        report.add("gateway CPU, ms/s", name, gateway.total / gateway.wall * 1e3);
        report.add("redis CPU, ms/s", name, server.total / server.wall * 1e3);
        cluster.stop()
    }

    /// Fails unless each group has its member in Redis: else this would measure nothing.
    fn check_members(&self, redis: &RedisServer) -> io::Result<()> {
        let mut connection = Connection::open(redis.address())?;
        for index in 0..self.groups {
            let key = format!("asgi:group:{}", private_group(index));
            let members = connection.ask(&[b"ZCARD", key.as_bytes()])?.integer()?;
            if members != 1 {
                return Err(io::Error::other(format!("{key} has {members} members, not one")));
            }
        }
        Ok(())
    }
}
