//! Instances are killed and stopped, at random and at each failpoint, while Django sends: nothing
//! comes twice or out of order, and whatever is missed is told.
//!
//! A run is decided by its seed, which a failure shows; `CHAOS_SEED` gives it again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nix::sys::signal::Signal;
use serde_json::json;
use tokio::task::{JoinHandle, JoinSet};

use crate::support::{
    Chance, Crowd, Django, Goal, Instance, Ledger, Numbers, Places, Python, Received, RedisServer,
    Socket, goal, token,
};

/// The places in an instance's work with Redis at which it can end or stop itself.
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

/// Groups with members all the time, without history and with it, and those that people visit.
const GROUPS: [&str; 8] =
    ["sala_0", "sala_1", "sala_2", "sala_3", "pedido.0", "pedido.1", "pedido.2", "pedido.3"];
const VISITED: [&str; 4] = ["sala_v0", "sala_v1", "sala_v2", "sala_v3"];

const CLIENTS: usize = 24;

/// The longest until an instance passes a place; visitors come and go all the time.
const PASSED: Duration = Duration::from_secs(20);

/// The sender that writes to the ingress stream; Django's are 0 to 2.
const INGRESS: u64 = 9;

/// What is done to an instance.
#[derive(Debug, Clone, Copy)]
enum Blow {
    Kill,
    Stop,
    /// It ends itself there.
    EndAt(&'static str),
    /// It stops itself there, and is continued.
    StopAt(&'static str),
    /// Both end.
    KillAll,
}

/// A cluster under attack.
struct Storm {
    seed: u64,
    chance: Chance,
    since: Instant,
    /// How long what is stopped stays so.
    stop: Duration,
    instances: [Instance; 2],
    crowd: Crowd,
    django: Python,
    ingress: (Arc<AtomicBool>, JoinHandle<Goal>),
    _visitors: JoinSet<()>,
    _server: Arc<RedisServer>,
}

impl Storm {
    async fn begin(stop: Duration) -> Self {
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
        let mut crowd = Crowd::at(places.collect(), seed);
        for client in 0..CLIENTS {
            crowd.add(&[GROUPS[client % 4], GROUPS[4 + client / 4 % 4]]);
        }
        crowd.joined().await;
        let mut visitors = JoinSet::new();
        for number in 0..6 {
            visitors.spawn(visit(crowd.places(), Chance::new(seed + number)));
        }
        let groups = [&GROUPS[..], &VISITED].concat();
        // Senders that wait for room: what is missed is missed because of the blows alone.
        let options = json!({"groups": groups, "processes": 3, "pause": 0.02, "below": 50});
        let mut senders = Python::senders(django.options(options)).await;
        senders.write_line("go");
        let until = Arc::new(AtomicBool::new(false));
        let ingress = tokio::spawn(write_ingress(Arc::clone(&server), Arc::clone(&until)));
        Self {
            seed,
            chance: Chance::new(seed),
            since: Instant::now(),
            stop,
            instances,
            crowd,
            django: senders,
            ingress: (until, ingress),
            _visitors: visitors,
            _server: server,
        }
    }

    /// Strikes an instance, and waits until both are well again.
    async fn strike(&mut self, blow: Blow) {
        let which = self.chance.below(2) as usize;
        println!("{:>4} s: {blow:?}, instance {which}", self.since.elapsed().as_secs());
        let pause = Duration::from_millis(self.chance.below(1000));
        match blow {
            Blow::Kill => {
                self.instances[which].kill();
                tokio::time::sleep(pause).await;
                self.restart(which, "").await;
            }
            Blow::KillAll => {
                self.instances.iter_mut().for_each(Instance::kill);
                tokio::time::sleep(pause).await;
                self.restart(0, "").await;
                self.restart(1, "").await;
            }
            Blow::Stop => {
                self.instances[which].signal(Signal::SIGSTOP);
                self.resume(which).await;
            }
            Blow::EndAt(place) => {
                self.arm(which, place, "abort").await;
                self.hit(which, place, Instance::has_ended).await;
                self.restart(which, "").await;
            }
            Blow::StopAt(place) => {
                self.arm(which, place, "stop").await;
                self.hit(which, place, |instance| instance.is_stopped()).await;
                self.resume(which).await;
            }
        }
        for instance in &self.instances {
            instance.ready().await;
        }
        self.crowd.check();
    }

    async fn restart(&mut self, which: usize, failpoint: &str) {
        self.instances[which].start_to_fail(failpoint).await;
        self.crowd.moved(which, self.instances[which].public);
    }

    /// Leaves it stopped for as long as this storm does, then continues it.
    async fn resume(&mut self, which: usize) {
        tokio::time::sleep(self.stop).await;
        self.instances[which].signal(Signal::SIGCONT);
    }

    async fn arm(&mut self, which: usize, place: &str, action: &str) {
        // What is passed with every event is met at any of the first ones, the rest soon.
        let often = matches!(place, "look-answered" | "before-commit" | "after-commit");
        let nth = if often { 1 + self.chance.below(20) } else { 1 + self.chance.below(2) };
        self.instances[which].kill();
        self.restart(which, &format!("{place}:{action}:{nth}")).await;
    }

    /// Waits until the instance has come to the place.
    async fn hit(&mut self, which: usize, place: &str, happened: fn(&mut Instance) -> bool) {
        let deadline = Instant::now() + PASSED;
        while !happened(&mut self.instances[which]) {
            assert!(Instant::now() < deadline, "{place} is never passed");
            self.crowd.check();
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Ends the sending, and waits until everybody has what was sent last; what they have received.
    async fn end(mut self) -> Vec<Ledger> {
        self.ingress.0.store(true, Ordering::Relaxed);
        let mut expected = self.ingress.1.await.unwrap();
        self.django.write_line("end");
        let summary = self.django.summary().await;
        assert_eq!(summary["over_capacity"], 0);
        for (group, numbers) in goal(&summary) {
            expected.entry(group).or_default().extend(numbers);
        }
        println!("{:>4} s: {} sent by Django", self.since.elapsed().as_secs(), summary["sent"]);
        let ledgers = self.crowd.finish(expected).await;
        let sum = |of: fn(&Ledger) -> u64| ledgers.iter().map(of).sum::<u64>();
        let missed = sum(|ledger| GROUPS.iter().map(|group| ledger.missed(group)).sum());
        println!(
            "{:>4} s: seed {}: {} events, {missed} reported lost, {} gaps, {} dropped by id",
            self.since.elapsed().as_secs(),
            self.seed,
            sum(|ledger| ledger.events),
            sum(|ledger| ledger.gaps),
            sum(|ledger| ledger.again),
        );
        ledgers
    }
}

/// An instance that leaves groups soon after their last member.
async fn instance(django: &Django) -> Instance {
    Instance::start_with(&django.gateway(), &[("GROUPCAST_HUB_LINGER", "200ms")]).await
}

/// Appends to the ingress stream, to one group after the other, until told to stop.
async fn write_ingress(server: Arc<RedisServer>, until: Arc<AtomicBool>) -> Goal {
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
    // Once more to all, now that nobody is struck any more.
    GROUPS.iter().for_each(|group| add(group));
    let only = |number| Numbers::from([(INGRESS, number)]);
    numbers.into_iter().map(|(group, number)| (group.to_owned(), only(number))).collect()
}

/// Comes and goes, so that groups are entered and left all the time.
async fn visit(places: Places, mut chance: Chance) {
    let offer = [("Sec-WebSocket-Protocol", groupcast::protocol::V1)];
    loop {
        let place = *chance.of(&places.lock().unwrap());
        let stay = Duration::from_millis(100 + chance.below(300));
        let group = *chance.of(&VISITED);
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

/// What holds after every storm.
fn assert_told(ledgers: &[Ledger]) {
    for ledger in ledgers {
        assert!(ledger.events > 100, "{} events say little", ledger.events);
        for group in GROUPS.iter().filter(|group| group.starts_with("pedido")) {
            assert_eq!(ledger.missed(group), 0, "{group} has a history that reaches back");
        }
    }
}

/// All blows once, those at failpoints in one of their two forms.
#[tokio::test]
async fn for_a_short_while() {
    let mut storm = Storm::begin(Duration::from_secs(2)).await;
    storm.strike(Blow::Kill).await;
    storm.strike(Blow::Stop).await;
    storm.strike(Blow::KillAll).await;
    storm.stop = Duration::from_millis(500);
    for place in FAILPOINTS {
        let end = storm.chance.below(2) == 0;
        storm.strike(if end { Blow::EndAt(place) } else { Blow::StopAt(place) }).await;
    }
    assert_told(&storm.end().await);
}

/// All failpoints in both forms, then anything, for `CHAOS_SECONDS` (300).
#[tokio::test]
#[ignore = "takes minutes: `make chaos`"]
async fn for_long() {
    let seconds = std::env::var("CHAOS_SECONDS").ok().and_then(|text| text.parse().ok());
    let length = Duration::from_secs(seconds.unwrap_or(300));
    let mut storm = Storm::begin(Duration::from_secs(10)).await;
    let mut planned: Vec<_> =
        FAILPOINTS.into_iter().flat_map(|at| [Blow::EndAt(at), Blow::StopAt(at)]).collect();
    while storm.since.elapsed() < length {
        let blow = if planned.is_empty() {
            let at = *storm.chance.of(&FAILPOINTS);
            *storm.chance.of(&[
                Blow::Kill,
                Blow::Stop,
                Blow::KillAll,
                Blow::EndAt(at),
                Blow::StopAt(at),
            ])
        } else {
            let next = storm.chance.below(planned.len() as u64) as usize;
            planned.swap_remove(next)
        };
        storm.strike(blow).await;
    }
    assert!(planned.is_empty(), "CHAOS_SECONDS is too short for {planned:?}");
    assert_told(&storm.end().await);
}
