//! Gateways over one Redis, their browsers each in a group of its own, and the account of them all.

use std::io;
use std::thread;
use std::time::Duration;

use crate::clients::{Clients, Plan};
use crate::gateway::{self, Gateway, Layer, PATH, Setup};
use crate::proc::{Usage, Used};
use crate::redis::Server;
use crate::stats::Latencies;

/// Bytes of a token.
const TOKEN_BYTES: usize = 256;

/// Something published twice has come twice by then.
const LATE: Duration = Duration::from_millis(300);

/// A gateway and those who are connected to it.
pub struct Instance {
    // Dropped in this order: nobody is cut off.
    pub clients: Clients,
    pub gateway: Gateway,
    /// Numbers of the browsers.
    first: usize,
    count: usize,
}

impl Instance {
    /// Starts a gateway and connects `count` browsers to it, from number `first` on.
    pub fn start(setup: &Setup, first: usize, count: usize) -> io::Result<Self> {
        let gateway = Gateway::start(setup)?;
        let clients = connect(&gateway, first, count)?;
        Ok(Self { clients, gateway, first, count })
    }
}

/// Connects browsers to `gateway`, numbered from `first` on.
pub fn connect(gateway: &Gateway, first: usize, count: usize) -> io::Result<Clients> {
    let (address, signer) = (gateway.address(), gateway::signer(TOKEN_BYTES));
    Clients::connect(Plan { address, path: PATH, first, count, signer })
}

/// Instances over one Redis.
pub struct Cluster {
    instances: Vec<Instance>,
}

impl Cluster {
    /// Starts `instances` gateways over `redis` and spreads browsers over them; browser i is in
    /// [`gateway::private_group`] i. With `channels`, Django's capacity, they drain what Django's
    /// channel layer sends.
    pub fn start(
        setup: &Setup,
        redis: &Server,
        channels: Option<u32>,
        instances: usize,
        browsers: usize,
    ) -> io::Result<Self> {
        let setup = Setup { layer: Layer::Redis { url: redis.url(), channels }, ..setup.clone() };
        let each = browsers.div_ceil(instances.max(1));
        let firsts = (0..browsers).step_by(each.max(1));
        let start = |first| Instance::start(&setup, first, each.min(browsers - first));
        Ok(Self { instances: firsts.map(start).collect::<io::Result<_>>()? })
    }

    /// The first of its gateways.
    pub fn gateway(&self) -> &Gateway {
        &self.instances[0].gateway
    }

    /// Its processes.
    pub fn pids(&self) -> Vec<u32> {
        self.instances.iter().map(|instance| instance.gateway.pid()).collect()
    }

    /// Events delivered to all browsers so far.
    pub fn delivered(&self) -> u64 {
        self.instances.iter().map(|instance| instance.clients.delivered()).sum()
    }

    /// Gaps told to all browsers so far.
    pub fn gaps(&self) -> io::Result<u64> {
        let gaps = |i: &Instance| Ok(i.clients.accounts()?.0.iter().map(|a| a.gaps).sum::<u64>());
        self.instances.iter().map(gaps).sum()
    }

    /// Begins to sample the latencies of all browsers.
    pub fn sample(&self) -> io::Result<()> {
        self.instances.iter().try_for_each(|i| i.clients.sample(0..i.count))
    }

    /// The latencies sampled since.
    pub fn latencies(&self) -> io::Result<Latencies> {
        let mut all = Vec::new();
        for instance in &self.instances {
            all.extend(instance.clients.samples()?);
        }
        Ok(Latencies::new(all))
    }

    /// Holds what each browser got to `sent`, the number of events sent to each one's group: every
    /// event once and in order, or an error that says how many are missing.
    pub fn check(&self, sent: &[u64]) -> io::Result<()> {
        for Instance { clients, first, count, .. } in &self.instances {
            account(clients, &sent[*first..first + count])?;
        }
        Ok(())
    }

    /// Looks once more, for what came twice and late, then ends all.
    pub fn finish(self, sent: &[u64]) -> io::Result<()> {
        thread::sleep(LATE);
        self.check(sent)?;
        self.stop()
    }

    /// Ends all browsers and gateways in good order.
    pub fn stop(self) -> io::Result<()> {
        self.instances.into_iter().try_for_each(|Instance { clients, gateway, .. }| {
            drop(clients);
            gateway.stop()
        })
    }
}

/// Holds what each of `clients` got to the number of events sent to it.
pub fn account(clients: &Clients, sent: &[u64]) -> io::Result<()> {
    let (accounts, faults) = clients.accounts()?;
    if let Some(fault) = faults.first() {
        let text = format!("{} browsers lost their connection: {fault}", faults.len());
        return Err(io::Error::other(text));
    }
    let disordered: u64 = accounts.iter().map(|account| account.disordered).sum();
    let lost: u64 =
        accounts.iter().zip(sent).map(|(a, sent)| sent.saturating_sub(a.delivered)).sum();
    let told: u64 = accounts.iter().map(|account| account.gaps).sum();
    let exact = accounts.iter().zip(sent).all(|(a, &sent)| a.delivered == sent && a.missing == 0);
    if exact && disordered == 0 {
        return Ok(());
    }
    Err(io::Error::other(format!(
        "of {} events accepted {lost} did not arrive, {disordered} came twice or out of order; {told} \
         gaps were told",
        sent.iter().sum::<u64>()
    )))
}

/// Counters of several processes that are one subject.
pub struct Meter(Vec<(u32, Usage)>);

impl Meter {
    /// Begins to count what the processes `pids` use.
    pub fn start(pids: &[u32]) -> io::Result<Self> {
        let usage = |&pid: &u32| Ok((pid, Usage::of(pid)?));
        Ok(Self(pids.iter().map(usage).collect::<io::Result<_>>()?))
    }

    /// What they used since.
    pub fn used(&self) -> io::Result<Used> {
        let add = |sum: Used, (pid, before): &(u32, Usage)| {
            Usage::of(*pid).map(|usage| sum.plus(&usage.since(before)))
        };
        self.0.iter().try_fold(Used::default(), add)
    }
}
