//! Instances, Redis and the way between them fail, at random and at each failpoint, while Django
//! sends. No event arrives twice or out of order, and every loss is reported.
//!
//! A failure prints the seed of its run; `CHAOS_SEED` repeats the same decisions.

mod faults;
mod pair;
mod traffic;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::json;
use tokio::task::{JoinHandle, JoinSet};

use crate::support::{
    DeliveryOracle, Django, Expected, Forwarder, Instance, Python, RedisServer, SeededRandom,
    VirtualClients, expected_of,
};
use faults::{FAULTS, Fault};
use pair::RedisPair;
use traffic::{subscribe_to_all, visit, write_ingress};

/// The points in an instance's work with Redis at which it can abort or stop itself.
const FAILPOINTS: [&str; 8] = [
    "look-answered",
    "before-commit",
    "after-commit",
    "before-enter",
    "after-enter",
    "before-leave",
    "after-leave",
    "refresh",
];

/// Those on the way between two servers, if Django's channel layer has one of its own.
const FAILPOINTS_BETWEEN: [&str; 5] =
    ["look-answered", "before-commit", "before-remove", "after-commit", "refresh-elsewhere"];

/// Groups that always have members, without history and with it.
const GROUPS: [&str; 8] =
    ["sala_0", "sala_1", "sala_2", "sala_3", "pedido.0", "pedido.1", "pedido.2", "pedido.3"];
/// Groups whose members come and go.
const VISITED: [&str; 4] = ["sala_v0", "sala_v1", "sala_v2", "sala_v3"];

const INSTANCES: usize = 3;

const CLIENTS: usize = 24;

/// Groups of each client alone, with history and without a publication: what comes back in a wave.
const OWN_GROUPS: usize = 20;

/// Of an instance: groups are left soon after their last member, and the wall clock is a file.
const VARIABLES: [(&str, &str); 5] = [
    ("GROUPCAST_HUB_LINGER", "200ms"),
    ("LD_PRELOAD", "/usr/$LIB/faketime/libfaketime.so.1"),
    ("FAKETIME_TIMESTAMP_FILE", "clock"),
    ("FAKETIME_NO_CACHE", "1"),
    ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
];

/// A cluster with faults.
struct ChaosRun {
    seed: u64,
    random: SeededRandom,
    since: Instant,
    /// How long instances stay stopped, cut off, far away or with a wrong clock.
    stop_time: Duration,
    instances: Vec<Instance>,
    /// The way of each instance to Redis, and that of Django.
    paths: Vec<Forwarder>,
    /// The server of Django's channel layer, if it is another, and each instance's way there.
    channels: Option<(RedisServer, Vec<Forwarder>)>,
    clients: VirtualClients,
    django: Python,
    ingress: (Arc<AtomicBool>, JoinHandle<Expected>),
    _visitors: JoinSet<()>,
    redis: Arc<RedisPair>,
}

impl ChaosRun {
    async fn begin(stop_time: Duration) -> Self {
        Self::begin_with(stop_time, None).await
    }

    /// The same, with Django's channel layer on a server of its own.
    async fn begin_with(stop_time: Duration, channels: Option<RedisServer>) -> Self {
        let given = std::env::var("CHAOS_SEED").ok().and_then(|seed| seed.parse().ok());
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let seed = given.unwrap_or(u64::from(now.subsec_nanos()) ^ now.as_secs() << 30);
        println!("CHAOS_SEED={seed}");
        let redis = Arc::new(RedisPair::start().await);
        subscribe_to_all(redis.primary().address());
        let (mut paths, mut to_channels, mut instances) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..INSTANCES {
            let path = Forwarder::to(redis.primary().address()).await;
            let django = match &channels {
                Some(server) => {
                    let other = Forwarder::to(server.address()).await;
                    let django = Django::core_at(other.address).with_layer_at(path.address);
                    to_channels.push(other);
                    django
                }
                None => Django::core_at(path.address),
            };
            instances.push(instance(&django).await);
            paths.push(path);
        }
        for instance in &instances {
            instance.ready().await;
        }
        let places = instances.iter().map(|instance| instance.public);
        let mut clients = VirtualClients::new(places.collect(), seed);
        for client in 0..CLIENTS {
            let own = (0..OWN_GROUPS).map(|own| format!("pedido.{client}_{own}"));
            let own: Vec<_> = own.collect();
            let mut groups: Vec<_> = own.iter().map(String::as_str).collect();
            groups.extend([GROUPS[client % 4], GROUPS[4 + client / 4 % 4]]);
            clients.add(&groups);
        }
        clients.wait_until_joined().await;
        let mut visitors = JoinSet::new();
        for number in 0..6 {
            visitors.spawn(visit(clients.addresses(), SeededRandom::new(seed + number)));
        }
        let of_django = channels.as_ref().map_or(redis.primary().address(), RedisServer::address);
        let path = Forwarder::to(of_django).await;
        let groups = [&GROUPS[..], &VISITED].concat();
        // The senders wait for room, so that only the faults can lose events.
        let options = json!({"groups": groups, "processes": 3, "pause": 0.02, "below": 50});
        let mut django = Python::senders(Django::core_at(path.address).options(options)).await;
        match &channels {
            Some(_) => to_channels.push(path),
            None => paths.push(path),
        }
        let channels = channels.map(|server| (server, to_channels));
        django.write_line("go");
        let until = Arc::new(AtomicBool::new(false));
        let ingress = tokio::spawn(write_ingress(Arc::clone(&redis), Arc::clone(&until)));
        Self {
            seed,
            random: SeededRandom::new(seed),
            since: Instant::now(),
            stop_time,
            instances,
            paths,
            channels,
            clients,
            django,
            ingress: (until, ingress),
            _visitors: visitors,
            redis,
        }
    }

    /// Stops the senders and waits until all clients have everything. Returns their oracles.
    async fn end(mut self) -> Vec<DeliveryOracle> {
        self.ingress.0.store(true, Ordering::Relaxed);
        let mut expected = self.ingress.1.await.unwrap();
        self.django.write_line("end");
        let summary = self.django.summary().await;
        assert_eq!(summary["over_capacity"], 0);
        for (group, numbers) in expected_of(&summary) {
            expected.entry(group).or_default().extend(numbers);
        }
        println!("{:>4} s: {} sent by Django", self.since.elapsed().as_secs(), summary["sent"]);
        let oracles = self.clients.finish(expected).await;
        let sum = |of: fn(&DeliveryOracle) -> u64| oracles.iter().map(of).sum::<u64>();
        let missed = sum(|oracle| GROUPS.iter().map(|group| oracle.missed(group)).sum());
        println!(
            "{:>4} s: seed {}: {} events, {missed} reported lost, {} gaps, {} dropped by id",
            self.since.elapsed().as_secs(),
            self.seed,
            sum(|oracle| oracle.events),
            sum(|oracle| oracle.gaps),
            sum(|oracle| oracle.repetitions),
        );
        oracles
    }
}

async fn instance(django: &Django) -> Instance {
    let instance = Instance::start_with(&django.gateway(), &VARIABLES).await;
    instance.set_clock("+0");
    instance
}

/// Asserts what must hold after every run.
fn assert_reported(oracles: &[DeliveryOracle]) {
    for oracle in oracles {
        assert!(oracle.events > 100, "only {} events were received", oracle.events);
        for group in GROUPS.iter().filter(|group| group.starts_with("pedido")) {
            // A failover ends the epoch, and with it what can be recovered.
            let missed = oracle.missed_within_epoch(group);
            assert_eq!(missed, 0, "the history of {group} is long enough");
        }
    }
}

/// Every fault once; those at failpoints in one of their two forms.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn delivers_exactly_once_under_faults() {
    let mut run = ChaosRun::begin(Duration::from_secs(2)).await;
    for fault in FAULTS {
        run.apply(fault).await;
    }
    run.stop_time = Duration::from_millis(500);
    for place in FAILPOINTS {
        let end = run.random.below(2) == 0;
        run.apply(if end { Fault::AbortAt(place) } else { Fault::StopAt(place) }).await;
    }
    assert_reported(&run.end().await);
}

/// The layer on one server and Django's channels on another: each in turn is cut off, loses its
/// data or changes places, and instances end between the steps from one to the other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn delivers_exactly_once_between_two_servers() {
    let stop_time = Duration::from_secs(1);
    let mut run = ChaosRun::begin_with(stop_time, Some(RedisServer::start())).await;
    for fault in [
        Fault::Kill,
        Fault::Stop,
        Fault::Partition,
        Fault::PartitionFromChannels,
        Fault::FlushChannels,
        Fault::Failover,
        Fault::CutSubscriptions,
    ] {
        run.apply(fault).await;
    }
    for place in FAILPOINTS_BETWEEN {
        let end = run.random.below(2) == 0;
        run.apply(if end { Fault::AbortAt(place) } else { Fault::StopAt(place) }).await;
    }
    run.apply(Fault::AbortAt("before-remove")).await;
    run.apply(Fault::StopAt("before-remove")).await;
    assert_reported(&run.end().await);
}

/// All failpoints in both forms, then random faults, for `CHAOS_SECONDS` (300).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes: `make chaos`"]
async fn delivers_exactly_once_under_faults_for_long() {
    let seconds = std::env::var("CHAOS_SECONDS").ok().and_then(|text| text.parse().ok());
    let length = Duration::from_secs(seconds.unwrap_or(300));
    let mut run = ChaosRun::begin(Duration::from_secs(10)).await;
    let at_failpoints =
        FAILPOINTS.into_iter().flat_map(|at| [Fault::AbortAt(at), Fault::StopAt(at)]);
    let mut planned: Vec<_> = at_failpoints.collect();
    while run.since.elapsed() < length {
        let fault = if planned.is_empty() {
            Fault::any(&mut run.random)
        } else {
            let next = run.random.below(planned.len() as u64) as usize;
            planned.swap_remove(next)
        };
        run.apply(fault).await;
    }
    assert!(planned.is_empty(), "CHAOS_SECONDS is too short for {planned:?}");
    assert_reported(&run.end().await);
}
