//! Publications through Redis without Django's formats: as many as go, by HTTP and by bare PUBLISH.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use super::*;
use crate::cluster::{Cluster, Meters};
use crate::publishers::{Publishers, Way};
use crate::redis::resp::Connection;

/// Publications through Redis as fast as they are delivered: by POST /batch, and by bare PUBLISH
#[derive(Debug, Args)]
#[command(mut_arg("seconds", |arg| arg.default_value("10")))]
pub struct Native {
    /// Groups, each with one browser.
    #[arg(long, default_value_t = 100, value_name = "N")]
    groups: usize,
    /// Length of an event, bytes of JSON.
    #[arg(long, default_value_t = 200, value_name = "N")]
    bytes: usize,
    /// Publishers, each with a connection; a group has one publisher.
    #[arg(long, default_value_t = 2, value_name = "N")]
    publishers: usize,
    /// Publications in one request, or in one pipeline.
    #[arg(long, default_value_t = 200, value_name = "N")]
    batch: usize,
    /// Most publications in flight: publishers pause at this number.
    #[arg(long, default_value_t = 4000, value_name = "N")]
    window: u64,
    #[command(flatten)]
    windows: Windows,
}

impl Native {
    pub fn run(&self, bench: &Bench, report: &mut Report) -> io::Result<()> {
        limits::allow_sockets(self.groups)?;
        let Self { groups, bytes, publishers, batch, window, windows } = self;
        let Windows { seconds, rounds } = windows;
        for round in 1..=*rounds {
            progress::step(&format!("native: round {round} of {rounds}"));
            let post = |cluster: &Cluster, _: &RedisServer| cluster.gateway().api().map(Way::Post);
            self.measure(bench, post, (report, "POST /batch"))?;
            let publish = |_: &Cluster, redis: &RedisServer| {
                Connection::open(redis.address()).map(Way::Publish)
            };
            self.measure(bench, publish, (report, "PUBLISH"))?;
        }
        report.conditions(format!(
            "events of {bytes} B to {groups} groups of one browser over Redis, one gateway, \
             {publishers} publishers, {batch} at once, at most {window} under way, {rounds} rounds \
             of {seconds} s; all delivered once and in order"
        ));
        Ok(())
    }

    fn measure(
        &self,
        bench: &Bench,
        way: impl Fn(&Cluster, &RedisServer) -> io::Result<Way>,
        (report, name): (&mut Report, &'static str),
    ) -> io::Result<()> {
        let redis = redis::start()?;
        let cluster = Cluster::start(&bench.setup, &redis, None, 1, self.groups)?;
        let groups: Vec<_> = (0..self.groups).map(gateway::private_group).collect();
        let way = |_| way(&cluster, &redis);
        let mut publishers = Publishers::new(&groups, self.bytes, self.publishers, way)?;
        self.publish(&cluster, &mut publishers, self.windows.warm_up())?;
        let meters = || Meters::start(&cluster.pids(), &redis);
        let idle = meters()?;
        progress::wait(self.windows.time(), "native: idle baseline")?;
        let idle = idle.used()?;
        let (busy, start) = (meters()?, Instant::now());
        let count = self.publish(&cluster, &mut publishers, self.windows.time())? as f64;
        report.add("publications/s, delivered", name, count / start.elapsed().as_secs_f64());
        let [gateway, server] = busy.used()?;
        let each = 1e6 / count;
        report.add("gateway CPU per publication, us", name, gateway.less(&idle[0]).total * each);
        report.add("redis CPU per publication, us", name, server.less(&idle[1]).total * each);
        cluster.finish(&publishers.taken())
    }

    /// Publishes for `time`, as fast as deliveries come, and waits for the last; how many there
    /// were.
    fn publish(
        &self,
        cluster: &Cluster,
        publishers: &mut Publishers,
        time: Duration,
    ) -> io::Result<u64> {
        let before = cluster.delivered();
        let sent = AtomicU64::new(before);
        let (until, batch) = (Instant::now() + time, self.batch as u64);
        publishers.each(|_, publisher| {
            while Instant::now() < until {
                let behind = sent.load(Ordering::Relaxed).saturating_sub(cluster.delivered());
                if behind + batch > self.window {
                    thread::sleep(Duration::from_micros(100));
                    continue;
                }
                let all = sent.fetch_add(batch, Ordering::Relaxed);
                publisher.publish(self.batch, Instant::now())?;
                progress::show(&format!("native: {all}"));
            }
            Ok(())
        })?;
        let sent = sent.into_inner();
        clients::wait(|| cluster.delivered(), sent);
        cluster.check(&publishers.taken())?;
        Ok(sent - before)
    }
}
