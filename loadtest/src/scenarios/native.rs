//! Publications through Redis without Django's formats: as many as go, by HTTP and by bare PUBLISH.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;

use super::{Surroundings, WARM_UP};
use crate::clients;
use crate::cluster::{Cluster, Meter};
use crate::event::{MIN_BYTES, Stamp};
use crate::gateway;
use crate::http::Api;
use crate::limits;
use crate::progress;
use crate::redis::Server;
use crate::redis::resp::{Connection, Reply, command};
use crate::report::Report;

/// How long nothing may arrive before what was published counts as lost.
const PATIENCE: Duration = Duration::from_secs(5);

/// Publications through Redis as fast as they are delivered: by POST /batch, and by bare PUBLISH
#[derive(Debug, Clone, Args)]
pub struct Native {
    /// Groups, each with one browser.
    #[arg(long, default_value_t = 100, value_name = "N")]
    pub groups: usize,
    /// Length of an event, bytes of JSON.
    #[arg(long, default_value_t = 200, value_name = "N")]
    pub bytes: usize,
    /// Publishers, each with a connection; a group has one publisher.
    #[arg(long, default_value_t = 2, value_name = "N")]
    pub publishers: usize,
    /// Publications in one request, or in one pipeline.
    #[arg(long, default_value_t = 200, value_name = "N")]
    pub batch: usize,
    /// Most publications on their way: nobody publishes while so many are.
    #[arg(long, default_value_t = 4000, value_name = "N")]
    pub window: u64,
    /// Length of a measured window; the idle window before it is as long.
    #[arg(long, default_value_t = 10, value_name = "S")]
    pub seconds: u64,
    /// Pairs of windows: by HTTP, by PUBLISH.
    #[arg(long, default_value_t = 5, value_name = "N")]
    pub pairs: usize,
}

/// A way to publish.
enum Way {
    Http(Api),
    Redis(Connection),
}

/// One publisher and its groups, with the newest number of each.
struct Publisher {
    way: Way,
    groups: Vec<(usize, u64)>,
    next: usize,
}

#[derive(Default)]
struct Found {
    rate: Vec<f64>,
    gateway: Vec<f64>,
    redis: Vec<f64>,
}

impl Native {
    /// Small enough for every build: shows that all is delivered, measures nothing.
    pub fn quick() -> Self {
        Self { groups: 20, bytes: 200, publishers: 2, batch: 20, window: 400, seconds: 1, pairs: 1 }
    }

    /// Runs it.
    pub fn run(&self, around: &Surroundings) -> io::Result<Report> {
        limits::allow_sockets(self.groups)?;
        let (mut http, mut bare) = (Found::default(), Found::default());
        for pair in 1..=self.pairs {
            progress::step(&format!("native: pair {pair} of {}", self.pairs));
            self.one(around, |cluster, _| cluster.gateway().api().map(Way::Http), &mut http)?;
            self.one(around, |_, redis| redis.connect().map(Way::Redis), &mut bare)?;
        }
        progress::end();
        let Self { groups, bytes, publishers, batch, window, seconds, pairs } = self;
        let mut report = Report::new(
            "native",
            format!(
                "events of {bytes} B to {groups} groups of one browser over Redis, one gateway, \
                 {publishers} publishers, {batch} at once, at most {window} under way, {pairs} pairs of \
                 {seconds} s; all delivered once and in order"
            ),
        );
        for (way, found) in [("POST /batch", http), ("PUBLISH", bare)] {
            report.figure("publications/s, delivered", way, found.rate);
            report.figure("gateway CPU per publication, us", way, found.gateway);
            report.figure("redis CPU per publication, us", way, found.redis);
        }
        Ok(report)
    }

    fn one(
        &self,
        around: &Surroundings,
        way: impl Fn(&Cluster, &Server) -> io::Result<Way>,
        found: &mut Found,
    ) -> io::Result<()> {
        let redis = Server::start()?;
        let cluster = Cluster::start(&around.setup, &redis, None, 1, self.groups)?;
        let publisher = |number: usize| {
            let groups = (number..self.groups).step_by(self.publishers).map(|group| (group, 0));
            Ok(Publisher { way: way(&cluster, &redis)?, groups: groups.collect(), next: 0 })
        };
        let mut publishers = (0..self.publishers).map(publisher).collect::<io::Result<Vec<_>>>()?;
        let time = Duration::from_secs(self.seconds);
        self.publish(&cluster, &mut publishers, WARM_UP.min(time))?;
        let pids = (cluster.pids(), [redis.pid()]);
        let meters = || Ok::<_, io::Error>((Meter::start(&pids.0)?, Meter::start(&pids.1)?));
        let idle = meters()?;
        thread::sleep(time);
        let idle = (idle.0.used()?, idle.1.used()?);
        let busy = meters()?;
        let start = Instant::now();
        let count = self.publish(&cluster, &mut publishers, time)? as f64;
        found.rate.push(count / start.elapsed().as_secs_f64());
        found.gateway.push(busy.0.used()?.less(&idle.0).total / count * 1e6);
        found.redis.push(busy.1.used()?.less(&idle.1).total / count * 1e6);
        cluster.finish(&self.numbers(&publishers))
    }

    /// Publishes for `time`, as fast as deliveries come, and waits for the last; how many there were.
    fn publish(
        &self,
        cluster: &Cluster,
        publishers: &mut [Publisher],
        time: Duration,
    ) -> io::Result<u64> {
        let before = cluster.delivered();
        let sent = AtomicU64::new(before);
        let until = Instant::now() + time;
        let bytes = self.bytes.max(MIN_BYTES);
        thread::scope(|scope| {
            let run = |publisher: &mut Publisher| {
                while Instant::now() < until {
                    let behind = sent.load(Ordering::Relaxed).saturating_sub(cluster.delivered());
                    if behind + self.batch as u64 > self.window {
                        thread::sleep(Duration::from_micros(100));
                        continue;
                    }
                    sent.fetch_add(self.batch as u64, Ordering::Relaxed);
                    publisher.publish(self.batch, bytes)?;
                    progress::show(&format!("native: {}", sent.load(Ordering::Relaxed)));
                }
                Ok(())
            };
            let threads: Vec<_> =
                publishers.iter_mut().map(|p| scope.spawn(move || run(p))).collect();
            let ended = || Err(io::Error::other("a publisher panicked"));
            threads.into_iter().try_for_each(|t| t.join().unwrap_or_else(|_| ended()))
        })?;
        let sent = sent.into_inner();
        clients::wait(|| cluster.delivered(), sent, PATIENCE);
        cluster.check(&self.numbers(publishers))?;
        Ok(sent - before)
    }

    /// Events published so far, by group.
    fn numbers(&self, publishers: &[Publisher]) -> Vec<u64> {
        let mut numbers = vec![0; self.groups];
        for (group, number) in publishers.iter().flat_map(|p| &p.groups) {
            numbers[*group] = *number;
        }
        numbers
    }
}

impl Publisher {
    /// Publishes the next `count`, to its groups in turn, and waits until all are taken.
    fn publish(&mut self, count: usize, bytes: usize) -> io::Result<()> {
        let due = Instant::now();
        let mut events = Vec::with_capacity(count);
        for _ in 0..count {
            let turn = self.next % self.groups.len();
            self.next += 1;
            let (group, number) = &mut self.groups[turn];
            *number += 1;
            events.push((gateway::private_group(*group), Stamp::new(*number, due).json(bytes)));
        }
        match &mut self.way {
            Way::Http(api) => api.publish_batch(&events),
            Way::Redis(connection) => {
                let mut pipeline = Vec::new();
                for (group, event) in &events {
                    let channel = format!("groupcast:group:{group}");
                    command(&mut pipeline, &[b"PUBLISH", channel.as_bytes(), event.as_bytes()]);
                }
                connection.write(&pipeline)?;
                for (group, _) in &events {
                    match connection.read_taken()? {
                        Reply::Integer(1) => {}
                        other => {
                            let text = format!("{group} has not one gateway but {other:?}");
                            return Err(io::Error::other(text));
                        }
                    }
                }
                Ok(())
            }
        }
    }
}
