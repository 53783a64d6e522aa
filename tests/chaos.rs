//! Instances are killed and stopped, at random and at each failpoint, while Django sends. No event
//! arrives twice or out of order, and every loss is reported.
//!
//! A failure prints the seed of its run; `CHAOS_SEED` repeats the same decisions.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nix::sys::signal::Signal;
use serde_json::json;
use tokio::task::{JoinHandle, JoinSet};

use crate::support::{
    Addresses, DeliveryOracle, Django, Expected, Instance, Numbers, Python, Received, RedisServer,
    SeededRandom, Socket, VirtualClients, expected_of, token,
};

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

/// Groups that always have members, without history and with it.
const GROUPS: [&str; 8] =
    ["sala_0", "sala_1", "sala_2", "sala_3", "pedido.0", "pedido.1", "pedido.2", "pedido.3"];
/// Groups whose members come and go.
const VISITED: [&str; 4] = ["sala_v0", "sala_v1", "sala_v2", "sala_v3"];

const CLIENTS: usize = 24;

/// The longest that reaching a failpoint may take.
const FAILPOINT_DEADLINE: Duration = Duration::from_secs(20);

/// The sender that writes to the ingress stream; Django's are 0 to 2.
const INGRESS: u64 = 9;

/// A fault of an instance.
#[derive(Debug, Clone, Copy)]
enum Fault {
    Kill,
    Stop,
    /// It aborts at a failpoint.
    AbortAt(&'static str),
    /// It stops itself at a failpoint, and is continued later.
    StopAt(&'static str),
    /// Both are killed.
    KillAll,
}

/// A cluster with faults.
struct ChaosRun {
    seed: u64,
    random: SeededRandom,
    since: Instant,
    /// How long instances stay stopped.
    stop_time: Duration,
    instances: [Instance; 2],
    clients: VirtualClients,
    django: Python,
    ingress: (Arc<AtomicBool>, JoinHandle<Expected>),
    _visitors: JoinSet<()>,
    _server: Arc<RedisServer>,
}

impl ChaosRun {
    async fn begin(stop_time: Duration) -> Self {
        let given = std::env::var("CHAOS_SEED").ok().and_then(|seed| seed.parse().ok());
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let seed = given.unwrap_or(u64::from(now.subsec_nanos()) ^ now.as_secs() << 30);
        println!("CHAOS_SEED={seed}");
        let server = Arc::new(RedisServer::start());
        let django = Django::core(&server);
        let instances = [instance(&django).await, instance(&django).await];
        for instance in &instances {
            instance.ready().await;
        }
        let places = instances.iter().map(|instance| instance.public);
        let mut clients = VirtualClients::new(places.collect(), seed);
        for client in 0..CLIENTS {
            clients.add(&[GROUPS[client % 4], GROUPS[4 + client / 4 % 4]]);
        }
        clients.wait_until_joined().await;
        let mut visitors = JoinSet::new();
        for number in 0..6 {
            visitors.spawn(visit(clients.addresses(), SeededRandom::new(seed + number)));
        }
        let groups = [&GROUPS[..], &VISITED].concat();
        // The senders wait for room, so that only the faults can lose events.
        let options = json!({"groups": groups, "processes": 3, "pause": 0.02, "below": 50});
        let mut senders = Python::senders(django.options(options)).await;
        senders.write_line("go");
        let until = Arc::new(AtomicBool::new(false));
        let ingress = tokio::spawn(write_ingress(Arc::clone(&server), Arc::clone(&until)));
        Self {
            seed,
            random: SeededRandom::new(seed),
            since: Instant::now(),
            stop_time,
            instances,
            clients,
            django: senders,
            ingress: (until, ingress),
            _visitors: visitors,
            _server: server,
        }
    }

    /// Applies a fault to an instance and waits until both are ready again.
    async fn apply(&mut self, fault: Fault) {
        let which = self.random.below(2) as usize;
        println!("{:>4} s: {fault:?}, instance {which}", self.since.elapsed().as_secs());
        let pause = Duration::from_millis(self.random.below(1000));
        match fault {
            Fault::Kill => {
                self.instances[which].kill();
                tokio::time::sleep(pause).await;
                self.restart(which, "").await;
            }
            Fault::KillAll => {
                self.instances.iter_mut().for_each(Instance::kill);
                tokio::time::sleep(pause).await;
                self.restart(0, "").await;
                self.restart(1, "").await;
            }
            Fault::Stop => {
                self.instances[which].signal(Signal::SIGSTOP);
                self.resume(which).await;
            }
            Fault::AbortAt(place) => {
                self.restart_with_failpoint(which, place, "abort").await;
                self.wait_for_failpoint(which, place, Instance::has_ended).await;
                self.restart(which, "").await;
            }
            Fault::StopAt(place) => {
                self.restart_with_failpoint(which, place, "stop").await;
                self.wait_for_failpoint(which, place, |instance| instance.is_stopped()).await;
                self.resume(which).await;
            }
        }
        for instance in &self.instances {
            instance.ready().await;
        }
        self.clients.check();
    }

    async fn restart(&mut self, which: usize, failpoint: &str) {
        self.instances[which].start_to_fail(failpoint).await;
        self.clients.set_address(which, self.instances[which].public);
    }

    /// Leaves it stopped for the stop time, then continues it.
    async fn resume(&mut self, which: usize) {
        tokio::time::sleep(self.stop_time).await;
        self.instances[which].signal(Signal::SIGCONT);
    }

    async fn restart_with_failpoint(&mut self, which: usize, place: &str, action: &str) {
        // Points passed with every event fail at one of the first 20 passes, others sooner.
        let often = matches!(place, "look-answered" | "before-commit" | "after-commit");
        let nth = if often { 1 + self.random.below(20) } else { 1 + self.random.below(2) };
        self.instances[which].kill();
        self.restart(which, &format!("{place}:{action}:{nth}")).await;
    }

    /// Waits until the instance has failed at the failpoint.
    async fn wait_for_failpoint(
        &mut self,
        which: usize,
        place: &str,
        happened: fn(&mut Instance) -> bool,
    ) {
        let deadline = Instant::now() + FAILPOINT_DEADLINE;
        while !happened(&mut self.instances[which]) {
            assert!(Instant::now() < deadline, "{place} was never reached");
            self.clients.check();
            tokio::time::sleep(Duration::from_millis(10)).await;
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

/// An instance that leaves groups soon after their last member has left.
async fn instance(django: &Django) -> Instance {
    Instance::start_with(&django.gateway(), &[("GROUPCAST_HUB_LINGER", "200ms")]).await
}

/// Appends to the ingress stream, for one group after the other, until `until` is set.
async fn write_ingress(server: Arc<RedisServer>, until: Arc<AtomicBool>) -> Expected {
    let mut numbers = BTreeMap::<&str, u64>::new();
    let mut pace = tokio::time::interval(Duration::from_millis(20));
    let mut add = |group: &'static str| {
        let number = numbers.entry(group).or_default();
        *number += 1;
        let event = json!({"type": "paso", "s": INGRESS, "n": *number}).to_string();
        let words = ["XADD", "groupcast:ingress", "*", "group", group, "event", &event];
        assert!(server.ask(&words).starts_with('$'));
    };
    for group in GROUPS.iter().cycle() {
        pace.tick().await;
        add(group);
        if until.load(Ordering::Relaxed) {
            break;
        }
    }
    // Once more for all groups, now that there are no more faults.
    GROUPS.iter().for_each(|group| add(group));
    let only = |number| Numbers::from([(INGRESS, number)]);
    numbers.into_iter().map(|(group, number)| (group.to_owned(), only(number))).collect()
}

/// Connects, joins and disconnects again and again, so that groups are entered and left.
async fn visit(places: Addresses, mut random: SeededRandom) {
    let offer = [("Sec-WebSocket-Protocol", groupcast::protocol::V1)];
    loop {
        let place = *random.choose(&places.lock().unwrap());
        let stay = Duration::from_millis(100 + random.below(300));
        let group = *random.choose(&VISITED);
        let visit = async {
            let mut socket = Socket::try_open(place, "/ws", &offer).await?;
            socket.try_send(json!({"type": "hello", "token": token("visita")})).await?;
            socket.try_send(json!({"type": "join", "id": 1, "groups": [group]})).await?;
            while matches!(socket.receive().await, Received::Text(_) | Received::Ping) {}
            Some(())
        };
        let _ = tokio::time::timeout(stay, visit).await;
        tokio::time::sleep(stay).await;
    }
}

/// Asserts what must hold after every run.
fn assert_reported(oracles: &[DeliveryOracle]) {
    for oracle in oracles {
        assert!(oracle.events > 100, "only {} events were received", oracle.events);
        for group in GROUPS.iter().filter(|group| group.starts_with("pedido")) {
            assert_eq!(oracle.missed(group), 0, "the history of {group} is long enough");
        }
    }
}

/// Every fault once; those at failpoints in one of their two forms.
#[tokio::test]
async fn delivers_exactly_once_under_faults() {
    let mut run = ChaosRun::begin(Duration::from_secs(2)).await;
    run.apply(Fault::Kill).await;
    run.apply(Fault::Stop).await;
    run.apply(Fault::KillAll).await;
    run.stop_time = Duration::from_millis(500);
    for place in FAILPOINTS {
        let end = run.random.below(2) == 0;
        run.apply(if end { Fault::AbortAt(place) } else { Fault::StopAt(place) }).await;
    }
    assert_reported(&run.end().await);
}

/// All failpoints in both forms, then random faults, for `CHAOS_SECONDS` (300).
#[tokio::test]
#[ignore = "takes minutes: `make chaos`"]
async fn delivers_exactly_once_under_faults_for_long() {
    let seconds = std::env::var("CHAOS_SECONDS").ok().and_then(|text| text.parse().ok());
    let length = Duration::from_secs(seconds.unwrap_or(300));
    let mut run = ChaosRun::begin(Duration::from_secs(10)).await;
    let mut planned: Vec<_> =
        FAILPOINTS.into_iter().flat_map(|at| [Fault::AbortAt(at), Fault::StopAt(at)]).collect();
    while run.since.elapsed() < length {
        let fault = if planned.is_empty() {
            let at = *run.random.choose(&FAILPOINTS);
            *run.random.choose(&[
                Fault::Kill,
                Fault::Stop,
                Fault::KillAll,
                Fault::AbortAt(at),
                Fault::StopAt(at),
            ])
        } else {
            let next = run.random.below(planned.len() as u64) as usize;
            planned.swap_remove(next)
        };
        run.apply(fault).await;
    }
    assert!(planned.is_empty(), "CHAOS_SECONDS is too short for {planned:?}");
    assert_reported(&run.end().await);
}
