//! Gateways over one Redis, with browsers that each have their own group, and their joint account.

use std::io;
use std::thread;
use std::time::Duration;

use crate::clients::{Clients, Plan};
use crate::gateway::{Gateway, Layer, Setup};
use crate::proc::{Usage, Used};
use crate::redis::RedisServer;
use crate::stats::Latencies;

/// Bytes of a token.
const TOKEN_BYTES: usize = 256;

/// Something published twice has come twice by then.
const LATE: Duration = Duration::from_millis(300);

/// A gateway and the browsers that are connected to it.
struct Instance {
    // Dropped in this order, so that no client is cut off.
    clients: Clients,
    gateway: Gateway,
    /// Numbers of the browsers.
    first: usize,
    count: usize,
}

/// Connects browsers to `gateway`, numbered from `first` on.
pub fn connect(gateway: &Gateway, first: usize, count: usize) -> io::Result<Clients> {
    let plan = Plan { numbers: first..first + count, token_bytes: TOKEN_BYTES };
    Clients::connect(gateway.address(), plan)
}

/// Instances over one Redis.
pub struct Cluster {
    instances: Vec<Instance>,
}

impl Cluster {
    /// Starts `instances` gateways over `redis` and spreads browsers over them, each in its private
    /// group. With `channels`, Django's capacity, they drain what Django's channel layer sends.
    pub fn start(
        setup: &Setup,
        redis: &RedisServer,
        channels: Option<u32>,
        instances: usize,
        browsers: usize,
    ) -> io::Result<Self> {
        let setup = Setup { layer: Layer::Redis { url: redis.url(), channels }, ..setup.clone() };
        let each = browsers.div_ceil(instances.max(1));
        let start = |first| {
            let (gateway, count) = (Gateway::start(&setup)?, each.min(browsers - first));
            Ok(Instance { clients: connect(&gateway, first, count)?, gateway, first, count })
        };
        let firsts = (0..browsers).step_by(each.max(1));
        Ok(Self { instances: firsts.map(start).collect::<io::Result<_>>()? })
    }

    pub fn gateway(&self) -> &Gateway {
        &self.instances[0].gateway
    }

    pub fn pids(&self) -> Vec<u32> {
        self.instances.iter().map(|instance| instance.gateway.pid()).collect()
    }

    /// Events delivered to all browsers so far.
    pub fn delivered(&self) -> u64 {
        self.instances.iter().map(|instance| instance.clients.delivered()).sum()
    }

    /// Gaps reported to all browsers so far.
    pub fn gaps(&self) -> io::Result<u64> {
        let gaps = |i: &Instance| Ok(i.clients.accounts()?.iter().map(|a| a.gaps).sum::<u64>());
        self.instances.iter().map(gaps).sum()
    }

    /// Begins to sample the latencies of all browsers.
    pub fn sample(&self) {
        self.instances.iter().for_each(|i| i.clients.sample(0..i.count));
    }

    /// The latencies sampled since.
    pub fn latencies(&self) -> Latencies {
        Latencies::merged(self.instances.iter().map(|i| i.clients.latencies()))
    }

    /// [`Clients::check`] of all browsers; `sent` is the number of events sent to each one's group.
    pub fn check(&self, sent: &[u64]) -> io::Result<()> {
        self.instances.iter().try_for_each(|Instance { clients, first, count, .. }| {
            clients.check(&sent[*first..first + count])
        })
    }

    /// Checks once more, for what came twice and late, then ends all.
    pub fn finish(self, sent: &[u64]) -> io::Result<()> {
        thread::sleep(LATE);
        self.check(sent)?;
        self.stop()
    }

    pub fn stop(self) -> io::Result<()> {
        self.instances.into_iter().try_for_each(|Instance { clients, gateway, .. }| {
            drop(clients);
            gateway.stop()
        })
    }
}

/// Counters of gateways and, last, of their Redis.
pub struct Meters(Vec<(u32, Usage)>);

impl Meters {
    /// Begins to count what the processes use.
    pub fn start(gateways: &[u32], redis: &RedisServer) -> io::Result<Self> {
        let pids = gateways.iter().copied().chain([redis.pid()]);
        let usages = pids.map(|pid| Ok((pid, Usage::of(pid)?)));
        Ok(Self(usages.collect::<io::Result<_>>()?))
    }

    /// What gateways and Redis used since.
    pub fn used(&self) -> io::Result<[Used; 2]> {
        let since = |(pid, before): &(u32, Usage)| Ok(Usage::of(*pid)?.since(before));
        let mut used: Vec<Used> = self.0.iter().map(since).collect::<io::Result<_>>()?;
        let redis = used.pop().unwrap_or_default();
        Ok([used.iter().fold(Used::default(), |sum, gateway| sum.plus(gateway)), redis])
    }
}
